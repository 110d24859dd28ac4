"""Does a surface keep its look? What one surface looks like now against before, looked up by depth and cameras.

Light, weather and materials may be anything as long as they belong to the world: then a point of a surface keeps its
look while the camera moves. Its brightness and hue summed over the frame give drift, jumps and flicker; window by
window they give what appears, vanishes, boils or swims. The render's own change (highlights, resampling) is taken off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from blueprint.metrics.frames import Batch, ClipFacts, ClipScore
from blueprint.metrics.stability import LEAST_SHARE, warp_map
from blueprint.metrics.working import Moment, moments_of, place_name, window_box, windows

CHROMA = np.array([[0.2126, 0.7152, 0.0722], [-0.1146, -0.3854, 0.5], [0.5, -0.4542, -0.0458]], np.float32)
"""RGB to luma, Cb and Cr of BT.709, all in code values."""
GREY = 2.0
"""Chroma in code values below which a colour has no hue to turn."""
WINDOW_PX = 12
LEAST_WINDOW = 0.4
"""Share of a window that both moments must show."""
ALLOWED = 1.5
"""A variant may change by this much of what its render changes by."""
NOISE = 1.5
"""Grain up to this much of the frame's median is the noise of a sensor."""
FAR = 6
"""Frames between the two moments of the long comparison."""


@dataclass(frozen=True)
class Change:
    """How a frame differs from the one before on the surfaces that both show, the render's own difference taken off."""

    gain: float  # logarithm of the ratio of brightness
    turn_deg: float  # turn of hue
    local: np.ndarray  # [rows, columns] change of windows since the frame before, in units of the frame's contrast
    far: np.ndarray | None  # the same since FAR frames before


def changes_of(batch: Batch) -> list[Change | None]:
    """The change of every frame of a batch; None where two frames share too little."""
    known = [*batch.earlier, *batch.shared(moments_of)]
    first = len(batch.earlier)
    return [_change(known[max(0, index - FAR) : index + 1]) for index in range(first, len(known))]


def _change(recent: Sequence[Moment]) -> Change | None:
    now = recent[-1]
    near = compared(recent[-2], now) if len(recent) > 1 else None
    if near is None:
        return None
    far = compared(recent[0], now) if len(recent) == FAR + 1 else None
    return Change(near[0], near[1], near[2], None if far is None else far[2])


def compared(before: Moment, now: Moment) -> tuple[float, float, np.ndarray] | None:
    """Gain, turn of hue in degrees and local change [rows, columns] between two moments."""
    where, same = warp_map(before, now)
    same &= now.solid & cv2.remap(before.solid, where, None, cv2.INTER_NEAREST)
    same = cv2.erode(same, np.ones((3, 3), np.uint8))
    count = cv2.countNonZero(same)
    if count < max(LEAST_SHARE * same.size, 4 * WINDOW_PX**2):
        return None
    mask = same.astype(np.float32) / 255
    share = windows(mask, WINDOW_PX)
    render = _difference(before.render, now.render, where, mask, share)
    variant = _difference(before.variant, now.variant, where, mask, share)
    brighter = variant.level / np.maximum(render.level, 4)
    excess = variant.apart - ALLOWED * np.clip(brighter, 0.3, 3) * render.apart
    local = np.where(share > LEAST_WINDOW, np.maximum(excess, 0), 0) / variant.unit
    return variant.gain - render.gain, variant.turn_deg - render.turn_deg, local


@dataclass(frozen=True)
class _Difference:
    """How a picture differs from an earlier one looked up through the geometry."""

    gain: float
    turn_deg: float
    apart: np.ndarray  # [rows, columns] code values
    level: np.ndarray  # [rows, columns] mean luma
    unit: float  # contrast of the frame in code values


def _difference(
    old: np.ndarray, new: np.ndarray, where: np.ndarray, mask: np.ndarray, share: np.ndarray
) -> _Difference:
    old = cv2.remap(cv2.transform(old.astype(np.float32), CHROMA), where, None, cv2.INTER_LINEAR) * mask[..., None]
    new = cv2.transform(new.astype(np.float32), CHROMA) * mask[..., None]
    count = float(mask.sum())
    before, now = float(old[..., 0].sum()) + count, float(new[..., 0].sum()) + count
    (_, b0, r0), (_, b1, r1) = (np.moveaxis(picture, -1, 0) for picture in (old, new))
    along = float(np.vdot(b0, b1) + np.vdot(r0, r1)) + GREY**2 * count
    across = float(np.vdot(b0, r1) - np.vdot(r0, b1))
    mean = now / count
    contrast = math.sqrt(max(float(np.square(new[..., 0]).sum()) / count - mean * mean, 0.0))
    change = cv2.GaussianBlur(new - old * (now / before), (0, 0), 1.2)
    part = np.maximum(share, 0.1)
    whole = np.linalg.norm(windows(change, WINDOW_PX), axis=-1) / part
    grain = np.sqrt(np.maximum(windows(np.square(change[..., 0]) * mask, WINDOW_PX), 0) / part)
    noise = NOISE * float(np.median(grain[share > LEAST_WINDOW])) if (share > LEAST_WINDOW).any() else 0.0
    apart = np.maximum(whole, np.maximum(grain - noise, 0))
    level = windows(new[..., 0], WINDOW_PX) / part
    unit = max(contrast, 0.1 * mean, 6.0)
    return _Difference(math.log(now / before), math.degrees(math.atan2(across, along)), apart, level, unit)


class LocalChange(ClipScore):
    """The largest change of a window that no light in the world explains, in units of the frame's contrast.

    Something that was not there a moment ago, that is gone, that moves against the geometry, boils or swims.
    """

    def __init__(self, clip: ClipFacts) -> None:
        self.worst = (0.0, 0, [0.0, 0.0, 1.0, 1.0])
        self.values: list[float] = []

    def add(self, batch: Batch) -> Sequence[float | None]:
        """The largest change of every frame, since the frame before or since some frames before."""
        values: list[float | None] = []
        for index, change in enumerate(batch.shared(changes_of), start=batch.start):
            if change is None:
                values.append(None)
                continue
            both = change.local if change.far is None else np.maximum(change.local, change.far)
            place = np.unravel_index(both.argmax(), both.shape)
            value = float(both[place])
            if value > self.worst[0]:
                height, width = batch.shared(moments_of)[index - batch.start].depth_m.shape
                self.worst = (value, index, window_box(*place, WINDOW_PX, width, height))
            values.append(value)
        self.values += [value or 0.0 for value in values]
        return values

    def value(self) -> float | None:
        """The worst of the frames."""
        return self.worst[0] if self.values else None

    def details(self) -> dict[str, Any]:
        """Where and when."""
        value, frame, box = self.worst
        many = [index for index, each in enumerate(self.values) if each > value / 2]
        says = f"something appears, vanishes or moves against the geometry {place_name(box)} at frame {frame}"
        frames = [many[0], many[-1]] if many else [frame, frame]
        return {"worst_frame": frame, "window": frames, "where": box, "says": says}
