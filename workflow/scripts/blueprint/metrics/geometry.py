"""Did the geometry survive? Edges of the variant against edges of the render and discontinuities of its depth.

Lighting changes how strong an edge is, not where it is. So edges are those whose gradient is strong *for their own
frame* (thresholds are a quantile of the frame's gradient), and a strong edge of one frame agrees with a strong or a
weak edge of the other within a tolerance. Busy frames agree somewhat whatever they show, so shares are corrected for
chance: 0 is what unrelated frames reach.
"""

from __future__ import annotations

import cv2
import numpy as np

from blueprint.metrics.frames import Batch

EDGE_SHARE = 0.08
"""Share of a frame's pixels, those of strongest gradient, that may start an edge."""
CONTINUE_RATIO = 0.4
"""An edge goes on while the gradient is at least this share of what starts one (Canny's hysteresis)."""
WEAK_RATIO = 0.5
"""Weak edges need this share of the gradient of strong ones."""
NOISE_FLOOR = 16.0
"""Least gradient (Sobel 3 x 3, grey levels 0-255) that starts an edge: below it a frame is flat, not faint."""
TOLERANCE = 0.0025
"""Distance within which edges agree, as a share of the frame's diagonal; at least one pixel."""
DEPTH_JUMP = 0.08
"""Relative change of depth between neighbours that makes a discontinuity."""
FEWEST_PX = 16
"""A frame with fewer visible depth discontinuity pixels says nothing about depth discontinuities."""


def edges(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Strong and weak Canny edges of a frame.

    Args:
        frame: [H, W, 3] uint8 RGB.

    Returns:
        Two uint8 masks [H, W] of 0 and 255; the strong edges are among the weak.
    """
    grey = cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (0, 0), 1.0)
    across, down = cv2.Sobel(grey, cv2.CV_16S, 1, 0), cv2.Sobel(grey, cv2.CV_16S, 0, 1)
    gradient = np.hypot(across[::2, ::2].astype(np.float32), down[::2, ::2])
    start = max(NOISE_FLOOR, float(np.quantile(gradient, 1 - EDGE_SHARE)))
    strong, weak = (
        cv2.Canny(across, down, CONTINUE_RATIO * level, level, L2gradient=True) for level in (start, WEAK_RATIO * start)
    )
    return strong, weak | strong


def tolerance_px(height: int, width: int) -> int:
    """Distance in pixels within which edges agree in frames of this size."""
    return max(1, round(TOLERANCE * float(np.hypot(height, width))))


def near(mask: np.ndarray, radius: int) -> np.ndarray:
    """The mask grown by ``radius`` pixels."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(mask, disc)


def _agreement(mask: np.ndarray, within: np.ndarray) -> float:
    """Share of the mask that lies within, corrected for what an unrelated mask would reach (as in Cohen's kappa)."""
    share = cv2.countNonZero(mask & within) / cv2.countNonZero(mask)
    chance = cv2.countNonZero(within) / within.size
    return max(0.0, (share - chance) / (1 - chance)) if chance < 1 else 0.0


def edge_agreement(variant: tuple[np.ndarray, np.ndarray], render: tuple[np.ndarray, np.ndarray]) -> float:
    """F-score of edges: harmonic mean of precision (nothing invented) and recall (nothing lost).

    Args:
        variant: strong and weak edges of the variant, [H, W].
        render: strong and weak edges of the render, [H, W].

    Returns:
        0 to 1; 1 when neither frame has an edge, 0 when only one has.
    """
    radius = tolerance_px(*render[0].shape)
    counts = cv2.countNonZero(variant[0]), cv2.countNonZero(render[0])
    if not all(counts):
        return 0.0 if any(counts) else 1.0
    precision = _agreement(variant[0], near(render[1], radius))
    recall = _agreement(render[0], near(variant[1], radius))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def depth_discontinuities(depth_m: np.ndarray) -> np.ndarray:
    """Where depth jumps between neighbours.

    Args:
        depth_m: [H, W] float32, metres; 0 where nothing is, which counts as infinitely far.

    Returns:
        uint8 mask [H, W] of 0 and 255.
    """
    far = np.where(depth_m > 0, depth_m, np.float32(1e6))
    square = np.ones((3, 3), np.uint8)
    near = cv2.erode(far, square)
    return ((cv2.dilate(far, square) > near * (1 + DEPTH_JUMP)) * 255).astype(np.uint8)


def depth_edge_agreement(
    variant: tuple[np.ndarray, np.ndarray], render: tuple[np.ndarray, np.ndarray], depth_m: np.ndarray
) -> float | None:
    """Share of the depth discontinuities visible in the render that the variant shows too.

    Args:
        variant: strong and weak edges of the variant, [H, W].
        render: strong and weak edges of the render, [H, W].
        depth_m: [H, W] float32, metres.

    Returns:
        0 to 1; None when the render shows too few depth discontinuities to tell.
    """
    radius = tolerance_px(*depth_m.shape)
    visible = depth_discontinuities(depth_m) & near(render[0], radius)
    if cv2.countNonZero(visible) < FEWEST_PX:
        return None
    return _agreement(visible, near(variant[1], 2 * radius))


def edges_of(batch: Batch) -> list[tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]]:
    """Strong and weak edges of the variant, then of the render, for every frame of a batch."""
    return [(edges(variant), edges(render)) for render, variant in zip(batch.render, batch.variant, strict=True)]


def edge_scores(batch: Batch) -> list[float]:
    """`edge_agreement` of every frame."""
    return [edge_agreement(*pair) for pair in batch.shared(edges_of)]


def depth_edge_scores(batch: Batch) -> list[float | None]:
    """`depth_edge_agreement` of every frame."""
    pairs = zip(batch.shared(edges_of), batch.depth_m, strict=True)
    return [depth_edge_agreement(found, expected, depth_m) for (found, expected), depth_m in pairs]
