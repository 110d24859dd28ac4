"""Scores by calling piq on one decoded frame pair at a time: what the workflow's scores are held to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from blueprint import torchvision_ops, video

torchvision_ops.make_importable()
import piq  # noqa: E402

FUNCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "psnr": piq.psnr,
    "ssim": piq.ssim,
    "ms_ssim": piq.multi_scale_ssim,
    "gmsd": piq.gmsd,
    "vif": piq.vif_p,
    "haarpsi": piq.haarpsi,
}


def scores(names: Iterable[str], variant: Path, render: Path) -> dict[str, list[float]]:
    """One value per frame and name."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for pair in zip(video.read_video(variant), video.read_video(render), strict=True):
        x, y = (torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255 for frame in pair)
        for name, values in found.items():
            values.append(FUNCTIONS[name](x, y).item())
    return found
