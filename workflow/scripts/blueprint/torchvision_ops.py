"""Make torchvision (and with it piq) importable beside a CPU build of torch.

PyPI's torchvision is compiled against CUDA; beside a CPU torch its extension does not load and the import fails with
``operator torchvision::nms does not exist``. Declaring the schemas of the two operators that torchvision registers
fake implementations for is enough: nothing in this workflow calls them.
"""

from __future__ import annotations

import torch

_library: torch.library.Library | None = None


def make_importable() -> None:
    """Declare ``torchvision::nms`` and ``torchvision::qnms`` when torch is a CPU build. Call before importing piq."""
    global _library
    if _library is not None or torch.version.cuda or torch.version.hip:
        return
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        _library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
