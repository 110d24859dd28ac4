"""Lenses: what a real camera does to a pinhole's picture, by OpenCV's two models.

A point at (x, y, z) before the camera has the slopes (x / z, y / z). A pinhole shows it at ``f slope + c``; a lens
bends the slopes first. ``OPENCV`` is a radial polynomial (or a quotient of two) and a tangential part, for ordinary
lenses; ``OPENCV_FISHEYE`` a polynomial of the angle to the optical axis (Kannala and Brandt 2006), for wide ones.
https://docs.opencv.org/4.x/d9/d0c/group__calib3d.html and .../db/d58/group__calib3d__fisheye.html
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np

from blueprint.errors import UserError

MODELS = {"OPENCV": (4, 5, 8), "OPENCV_FISHEYE": (4,)}  # how many coefficients each may have
STEEPEST_DEG = 89.0  # of a ray to the optical axis; the plane of the lens itself has no slopes
DIRECTIONS = 32
RADII = 400
LEAST_STRETCH = 1e-3
NEWTON_STEPS = 30
CLOSE = 1e-9


def bending(arctan: Callable[[Any], Any]) -> Callable[..., tuple[Any, ...]]:
    """The function that bends slopes, for numbers, arrays or tensors, with the arc tangent that takes these.

    `blueprint.render.kernels` compiles it and has to be told of a change.
    """

    def bend(fisheye: bool, k: Any, x: Any, y: Any) -> tuple[Any, ...]:
        """Bent slopes of slopes (x, y), and derivatives: of x by x, of x by y (which is that of y by x), of y by y.

        ``k`` holds 8 coefficients in OpenCV's order: k1 k2 p1 p2 k3 k4 k5 k6, for a fisheye k1 k2 k3 k4 0 0 0 0.
        """
        square = x * x + y * y
        if fisheye:
            positive = square + 1e-24
            radius = positive**0.5
            angle = arctan(radius)
            t = angle * angle
            scale = angle * (1 + t * (k[0] + t * (k[1] + t * (k[2] + t * k[3])))) / radius
            slope = (1 + t * (3 * k[0] + t * (5 * k[1] + t * (7 * k[2] + t * 9 * k[3])))) / (1 + square)
            rise = (slope - scale) / (2 * positive)  # of the scale with the square of the radius
            return x * scale, y * scale, scale + 2 * x * x * rise, 2 * x * y * rise, scale + 2 * y * y * rise
        above = 1 + square * (k[0] + square * (k[1] + square * k[4]))
        below = 1 + square * (k[5] + square * (k[6] + square * k[7]))
        scale = above / below
        rise = k[0] + square * (2 * k[1] + square * 3 * k[4]) - scale * (k[5] + square * (2 * k[6] + square * 3 * k[7]))
        rise = rise / below
        p1, p2 = k[2], k[3]
        return (
            x * scale + 2 * p1 * x * y + p2 * (square + 2 * x * x),
            y * scale + p1 * (square + 2 * y * y) + 2 * p2 * x * y,
            scale + 2 * x * x * rise + 2 * p1 * y + 6 * p2 * x,
            2 * x * y * rise + 2 * p1 * x + 2 * p2 * y,
            scale + 2 * y * y * rise + 6 * p1 * y + 2 * p2 * x,
        )

    return bend


@dataclass(frozen=True)
class Lens:
    """A lens; its coefficients in OpenCV's order."""

    model: Literal["OPENCV", "OPENCV_FISHEYE"]
    coefficients: tuple[float, ...]
    """OPENCV: k1 k2 p1 p2, then k3, then k4 k5 k6; OPENCV_FISHEYE: k1 k2 k3 k4."""

    def __post_init__(self) -> None:
        """Refuse what is no lens.

        Raises:
            ValueError: another model, another number of coefficients, or one that is not finite.
        """
        if self.model not in MODELS:
            raise ValueError(f"lens model {self.model!r}; known are {', '.join(MODELS)}")
        if len(self.coefficients) not in MODELS[self.model] or not np.isfinite(self.coefficients).all():
            counts = " or ".join(map(str, MODELS[self.model]))
            raise ValueError(f"{self.model} takes {counts} finite coefficients, found {list(self.coefficients)}")

    @property
    def fisheye(self) -> bool:
        """Whether the angle is bent, not the slope."""
        return self.model == "OPENCV_FISHEYE"

    @cached_property
    def eight(self) -> tuple[float, ...]:
        """The coefficients, filled up with zeros."""
        return (*map(float, self.coefficients), *[0.0] * (8 - len(self.coefficients)))

    def bend(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
        """Bent slopes of slopes [...] and their three derivatives; see `bending`."""
        return bending(np.arctan)(self.fisheye, self.eight, x, y)

    @cached_property
    def reach(self) -> float:
        """The greatest slope up to which the lens shows every direction once.

        Beyond it the polynomial turns back, and what lies there would appear a second time inside the picture.
        """
        radii = np.tan(np.radians(np.linspace(0, STEEPEST_DEG, RADII)))
        turns = np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False)[:, None]
        _, _, xx, xy, yy = self.bend(radii * np.cos(turns), radii * np.sin(turns))
        steep = 1 + radii**2 if self.fisheye else 1.0  # a fisheye's slopes shrink without end, and rightly
        folded = ((xx * yy - xy * xy) * steep <= LEAST_STRETCH).any(axis=0)
        return float(radii[np.argmax(folded) - 1]) if folded.any() else float(radii[-1])

    def unbend(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Slopes [...] of bent slopes [...], by Newton's method; NaN where the lens shows nothing there."""
        radius = np.hypot(x, y)
        start = (
            np.tan(np.minimum(radius, np.radians(STEEPEST_DEG))) / np.maximum(radius, 1e-12) if self.fisheye else 1.0
        )
        found_x, found_y = x * start, y * start
        for _ in range(NEWTON_STEPS):
            bent_x, bent_y, xx, xy, yy = self.bend(found_x, found_y)
            off_x, off_y, determinant = bent_x - x, bent_y - y, xx * yy - xy * xy
            determinant = np.where(determinant == 0, 1, determinant)
            found_x = found_x - (yy * off_x - xy * off_y) / determinant
            found_y = found_y - (xx * off_y - xy * off_x) / determinant
            # A step beyond where the lens turns back is taken to there.
            back = np.minimum(1, self.reach / np.maximum(np.hypot(found_x, found_y), 1e-12))
            found_x, found_y = found_x * back, found_y * back
        bent_x, bent_y, *_ = self.bend(found_x, found_y)
        off = np.hypot(bent_x - x, bent_y - y) > CLOSE * (1 + radius)
        return np.where(off, np.nan, found_x), np.where(off, np.nan, found_y)


def project(points: np.ndarray, K: np.ndarray, lens: Lens | None) -> np.ndarray:
    """Pixels [..., 2] (x, y) of points [..., 3] before the camera, in its own frame."""
    x, y = points[..., 0] / points[..., 2], points[..., 1] / points[..., 2]
    if lens is not None:
        x, y, *_ = lens.bend(x, y)
    return np.stack([K[0, 0] * x + K[0, 2], K[1, 1] * y + K[1, 2]], axis=-1)


def slopes(x_px: np.ndarray, y_px: np.ndarray, K: np.ndarray, lens: Lens | None) -> tuple[np.ndarray, np.ndarray]:
    """Slopes [...] of the rays through pixels [...]; NaN where the lens shows nothing."""
    x, y = (x_px - K[0, 2]) / K[0, 0], (y_px - K[1, 2]) / K[1, 1]
    return (x, y) if lens is None else lens.unbend(x, y)


def pixel_slopes(K: np.ndarray, width: int, height: int, lens: Lens | None) -> tuple[np.ndarray, np.ndarray]:
    """Slopes [H, W] of the rays through all pixel centres, float32; 0 where the lens shows nothing."""
    return _pixel_slopes(tuple(map(tuple, np.asarray(K, float).tolist())), width, height, lens)


@lru_cache(maxsize=4)  # the frames of a clip mostly share one camera
def _pixel_slopes(
    K: tuple[tuple[float, ...], ...], width: int, height: int, lens: Lens | None
) -> tuple[np.ndarray, np.ndarray]:
    x, y = slopes(*np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), np.array(K), lens)
    return np.nan_to_num(x).astype(np.float32), np.nan_to_num(y).astype(np.float32)


