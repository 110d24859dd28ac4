"""Does the variant hold still? Frames are warped onto the next by the known cameras and depth: no optical flow.

The warping error of Lai et al. (2018), arXiv:1808.00449, with exact geometry. A render has such an error too
(highlights move, pixels are resampled), so the variant's is held against the render's, each relative to its contrast:
a variant that is merely darker or paler scores as the render does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import cv2
import numpy as np

from blueprint import lens
from blueprint.axes import moved
from blueprint.metrics.frames import View

SAME_SURFACE = 0.02
"""Relative difference of depth up to which two pixels show the same surface."""
FLOOR = 0.05
"""Error relative to contrast below which nobody sees a difference; keeps the ratio of two tiny errors near 1."""
LEAST_SHARE = 0.01
"""Least share of a frame that must be visible in the frame before."""


def warp_map(before: View, now: View) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of ``now`` was in ``before``.

    Returns:
        Pixel indices [H, W, 2] float32 (x, y; pixel centres at integers, as `cv2.remap` counts), and a uint8 mask
        [H, W] of 255 where the same surface is visible in both.
    """
    x, y, depth_there = _pinhole_points(before, now) if not (before.lens or now.lens) else _lens_points(before, now)
    in_front = (now.depth_m > 0) & (depth_there > 0)
    where = np.stack([x - np.float32(0.5), y - np.float32(0.5)], -1)
    found = cv2.remap(before.depth_m, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    same = in_front & (np.abs(found - depth_there) < SAME_SURFACE * depth_there)
    return where, same.astype(np.uint8) * 255


def _pinhole_points(before: View, now: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels x, y and depth [H, W] in ``before`` of the points that ``now`` shows; both are pinholes."""
    height, width = now.depth_m.shape
    motion = before.viewmat @ np.linalg.inv(now.viewmat)
    homography = (before.K @ motion[:3, :3] @ np.linalg.inv(now.K)).astype(np.float32)
    offset = (before.K @ motion[:3, 3]).astype(np.float32)
    x = np.arange(width, dtype=np.float32) + np.float32(0.5)
    y = (np.arange(height, dtype=np.float32) + np.float32(0.5))[:, None]
    there_x, there_y, depth_there = (
        (row[0] * x + row[1] * y + row[2]) * now.depth_m + shift for row, shift in zip(homography, offset, strict=True)
    )
    scale = 1 / np.where((now.depth_m > 0) & (depth_there > 0), depth_there, 1)
    return there_x * scale, there_y * scale, depth_there


def _lens_points(before: View, now: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_pinhole_points`, for views through lenses."""
    height, width = now.depth_m.shape
    motion = before.viewmat @ np.linalg.inv(now.viewmat)
    x, y = lens.pixel_slopes(now.K, width, height, now.lens)
    points = moved(np.stack([x, y, np.ones_like(x)], -1) * now.depth_m[..., None], motion)
    depth_there = points[..., 2].copy()
    points[..., 2] = np.where((now.depth_m > 0) & (depth_there > 0), depth_there, 1)
    there = lens.project(points, before.K, before.lens).astype(np.float32)
    return there[..., 0], there[..., 1], depth_there


def temporal_stability(before: View, now: View) -> float | None:
    """Warping error of the render over that of the variant, both relative to contrast and at most 1.

    Returns:
        0 to 1, 1 being as stable as the render or more; None when the two moments share too little of the scene.
    """
    found = _warping_errors(before, now)
    if found is None:
        return None
    errors = []
    for error, frame in zip(found, (now.render, now.variant), strict=True):
        _, deviation = cv2.meanStdDev(frame)
        contrast = max(float(deviation.mean()), 1.0)  # one grey level: a black frame has none
        errors.append(error / contrast + FLOOR)
    return min(1.0, errors[0] / errors[1])


def flicker(views: Iterable[View]) -> float:
    """Warping error of a variant over that of its render, over a clip, in code values: contrast does not excuse it.

    Returns:
        0 or more, below 1 when the variant flickers less than its render; NaN when no two moments share enough of
        the scene, or the render does not flicker at all.
    """
    found = [errors for errors in itertools.starmap(_warping_errors, itertools.pairwise(views)) if errors]
    render, variant = np.sum(found, axis=0) if found else (0, 0)
    return float(variant / render) if render else math.nan


def _warping_errors(before: View, now: View) -> tuple[float, float] | None:
    """Mean absolute difference, in code values, of render and variant to their warped frame before."""
    where, same = warp_map(before, now)
    if cv2.countNonZero(same) < LEAST_SHARE * same.size:
        return None
    pairs = ((before.render, now.render), (before.variant, now.variant))
    differences = (cv2.absdiff(cv2.remap(old, where, None, cv2.INTER_LINEAR), new) for old, new in pairs)
    render, variant = (sum(cv2.mean(difference, same)[:3]) / 3 for difference in differences)
    return render, variant
