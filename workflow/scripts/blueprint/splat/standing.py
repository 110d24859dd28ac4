"""How a scene stands and how long its units are, guessed from its Gaussians: which axis points up, are they metres?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from blueprint.axes import up_axis_of
from blueprint.splat.scene import Splat, axes_of

AXES = ("x", "-x", "y", "-y", "z", "-z")
FINEST_M, COARSEST_M = 0.0015, 0.06
"""Bounds of the median size of a scan's Gaussians: training makes them as large as what a pixel of the photos shows,
which is millimetres to centimetres."""
ALIGNED_COS = np.cos(np.radians(20))
FLAT = 0.5  # the shortest axis as a share of the next
SOLID = 0.1
BOUNDS_PERCENTILES = (1, 99)
LARGEST_AREA_PERCENTILE = 99
SLABS = 20
LEAST_SHARE = 0.12  # of flat area that faces along an axis; of evenly spread normals 6 % do
CLEAR_RATIO = 1.1  # of the best axis to the next
CLEAR_BALANCE = 0.05
LEVEL_CAMERAS = 0.8


@dataclass(frozen=True)
class Up:
    """A guess of the axis that points up."""

    axis: Literal["x", "-x", "y", "-y", "z", "-z"]
    sure: Literal["certain", "likely", "unclear"]
    why: str


def grain_m(splat: Splat) -> float:
    """Median over the visible Gaussians of their size, the mean of the two largest standard deviations, in metres."""
    scales = np.sort(splat.scales[splat.opacities > SOLID], axis=1)[:, 1:]
    return float(np.median(np.sqrt(scales[:, 0] * scales[:, 1]))) if len(scales) else 0.0


def guess_up(splat: Splat, viewmats: np.ndarray | None = None) -> Up:
    """Guess which axis of a scene points up.

    Photos are taken with the camera upright more often than not. Without them: floors, ceilings and worktops face along
    the vertical and lie in few layers, and matter is heavier below than above.

    Args:
        splat: the scene.
        viewmats: world-to-camera matrices [F, 4, 4] of the photos it was made from, if they are known.
    """
    if viewmats is not None:
        mean = -viewmats[:, 1, :3].mean(axis=0)
        axis, cosine = up_axis_of(mean)
        level = cosine > LEVEL_CAMERAS
        sure = "certain" if level and np.linalg.norm(mean) > LEVEL_CAMERAS else "likely" if level else "unclear"
        return Up(axis, sure, f"the photos' cameras have it above, {np.degrees(np.arccos(cosine)):.0f} degrees off")
    visible = splat.opacities > SOLID
    low, high = np.percentile(splat.means[visible], BOUNDS_PERCENTILES, axis=0)
    visible &= ((splat.means >= low) & (splat.means <= high)).all(axis=1)
    normals, area, flat = _facing(splat, visible)
    heights = (splat.means[visible] - low) / np.maximum(high - low, 1e-9)
    shares, balances = np.zeros(3), np.zeros(3)
    for axis in range(3):
        along = flat & (np.abs(normals[:, axis]) > ALIGNED_COS)
        slabs = np.histogram(heights[along, axis], SLABS, (0, 1), weights=area[along])[0] / max(area[flat].sum(), 1e-12)
        shares[axis] = slabs.sum() + slabs.max()
        ends = slabs[[0, 1, -2, -1]]
        tipped = (ends[:2].sum() - ends[2:].sum()) / max(ends.sum(), 1e-9) * min(1.0, ends.sum() / 0.1)
        balances[axis] = 2 * (0.5 - np.median(heights[:, axis])) + 0.25 * tipped
    order = np.argsort(-shares)
    best, balance = order[0], balances[order[0]]
    stands_out = shares[best] > max(LEAST_SHARE, CLEAR_RATIO * shares[order[1]])
    clear = stands_out and abs(balance) > CLEAR_BALANCE
    return Up(
        ("" if balance >= 0 else "-") + "xyz"[best],  # type: ignore[arg-type] - one of the six
        "likely" if clear else "unclear",
        f"{_faces(shares, best)}, and its heavier end lies {'low' if balance >= 0 else 'high'} along {'xyz'[best]}",
    )


def _faces(shares: np.ndarray, best: int) -> str:
    """How much more flat matter faces along one axis than along the others."""
    others = ", ".join(f"{shares[axis]:.2f} along {'xyz'[axis]}" for axis in range(3) if axis != best)
    return f"flat matter faces along {'xyz'[best]} ({shares[best]:.2f}; {others})"


def _facing(splat: Splat, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normals [N, 3] of the visible Gaussians, the areas [N] they show, and which [N] are flat."""
    scales, axes = splat.scales[visible], axes_of(splat.quats[visible])
    ordered = np.sort(scales, axis=1)
    normals = np.take_along_axis(axes, scales.argmin(axis=1)[:, None, None], 1)[:, 0]
    area = ordered[:, 1] * ordered[:, 2] * splat.opacities[visible]
    return normals, np.minimum(area, np.percentile(area, LARGEST_AREA_PERCENTILE)), ordered[:, 0] < FLAT * ordered[:, 1]
