"""Frames at the size at which causes are looked for: 320 pixels across, whatever the clip has.

What misleads a robot is an angle of its view, not a number of pixels, and video is generated at several sizes. So every
named cause is measured on frames averaged down to one width: a verdict is the same at every resolution, and its cost
hardly grows. What the render does not know, background or places with little opacity, is left out (`Moment.solid`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, cached_property

import cv2
import numpy as np

from blueprint.metrics.frames import Batch, View

WIDTH_PX = 320
"""Width of working frames; smaller clips stay as they are."""
SOLID_ALPHA = 0.95
"""Opacity from which the render knows what a pixel shows."""
BORDER_PX = 2
"""Pixels this near to what is not solid are left out too."""
LOCAL_SIGMA_PX = 6.0
"""Neighbourhood to which structure is normalised."""
LEAST_CONTRAST = 0.06
"""Relative change of brightness that counts as structure."""


@dataclass(frozen=True)
class Moment(View):
    """One frame of render and variant at working size; the same conventions as `View`."""

    solid: np.ndarray = field(kw_only=True)  # [H, W] uint8, 255 where the render knows what is there

    @property
    def px_per_deg(self) -> float:
        """Pixels that one degree of view spans in the middle of the frame."""
        return float(self.K[0, 0]) * np.pi / 180

    @cached_property
    def structures(self) -> tuple[np.ndarray, np.ndarray]:
        """`structure` of render and variant."""
        return structure(self.render, self.solid), structure(self.variant, self.solid)


@cache
def pixel_grid(height: int, width: int) -> np.ndarray:
    """Columns and rows [H, W, 2] float32 of pixels, as `cv2.remap` counts; not to be written to."""
    return np.dstack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)))


def structure(frame: np.ndarray, solid: np.ndarray) -> np.ndarray:
    """What a picture shows, whatever the light: log brightness in units of its contrast nearby.

    Args:
        frame: [H, W, 3] uint8 RGB.
        solid: [H, W] uint8, 255 where the frame counts.

    Returns:
        [H, W] float32, about -3 to 3; 0 where nothing counts or nothing is to be seen.
    """
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mask = solid.astype(np.float32) / 255
    level = float((grey * mask).sum() / max(mask.sum(), 1))
    light = cv2.log(cv2.GaussianBlur(grey, (0, 0), 0.8) + 0.1 * level + 1)
    weight = _nearby(mask) + 1e-6
    centred = (light - _nearby(light * mask) / weight) * mask
    deviation = cv2.sqrt(np.maximum(_nearby(centred * centred), 0) / weight)
    return centred / (deviation + LEAST_CONTRAST)


def _nearby(values: np.ndarray) -> np.ndarray:
    side = 2 * round(LOCAL_SIGMA_PX) + 1
    return cv2.blur(cv2.blur(values, (side, side)), (side, side))


def moments_of(batch: Batch) -> list[Moment]:
    """The frames of a batch at working size."""
    return [_moment(view, alpha) for view, alpha in zip(batch.views(), batch.alpha, strict=True)]


def _moment(view: View, alpha: np.ndarray) -> Moment:
    height, width = view.depth_m.shape
    scale = min(1.0, WIDTH_PX / width)
    size = (round(width * scale), round(height * scale))
    render, variant, depth_m, alpha = (
        array if scale == 1 else cv2.resize(array, size, interpolation=cv2.INTER_AREA)
        for array in (view.render, view.variant, view.depth_m, alpha)
    )
    K = view.K.copy()
    K[:2] *= scale
    solid = solid_where(alpha, depth_m, BORDER_PX)
    return Moment(render, variant, depth_m, view.viewmat, K, view.lens, solid=solid)


def solid_where(alpha: np.ndarray, depth_m: np.ndarray, border_px: int) -> np.ndarray:
    """Where a render [H, W] knows what it shows, and not within a border of where it does not: uint8, 255 there."""
    known = ((alpha >= SOLID_ALPHA) & (depth_m > 0)).astype(np.uint8) * 255
    around = np.ones((2 * border_px + 1, 2 * border_px + 1), np.uint8)
    return cv2.erode(known, around, borderType=cv2.BORDER_CONSTANT, borderValue=255)


def windows(values: np.ndarray, side_px: int) -> np.ndarray:
    """Means over square windows, half a window apart.

    Args:
        values: [H, W] or [H, W, C] float32.
        side_px: side of a window.

    Returns:
        [rows, columns] or [rows, columns, C] float32; the middle of window 0, 0 is half a side from both borders.
    """
    half = side_px // 2
    rows, columns = values.shape[0] // half, values.shape[1] // half
    cells = cv2.resize(values[: rows * half, : columns * half], (columns, rows), interpolation=cv2.INTER_AREA)
    return (cells[:-1, :-1] + cells[1:, :-1] + cells[:-1, 1:] + cells[1:, 1:]) / 4


def window_box(row: int, column: int, side_px: int, width: int, height: int) -> list[float]:
    """Left, top, right and bottom of a window, as shares of the frame."""
    half = side_px // 2
    x, y = half + column * half, half + row * half
    edges = ((x - half) / width, (y - half) / height, (x + half) / width, (y + half) / height)
    return [round(float(min(1.0, max(0.0, edge))), 3) for edge in edges]


def place_name(box: list[float]) -> str:
    """Where in the frame a window lies, in words: `in the upper right`, `on the left`, `in the middle`."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    row = "upper" if y < 1 / 3 else "lower" if y > 2 / 3 else ""
    column = "left" if x < 1 / 3 else "right" if x > 2 / 3 else ""
    if column and not row:
        return f"on the {column}"
    return " ".join(("in the", row, column or "part")) if row else "in the middle"
