"""Score a variant against its render, streaming: only a few frames are in memory at a time."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blueprint import video
from blueprint.errors import UserError
from blueprint.metrics import appearance
from blueprint.metrics.catalogue import METRICS
from blueprint.metrics.verdicts import mean_of

log = logging.getLogger(__name__)
PIXELS_PER_BATCH = {"cpu": 600_000, "cuda": 16_000_000}
"""Fits a CPU's caches; fills a GPU. A 720p frame has 0.9 million."""


@dataclass(frozen=True)
class Batch:
    """Consecutive frames, aligned."""

    render: np.ndarray  # [B, H, W, 3] uint8 RGB
    variant: np.ndarray  # [B, H, W, 3] uint8 RGB


Scorer = Callable[[Batch], dict[str, list[float]]]


class Appearance:
    """The scores of `blueprint.metrics.appearance` on one device."""

    def __init__(self, names: list[str], device: str) -> None:
        self.names = [name for name in names if name in appearance.SCORES]
        self.device = device

    def __call__(self, batch: Batch) -> dict[str, list[float]]:
        """Scores of every frame of the batch, by name."""
        pairs = appearance.FramePairs(_as_tensor(batch.variant, self.device), _as_tensor(batch.render, self.device))
        return {name: appearance.SCORES[name](pairs).tolist() for name in self.names}


def _as_tensor(frames: np.ndarray, device: str) -> torch.Tensor:
    """[B, H, W, 3] uint8 -> [B, 3, H, W] float32 in 0-1"""
    planar = np.ascontiguousarray(frames.transpose(0, 3, 1, 2))
    return torch.from_numpy(planar).to(device).float().div_(255)


def choose_device() -> str:
    """The CUDA device when there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def score(render: Path, variant: Path, names: list[str], device: str) -> dict[str, Any]:
    """Score every frame of a variant.

    Returns:
        ``names``; ``frames``: per name one value per frame; ``mean``: per name the mean of the frames that have a
        value; ``frame_count``, ``width``, ``height`` in pixels, ``fps``. A value is None where the score is undefined.

    Raises:
        UserError: a clip cannot be read, the two differ in size or length, or the frames are too small for a score.
    """
    info = _check_alike(render, variant)
    _check_large_enough(render, info, names)
    scorers: list[Scorer] = [Appearance(names, device)]
    frames: dict[str, list[float | None]] = {name: [] for name in names}
    batch_size = max(1, PIXELS_PER_BATCH[device] // (info.width * info.height))
    count = 0
    with torch.inference_mode():
        for batch in _batches(render, variant, batch_size):
            for scorer in scorers:
                for name, values in scorer(batch).items():
                    frames[name] += [round(value, 6) if math.isfinite(value) else None for value in values]
            count += len(batch.render)
    return {
        "names": names,
        "frames": frames,
        "mean": {name: mean_of(values) for name, values in frames.items()},
        "frame_count": count,
        "width": info.width,
        "height": info.height,
        "fps": info.fps,
    }


def _check_alike(render: Path, variant: Path) -> video.VideoInfo:
    expected, found = video.probe(render), video.probe(variant)
    if (found.width, found.height) != (expected.width, expected.height):
        raise UserError(
            f"{variant}: frames are {found.width} x {found.height}, those of its render {render} are "
            f"{expected.width} x {expected.height}. Enrich the clip again at the size of the render."
        )
    return expected


def _check_large_enough(render: Path, info: video.VideoInfo, names: list[str]) -> None:
    for name in names:
        need = METRICS[name].smallest_px
        if min(info.width, info.height) < need:
            raise UserError(
                f"{render}: frames are {info.width} x {info.height}; {name} needs at least {need} x {need} pixels. "
                f"Render larger frames or take {name} out of metrics.names."
            )


def _batches(render: Path, variant: Path, size: int) -> Iterator[Batch]:
    pairs = _pairs(render, variant)
    while chunk := list(itertools.islice(pairs, size)):
        yield Batch(render=np.stack([pair[0] for pair in chunk]), variant=np.stack([pair[1] for pair in chunk]))


def _pairs(render: Path, variant: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    end = object()
    for count, pair in enumerate(
        itertools.zip_longest(video.read_video(render), video.read_video(variant), fillvalue=end)
    ):
        if pair[0] is end or pair[1] is end:
            longer, shorter = (render, variant) if pair[1] is end else (variant, render)
            raise UserError(
                f"{variant}: does not have as many frames as its render {render}: {shorter} ends after {count} frames, "
                f"{longer} goes on. Enrich the clip again."
            )
        yield pair