def slope_bounds(K: np.ndarray, width: int, height: int, lens: Lens | None) -> tuple[float, float, float, float]:
    """Least and greatest slope to the right, then down, up to which a Gaussian's shape follows its centre.

    These are what the picture shows and a margin of 15 % of it on each side, since beyond it slopes grow without end as
    a Gaussian nears the plane of the lens. A fisheye's picture of it does not grow, and has no such bounds; beyond its
    reach it stays empty.

    Raises:
        UserError: an OPENCV lens turns back inside the picture.
    """
    if lens is None:
        (fx, _, cx), (_, fy, cy), _ = np.asarray(K, float).tolist()
        low_x, high_x = -(cx + 0.15 * width) / fx, (1.15 * width - cx) / fx
        return low_x, high_x, -(cy + 0.15 * height) / fy, (1.15 * height - cy) / fy
    if lens.fisheye:
        return -lens.reach, lens.reach, -lens.reach, lens.reach
    across, down = np.linspace(0, width, 65), np.linspace(0, height, 65)
    edge_x = np.concatenate([across, across, np.zeros(65), np.full(65, width)])
    edge_y = np.concatenate([np.zeros(65), np.full(65, height), down, down])
    x, y = slopes(edge_x, edge_y, K, lens)
    if not np.isfinite(x).all():
        raise UserError(
            f"The lens {lens.model} {list(lens.coefficients)} shows nothing in parts of its own picture of "
            f"{width}x{height} pixels (it turns back {np.degrees(np.arctan(lens.reach)):.0f} degrees from the optical "
            "axis). Correct the coefficients, or crop the picture to what the lens was calibrated on."
        )
    spare_x, spare_y = 0.15 * np.ptp(x), 0.15 * np.ptp(y)
    return float(x.min() - spare_x), float(x.max() + spare_x), float(y.min() - spare_y), float(y.max() + spare_y)
