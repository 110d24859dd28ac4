"""How far a photo's camera is off: the render is aligned with the photo by moving the camera a little.

Direct image alignment (Lucas and Kanade 1981, in the form of Kerl et al. 2013, "Robust Odometry Estimation for RGB-D
Cameras"): every pixel moves by the flow that a small motion of the camera causes at its depth, and the motion that
explains the difference of the pictures best is solved for, from coarse to fine, by Gauss-Newton steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from blueprint.fidelity.compare import colour_fitted, psnr
from blueprint.render import Frame

STILL_PX = 0.02
BLURS_PX = (2.0, 1.0, 0.7, 0.7)  # of the steps, one each
EDGE_PX = 4
DAMPING = 1e-3
LEAST_GAIN_DB = 0.02


@dataclass(frozen=True)
class Refined:
    """A camera that was moved to where its render matches the photo best."""

    viewmat: np.ndarray  # [4, 4]
    shift_px: float
    """Root mean square of the way that the picture's points moved; 0 where no better place was found."""
    gain_db: float
    """PSNR won by it, after the fit of colours, at the resolution of the search."""


def refine(
    photo: np.ndarray,  # [H, W, 3] in 0-1
    mask: np.ndarray | None,  # [H, W] bool
    viewmat: np.ndarray,  # [4, 4]
    K: np.ndarray,  # [3, 3]
    limit_px: float,
    draw: Callable[[np.ndarray], Frame],
) -> Refined:
    """Find the camera near ``viewmat`` whose render, made by ``draw(viewmat)``, matches a photo best.

    Points of the picture move by ``limit_px`` at most (root mean square). Lenses bend the flow by so little over a few
    pixels that it is taken for that of a pinhole; the renders that decide are bent.
    """
    start = frame = draw(viewmat)
    best = before = psnr(photo, colour_fitted(photo, frame.rgb, mask), mask)
    found, found_px, current = viewmat, 0.0, viewmat
    for blur_px in BLURS_PX:
        motion, flow_px = _step(photo, mask, frame, K, blur_px)
        current = motion @ current
        shift_px = _shift_px(start, K, viewmat, current)
        if shift_px > limit_px:
            break
        frame = draw(current)
        value = psnr(photo, colour_fitted(photo, frame.rgb, mask), mask)
        if value > best:
            best, found, found_px = value, current, shift_px
        if flow_px < STILL_PX:
            break
    if best - before < LEAST_GAIN_DB:
        return Refined(viewmat, 0.0, 0.0)
    return Refined(found, round(found_px, 3), round(best - before, 3))


def _step(
    photo: np.ndarray, mask: np.ndarray | None, frame: Frame, K: np.ndarray, blur_px: float
) -> tuple[np.ndarray, float]:
    """A motion [4, 4] of the camera that brings the render nearer to the photo, and the flow it causes in pixels."""
    wanted, shown = (
        cv2.GaussianBlur(picture.mean(axis=-1).astype(np.float32), (0, 0), blur_px)
        for picture in (photo, colour_fitted(photo, frame.rgb, mask))
    )
    slope_x, slope_y = cv2.Sobel(shown, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(shown, cv2.CV_32F, 0, 1, scale=1 / 8)
    usable = frame.alpha > 0.9
    if mask is not None:
        usable &= mask
    usable[:EDGE_PX] = usable[-EDGE_PX:] = usable[:, :EDGE_PX] = usable[:, -EDGE_PX:] = False
    if usable.sum() < 64:
        return np.eye(4), 0.0
    flow_x, flow_y = _flow(usable, frame.depth_m[usable].astype(np.float64), K)
    gradient = slope_x[usable, None] * flow_x + slope_y[usable, None] * flow_y
    difference = (wanted - shown)[usable].astype(np.float64)
    # Differences that no small motion explains (moving things, reflections) count less (Huber 1964).
    typical = 1.5 * np.median(np.abs(difference)) + 1e-6
    weight = np.minimum(1, typical / np.maximum(np.abs(difference), 1e-9))
    normal = gradient.T @ (gradient * weight[:, None])
    normal[np.diag_indices(6)] *= 1 + DAMPING
    motion = np.linalg.lstsq(normal, gradient.T @ (weight * difference), rcond=1e-12)[0]
    flow_px = float(np.sqrt(np.mean((flow_x @ motion) ** 2 + (flow_y @ motion) ** 2)))
    step = np.eye(4)
    step[:3, :3] = Rotation.from_rotvec(-motion[:3]).as_matrix()
    step[:3, 3] = -motion[3:]
    return step, flow_px


def _flow(usable: np.ndarray, depth_m: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How the colour seen at pixels [P] changes its place with the camera's motion, [P, 6] per axis in pixels.

    The first three are turns of the points, in radians, the others their shifts in metres; signs are such that a
    positive motion moves what the picture shows against its gradient.
    """
    rows, columns = np.nonzero(usable)
    x, y = (columns + 0.5 - K[0, 2]) / K[0, 0], (rows + 0.5 - K[1, 2]) / K[1, 1]
    nought, inverse = np.zeros(len(x)), 1 / depth_m
    across = np.stack([-x * y, 1 + x * x, -y, inverse, nought, -x * inverse], axis=1) * K[0, 0]
    down = np.stack([-1 - y * y, x * y, x, nought, inverse, -y * inverse], axis=1) * K[1, 1]
    return across, down


def _shift_px(frame: Frame, K: np.ndarray, before: np.ndarray, after: np.ndarray) -> float:
    """Root mean square way in pixels of what a frame shows, from one camera to another."""
    rows, columns = (axis[::4, ::4].ravel() for axis in np.indices(frame.alpha.shape))
    depth_m, solid = frame.depth_m[rows, columns].astype(np.float64), frame.alpha[rows, columns] > 0.9
    if not solid.any():
        return 0.0
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=1)
    points = (pixels @ np.linalg.inv(K).T) * depth_m[:, None]
    motion = after @ np.linalg.inv(before)
    moved = (points @ motion[:3, :3].T + motion[:3, 3]) @ K.T
    way = moved[:, :2] / np.maximum(moved[:, 2:], 1e-9) - pixels[:, :2]
    return float(np.sqrt(np.mean(np.sum(way[solid] ** 2, axis=1))))
