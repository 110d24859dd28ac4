"""Score a variant against its render, streaming: only a few frames are in memory at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blueprint import depth, poses, video
from blueprint.errors import UserError
from blueprint.metrics.catalogue import METRICS
from blueprint.metrics.frames import Batch, ClipFacts, ClipScore, PerFrame, PerPair
from blueprint.metrics.verdicts import mean_of, worst_frame
from blueprint.metrics.working import moments_of

PIXELS_PER_BATCH = {"cpu": 200_000, "cuda": 16_000_000}
"""Fits a CPU's caches; fills a GPU. A 720p frame has 0.9 million."""
SAME_FPS = 0.01
"""Difference of frame rates in Hz that is only rounding."""
REMEMBERED = 6
"""Frames before a batch that scores may look back to."""


@dataclass(frozen=True)
class ClipFiles:
    """The files of one rendered clip."""

    rgb: Path
    depth_m: Path
    cameras: Path


def choose_device() -> str:
    """The CUDA device when there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def score(clip: ClipFiles, variant: Path, names: list[str], device: str) -> dict[str, Any]:
    """Score every frame of a variant.

    Returns:
        ``names``; ``frames``: per name one value per frame (or none at all, for a score of whole clips); ``mean``: per
        name the value of the clip, which is the mean of the frames that have one unless the score says otherwise;
        ``details``: what a score tells beside its values; ``frame_count``, ``width``, ``height`` in pixels, ``fps``. A
        value is None where the score is undefined.

    Raises:
        UserError: a file cannot be read, render and variant differ in size or length, or the frames are too small.
    """
    info = _check_alike(clip.rgb, variant)
    _check_large_enough(clip.rgb, info, names)
    scorers = {name: _scorer(name, ClipFacts(info, device)) for name in names}
    frames: dict[str, list[float | None]] = {name: [] for name in names}
    count = 0
    with torch.inference_mode():
        for batch in _batches(clip, variant, info, device):
            for name, scorer in scorers.items():
                frames[name] += map(_finite, scorer.add(batch))
            count += len(batch.render)
    details = {name: scorer.details() for name, scorer in scorers.items()}
    return {
        "names": names,
        "frames": frames,
        "mean": {name: _clip_value(name, frames[name], scorer) for name, scorer in scorers.items()},
        "details": {name: told for name, told in details.items() if told},
        "frame_count": count,
        "width": info.width,
        "height": info.height,
        "fps": info.fps,
    }


def _scorer(name: str, clip: ClipFacts) -> ClipScore:
    metric = METRICS[name]
    computed = metric.load()
    return {"frame": PerFrame, "pair": PerPair, "clip": lambda made: made(clip)}[metric.per](computed)


def _clip_value(name: str, frames: list[float | None], scorer: ClipScore) -> float | None:
    value = scorer.value()
    if value is not None or not frames:
        return _finite(value)
    if METRICS[name].clip_value == "worst":
        worst = worst_frame(name, frames)
        return None if worst is None else frames[worst]
    return mean_of(frames)


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
    if abs(found.fps - expected.fps) > SAME_FPS:
        raise UserError(
            f"{variant}: has {found.fps:g} frames per second, its render {render} {expected.fps:g}. "
            "Enrich the clip again at the frame rate of the render."
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


def _batches(clip: ClipFiles, variant: Path, info: video.VideoInfo, device: str) -> Iterator[Batch]:
    size = max(1, PIXELS_PER_BATCH[device] // (info.width * info.height))
    cameras = poses.read(clip.cameras)
    if len(cameras.viewmats) != info.frames:
        raise UserError(
            f"{clip.cameras}: holds {len(cameras.viewmats)} cameras, {clip.rgb} has {info.frames} frames. "
            "Render the clip again."
        )
    aligned = video.in_step(
        (clip.rgb, video.read_video(clip.rgb)),
        (variant, video.read_video(variant)),
        (clip.depth_m, depth.iterate_depth(clip.depth_m)),
    )
    start, earlier = 0, []
    while chunk := list(itertools.islice(aligned, size)):
        here = slice(start, start + len(chunk))
        render, shown, known = zip(*chunk, strict=True)
        depth_m, alpha = zip(*known, strict=True)
        arrays = (np.stack(frames) for frames in (render, shown, depth_m))
        seen_by = {"device": device, "lenses": cameras.lenses[here], "earlier": earlier}
        batch = Batch(start, *arrays, cameras.viewmats[here], cameras.Ks[here], np.stack(alpha), **seen_by)
        yield batch
        earlier = [*earlier, *batch.shared(moments_of)][-REMEMBERED:]
        start += len(chunk)
