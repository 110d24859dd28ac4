"""Small rendered clips in the places where the workflow expects them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from blueprint.engines.task import Clip
from blueprint.video import probe, write_video
from synthetic_room import FPS, room


def write_clip(folder: Path, frames: int = 4, width: int = 96, height: int = 64, moving: bool = True) -> Path:
    """Write rgb.mp4, depth.mp4, depth.npz and cameras.json of the textured room into ``folder``."""
    clip = room(frames, width, height)
    if not moving:
        for array in (clip.frames, clip.depth_m, clip.viewmats):
            array[:] = array[0]
    clip.write(folder)
    near = clip.depth_m.min()
    greys = [(near / depth * 255).astype(np.uint8)[..., None].repeat(3, -1) for depth in clip.depth_m]
    write_video(folder / "depth.mp4", greys, FPS)
    return folder


def clip_in(folder: Path) -> Clip:
    """The clip in such a folder, as engines are given it."""
    paths = [folder / name for name in ("rgb.mp4", "depth.mp4", "depth.npz", "cameras.json")]
    return Clip(*paths, probe(paths[0]))
