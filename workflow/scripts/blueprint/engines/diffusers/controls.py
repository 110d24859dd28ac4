"""Control videos at the model's size, for the engines whose pipeline does not make them itself."""

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
# Shrunk before the blur, and down and up again after it, of NVIDIA's presets (`AddControlInputBlur`).
BLUR_FACTORS = {"very_low": (1, 4), "low": (4, 4), "medium": (2, 10), "high": (1, 16), "very_high": (4, 16)}
BILATERAL = (30, 150.0, 100.0)
"""Diameter in pixels, spread of colour and of place, where the longest side has `BILATERAL_SIDE` pixels."""
BILATERAL_SIDE = 720


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
    elif name == "vis":
        for frame in _resized(clip.rgb, width, height, cv2.INTER_AREA):
            yield blurred(frame, control["preset_blur_strength"])
    else:
        low, high = EDGE_THRESHOLDS[control["preset_edge_threshold"]]
        for frame in _resized(clip.rgb, width, height, cv2.INTER_AREA):
            yield np.repeat(cv2.Canny(frame, low, high)[..., None], 3, axis=-1)


def blurred(frame: np.ndarray, strength: str) -> np.ndarray:
    """A frame [H, W, 3] uint8 as NVIDIA blurs it: flat within edges, then without detail."""
    (height, width), (shrink, down_up) = frame.shape[:2], BLUR_FACTORS[strength]
    small = cv2.resize(frame, (width // shrink, height // shrink), interpolation=cv2.INTER_AREA)
    scale = max(small.shape[:2]) / BILATERAL_SIDE
    diameter, colour, place = (value * scale for value in BILATERAL)
    odd = max(1, round(diameter)) // 2 * 2 + 1
    small = cv2.bilateralFilter(small, odd, max(1.0, colour), max(1.0, place))
    whole = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    coarse = cv2.resize(whole, (width // down_up, height // down_up), interpolation=cv2.INTER_CUBIC)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _resized(path: Path, width: int, height: int, interpolation: int) -> Iterator[np.ndarray]:
    for frame in read_video(path):
        yield cv2.resize(frame, (width, height), interpolation=interpolation)
