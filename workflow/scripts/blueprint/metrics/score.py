"""Score a variant against its render, streaming: only a few frames are in memory at a time."""

from __future__ import annotations

import itertools
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blueprint import cameras as camera_files
from blueprint import depth, torchvision_ops, video
from blueprint.errors import UserError
from blueprint.metrics import appearance, geometry, stability, weights
from blueprint.metrics.catalogue import METRICS
from blueprint.metrics.verdicts import mean_of

log = logging.getLogger(__name__)
PIXELS_PER_BATCH = {"cpu": 200_000, "cuda": 16_000_000}
"""Fits a CPU's caches; fills a GPU. A 720p frame has 0.9 million."""


LEARNED = {"lpips", "dists"}


@dataclass(frozen=True)
class Batch:
    """Consecutive frames, aligned."""

    render: np.ndarray  # [B, H, W, 3] uint8 RGB
    variant: np.ndarray  # [B, H, W, 3] uint8 RGB
    depth_m: np.ndarray  # [B, H, W] float32, 0 where nothing is


Scores = dict[str, list[float | None]]
Scorer = Callable[[Batch], Scores]


@dataclass(frozen=True)
class ClipFiles:
    """The files of one rendered clip."""

    rgb: Path
    depth_m: Path
    cameras: Path


class Appearance:
    """The scores of `blueprint.metrics.appearance` on one device."""

    def __init__(self, names: list[str], device: str) -> None:
        self.names = [name for name in names if name in appearance.SCORES]
        self.device = device

    def __call__(self, batch: Batch) -> Scores:
        """Scores of every frame of the batch, by name."""
        pairs = appearance.FramePairs(_as_tensor(batch.variant, self.device), _as_tensor(batch.render, self.device))
        return {name: appearance.SCORES[name](pairs).tolist() for name in self.names}


class Learned:
    """LPIPS and DISTS by `piq` itself; their weights come from the torch cache (``TORCH_HOME``), never from the net."""

    def __init__(self, names: list[str], device: str) -> None:
        weights.require(names, weights.torch_home(""), "metrics")
        torchvision_ops.make_importable()
        import piq

        makers = {"lpips": piq.LPIPS, "dists": piq.DISTS}
        self.device = device
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")  # piq asks the old way
            self.models = {name: makers[name](reduction="none").to(device) for name in LEARNED & set(names)}

    def __call__(self, batch: Batch) -> Scores:
        """Scores of every frame of the batch, by name."""
        variant, render = _as_tensor(batch.variant, self.device), _as_tensor(batch.render, self.device)
        return {name: model(variant, render).tolist() for name, model in self.models.items()}


class Geometry:
    """Edges and silhouettes, on the CPU (Canny's edge tracking is sequential)."""

    def __init__(self, names: list[str]) -> None:
        self.names = [name for name in names if name in ("edge_agreement", "depth_edge_agreement")]

    def __call__(self, batch: Batch) -> Scores:
        """Scores of every frame of the batch, by name."""
        scores: Scores = {name: [] for name in self.names}
        for render, variant, depth_m in zip(batch.render, batch.variant, batch.depth_m, strict=True):
            found, expected = geometry.edges(variant), geometry.edges(render)
            if "edge_agreement" in scores:
                scores["edge_agreement"].append(geometry.edge_agreement(found, expected))
            if "depth_edge_agreement" in scores:
                scores["depth_edge_agreement"].append(geometry.depth_edge_agreement(found, expected, depth_m))
        return scores


class Stability:
    """Temporal stability; remembers the last frame of the batch before."""

    def __init__(self, cameras: camera_files.Cameras) -> None:
        self.poses = zip(cameras.viewmats, cameras.Ks, strict=True)
        self.before: stability.View | None = None

    def __call__(self, batch: Batch) -> Scores:
        """Scores of every frame of the batch; the first frame of a clip has none."""
        values: list[float | None] = []
        for render, variant, depth_m in zip(batch.render, batch.variant, batch.depth_m, strict=True):
            viewmat, K = next(self.poses)
            now = stability.View(render, variant, depth_m, viewmat, K)
            values.append(stability.temporal_stability(self.before, now) if self.before else None)
            self.before = now
        return {"temporal_stability": values}


def _as_tensor(frames: np.ndarray, device: str) -> torch.Tensor:
    """[B, H, W, 3] uint8 -> [B, 3, H, W] float32 in 0-1"""
    planar = np.ascontiguousarray(frames.transpose(0, 3, 1, 2))
    return torch.from_numpy(planar).to(device).float().div_(255)


def choose_device() -> str:
    """The CUDA device when there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def score(clip: ClipFiles, variant: Path, names: list[str], device: str) -> dict[str, Any]:
    """Score every frame of a variant.

    Returns:
        ``names``; ``frames``: per name one value per frame; ``mean``: per name the mean of the frames that have a
        value; ``frame_count``, ``width``, ``height`` in pixels, ``fps``. A value is None where the score is undefined.

    Raises:
        UserError: a file cannot be read, render and variant differ in size or length, or the frames are too small.
    """
    info = _check_alike(clip.rgb, variant)
    _check_large_enough(clip.rgb, info, names)
    frames: Scores = {name: [] for name in names}
    batch_size = max(1, PIXELS_PER_BATCH[device] // (info.width * info.height))
    count = 0
    scorers = _scorers(clip, info.frames, names, device)
    with torch.inference_mode():
        for batch in _batches(clip, variant, batch_size):
            for scorer in scorers:
                for name, values in scorer(batch).items():
                    frames[name] += [_finite(value) for value in values]
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


def _scorers(clip: ClipFiles, frame_count: int, names: list[str], device: str) -> list[Scorer]:
    scorers: list[Scorer] = []
    if set(names) & set(appearance.SCORES):
        scorers.append(Appearance(names, device))
    if LEARNED & set(names):
        scorers.append(Learned(names, device))
    if {"edge_agreement", "depth_edge_agreement"} & set(names):
        scorers.append(Geometry(names))
    if "temporal_stability" in names:
        cameras = camera_files.read(clip.cameras)
        if len(cameras.viewmats) != frame_count:
            raise UserError(
                f"{clip.cameras}: holds {len(cameras.viewmats)} cameras, {clip.rgb} has {frame_count} frames. "
                "Render the clip again."
            )
        scorers.append(Stability(cameras))
    return scorers


def _finite(value: float | None) -> float | None:
    """Rounded for JSON, which knows no infinity: piq's HaarPSI of two black frames, say, is undefined."""
    return round(value, 6) if value is not None and math.isfinite(value) else None


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


def _batches(clip: ClipFiles, variant: Path, size: int) -> Iterator[Batch]:
    aligned = _aligned(clip, variant)
    while chunk := list(itertools.islice(aligned, size)):
        yield Batch(*(np.stack(arrays) for arrays in zip(*chunk, strict=True)))


def _aligned(clip: ClipFiles, variant: Path) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Render, variant and depth of one frame after the other; `UserError` when one ends before the others."""
    paths = (clip.rgb, variant, clip.depth_m)
    sources = (
        video.read_video(clip.rgb),
        video.read_video(variant),
        (depth_m for depth_m, _ in depth.iterate_depth(clip.depth_m)),
    )
    end = object()
    for count, frame in enumerate(itertools.zip_longest(*sources, fillvalue=end)):
        ended = [str(path) for path, item in zip(paths, frame, strict=True) if item is end]
        if ended:
            raise UserError(
                f"{' and '.join(ended)}: ends after {count} frames while {clip.rgb}, its variant or its depth goes on. "
                f"Delete what is too short and run again."
            )
        yield frame
