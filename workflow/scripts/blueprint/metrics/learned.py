"""LPIPS and DISTS by `piq` itself; their weights come from the torch cache (``TORCH_HOME``), never from the net."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from typing import ClassVar

import torch

from blueprint import torchvision_ops
from blueprint.metrics import weights
from blueprint.metrics.appearance import FramePairs
from blueprint.metrics.frames import Batch, ClipFacts, ClipScore


@cache
def model(name: str, device: str) -> torch.nn.Module:
    """The model of a score, loaded once however many clips it is asked about.

    Raises:
        UserError: its weights are absent.
    """
    weights.require([name], weights.torch_home(""), "metrics")
    torchvision_ops.make_importable()
    import piq

    maker = {"lpips": piq.LPIPS, "dists": piq.DISTS}[name]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")  # piq asks the old way
        return maker(reduction="none").to(device)


class Learned(ClipScore):
    """A distance that a model of `piq` measures between single frames."""

    name: ClassVar[str]

    def __init__(self, clip: ClipFacts) -> None:
        self.model = model(self.name, clip.device)

    def add(self, batch: Batch) -> Sequence[float]:
        """Distance of every frame of the batch."""
        pairs = batch.shared(FramePairs)
        return self.model(pairs.variant, pairs.render).tolist()


class Lpips(Learned):
    """Learned perceptual image patch similarity."""

    name = "lpips"


class Dists(Learned):
    """Deep image structure and texture similarity."""

    name = "dists"
