"""Control videos at the model's size, for the engine that does not make them itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from blueprint.engines.task import Clip
from blueprint.video import read_video

# Canny thresholds of NVIDIA's presets (`AddControlInputEdge`).
EDGE_THRESHOLDS = {
    "very_low": (20, 50),
    "low": (50, 100),
    "medium": (100, 200),
    "high": (200, 300),
    "very_high": (300, 400),
}


def control_frames(clip: Clip, name: str, control: dict[str, Any], width: int, height: int) -> Iterator[np.ndarray]:
    """Frames [H, W, 3] uint8 of one control.

    Args:
        clip: the rendered clip.
        name: ``depth``, ``edge``, ``seg`` or ``vis``.
        control: its settings; a ``control_path`` is used as it is.
        width: the model's frame width in pixels.
        height: the model's frame height in pixels.
    """
    if "control_path" in control:
        interpolation = cv2.INTER_NEAREST if name == "seg" else cv2.INTER_AREA
        yield from _resized(Path(control["control_path"]), width, height, interpolation)
    elif name == "depth":
        yield from _resized(clip.depth, width, height, cv2.INTER_LINEAR)
    else:
        low, high = EDGE_THRESHOLDS[control["preset_edge_threshold"]]
        for frame in _resized(clip.rgb, width, height, cv2.INTER_AREA):
            yield np.repeat(cv2.Canny(frame, low, high)[..., None], 3, axis=-1)


def _resized(path: Path, width: int, height: int, interpolation: int) -> Iterator[np.ndarray]:
    for frame in read_video(path):
        yield cv2.resize(frame, (width, height), interpolation=interpolation)
