"""Is the variant as sharp as its render? Slopes of edges at two scales.

Fine slopes of the variant are projected on those of the render, which noise of the variant takes no part in, and held
against coarse ones: contrast cancels, and what is left is how much of fine detail came through.
"""

from __future__ import annotations

import cv2
import numpy as np

from blueprint.metrics.frames import Batch
from blueprint.metrics.working import moments_of, windows

WIDTH_PX = 640
"""Sharpness is measured on frames at most this wide."""
COARSE = 2 / 320
"""Standard deviation of the coarse scale as a share of the width."""
ALIKE = 0.6
"""Correlation of coarse slopes from which a window shows what the render shows,"""
LEAST_KNOWN = 0.2
"""and the share of slopes that such windows must hold."""
WINDOW = 1 / 16
"""Side of the windows in which slopes are compared, as a share of the width."""


def sharpness(batch: Batch) -> list[float | None]:
    """Share of the render's fine detail that every frame keeps; None where the render shows too little."""
    known = (moment.solid for moment in batch.shared(moments_of))
    frames = zip(batch.render, batch.variant, known, strict=True)
    return [sharpness_of(*frame) for frame in frames]


def sharpness_of(render: np.ndarray, variant: np.ndarray, solid: np.ndarray) -> float | None:
    """The sharpness of one frame.

    Args:
        render: [H, W, 3] uint8 RGB.
        variant: [H, W, 3] uint8 RGB.
        solid: uint8 of any size, 255 where the render knows what is there.
    """
    scale = min(1.0, WIDTH_PX / render.shape[1])
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in (render, variant)]
    if scale < 1:
        greys = [cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for grey in greys]
    height, width = greys[0].shape
    mask = (cv2.resize(solid, (width, height), interpolation=cv2.INTER_NEAREST) > 0).astype(np.float32)
    if not mask.any():
        return None
    kept, alike = [], None
    for sigma in (COARSE * width, 0.0):
        slopes = []
        for grey in greys:
            picture = cv2.GaussianBlur(grey, (0, 0), sigma) if sigma else grey
            slopes.append((cv2.Sobel(picture, cv2.CV_32F, 1, 0), cv2.Sobel(picture, cv2.CV_32F, 0, 1)))
        (across_r, down_r), (across_v, down_v) = slopes
        side = round(WINDOW * width)
        both = windows((across_r * across_v + down_r * down_v) * mask, side)
        own = windows((np.square(across_r) + np.square(down_r)) * mask, side)
        if alike is None:
            theirs = windows((np.square(across_v) + np.square(down_v)) * mask, side)
            alike = np.square(both) > ALIKE**2 * own * theirs
        if own[alike].sum() <= LEAST_KNOWN * max(own.sum(), 1e-6):
            return None
        kept.append(float(np.abs(both[alike]).sum() / own[alike].sum()))
    return kept[1] / kept[0] if kept[0] > 1e-3 else None
