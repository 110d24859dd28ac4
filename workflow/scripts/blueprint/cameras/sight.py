"""What a scan's photos looked at, and from where: the place for a path that shows what the scan can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from blueprint.axes import eyes_of, moved
from blueprint.cameras.photo import Photo

LEAST_AHEAD = 0.8  # share of photos that must have the point before them
MOST_ASIDE = 0.35  # median distance of the optical axes from it, as a share of that of the cameras
MIDDLE_PERCENTILES = (10, 90)
FAR_PERCENTILE = 75


@dataclass(frozen=True)
class Sight:
    """Photos taken around one subject; the level frame."""

    target: np.ndarray  # [3] the point that they look at
    radius: float
    """Horizontal distance of the cameras from it; three quarters of them are nearer."""
    height_m: float
    heading_rad: float
    """Direction from the subject to the middle of the cameras."""
    span_rad: float
    """Angle over which the middle four fifths of the cameras are spread, as seen from the subject."""
    extent: float
    """Product of the slopes from the middle of a photo to its right and lower border: how much of a scene it shows."""

    def fov_x_rad(self, aspect: float) -> float:
        """Horizontal field of view of a picture (``aspect`` is width over height) that shows as much as the photos."""
        return float(2 * np.arctan(np.sqrt(self.extent * aspect)))


def sight_of(photos: Sequence[Photo], level: np.ndarray, metres_per_unit: float = 1.0) -> Sight | None:
    """Find the subject that photos were taken around; None when they look in many directions, as in a room.

    Args:
        photos: with their cameras, in the scene's coordinates.
        level: [4, 4] from the world, in metres, to the level frame.
        metres_per_unit: length of a unit of the photos' cameras.
    """
    viewmats = np.stack([photo.viewmat for photo in photos])
    eyes = moved(eyes_of(viewmats) * metres_per_unit, level)
    axes = viewmats[:, 2, :3] @ level[:3, :3].T
    # The point nearest to all optical axes: the projections off each axis add up to a linear system.
    off_axis = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    target = np.linalg.lstsq(off_axis.sum(axis=0), np.einsum("pij,pj->i", off_axis, eyes), rcond=1e-6)[0]
    apart = target - eyes
    distance = np.linalg.norm(apart, axis=1)
    ahead = np.einsum("pi,pi->p", apart, axes) > 0
    aside = np.linalg.norm(np.einsum("pij,pj->pi", off_axis, apart), axis=1)
    if ahead.mean() < LEAST_AHEAD or np.median(aside) > MOST_ASIDE * np.median(distance):
        return None
    headings = np.arctan2(-apart[:, 1], -apart[:, 0])
    middle = np.arctan2(np.sin(headings).mean(), np.cos(headings).mean())
    turns = np.angle(np.exp(1j * (headings - middle)))
    low, high = np.percentile(turns, MIDDLE_PERCENTILES)
    extents = [photo.width / photo.K[0, 0] * photo.height / photo.K[1, 1] / 4 for photo in photos]
    return Sight(
        target=target,
        radius=float(np.percentile(np.linalg.norm(apart[:, :2], axis=1), FAR_PERCENTILE)),
        height_m=float(np.median(eyes[:, 2])),
        heading_rad=float(middle + (low + high) / 2),
        span_rad=float(high - low),
        extent=float(np.median(extents)),
    )
