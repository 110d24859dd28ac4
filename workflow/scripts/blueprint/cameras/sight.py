"""What a scan's photos looked at, and from where: the place for a path that shows what the scan can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from blueprint.axes import eyes_of, moved, moved_back
from blueprint.cameras.photo import Photo
from blueprint.cameras.space import DETAIL_RANGE_M
from blueprint.cameras.surroundings import Room
from blueprint.lens import project

LEAST_AHEAD = 0.8  # share of photos that must have the point before them
MOST_ASIDE = 0.35  # median distance of the optical axes from it, as a share of that of the cameras
MIDDLE_PERCENTILES = (10, 90)
FAR_PERCENTILE = 75
POINTS = 500  # of a room, by which views are judged
PLACES = 16  # in a room, from which its surfaces are seen
LEAST_PHOTOS = 3
ENOUGH = 0.9  # share of photographed matter with which a view is taken,
NEARLY_ALL = 0.95  # or that share of the best, where no view has so much
VIEWS_AT_ONCE = 4096


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


@dataclass(frozen=True)
class Photographed:
    """Points on the surfaces of a room, and which of them photos show; the level frame."""

    points: np.ndarray  # [P, 3] metres
    seen: np.ndarray  # [P] bool, by `LEAST_PHOTOS` photos

    def share(self, eyes: np.ndarray, forwards: np.ndarray, fov_x_rad: float) -> np.ndarray:
        """Share [N] of the points before cameras ``eyes`` [N, 3] looking along ``forwards`` [N, 3] that photos show."""
        found = np.zeros(len(eyes))
        for first in range(0, len(eyes), VIEWS_AT_ONCE):
            here = slice(first, first + VIEWS_AT_ONCE)
            apart = self.points[None] - eyes[here, None]
            distance_m = np.linalg.norm(apart, axis=-1)
            ahead = np.einsum("npk,nk->np", apart, forwards[here])
            in_view = (ahead > np.cos(fov_x_rad / 2) * distance_m) & (distance_m < DETAIL_RANGE_M)
            found[here] = (in_view & self.seen).sum(axis=1) / np.maximum(in_view.sum(axis=1), 1)
        return found

    def narrowed(self, free: np.ndarray, eyes: np.ndarray, forwards: np.ndarray, fov_x_rad: float) -> np.ndarray:
        """Of the candidates [N] that are free, those whose views show what photos show, as far as there are any.

        Args:
            free: [N] bool.
            eyes: [M, E, 3], of the M free ones; of E views the worst counts.
            forwards: [M, E, 3] unit view directions.
            fov_x_rad: horizontal field of view.
        """
        shares = self.share(eyes.reshape(-1, 3), forwards.reshape(-1, 3), fov_x_rad).reshape(eyes.shape[:2])
        least = shares.min(axis=1)
        kept = free.copy()
        kept[free] = least >= min(ENOUGH, NEARLY_ALL * least.max())
        return kept


def photographed(photos: Sequence[Photo], room: Room, level: np.ndarray, metres_per_unit: float = 1.0) -> Photographed:
    """What photos show of a room's surfaces, such as its cameras can see.

    Args:
        photos: with their cameras, in the scene's coordinates.
        room: where cameras may be.
        level: [4, 4] from the world, in metres, to the level frame.
        metres_per_unit: length of a unit of the photos' cameras.
    """
    space = room.space
    places = room.cells(PLACES)
    places = np.concatenate([places, np.full((len(places), 1), room.height_m)], axis=1)
    points = space.sample[:: max(1, len(space.sample) // (2 * POINTS))]
    points = points[_in_sight(room, points, places).any(axis=1)]
    viewmats = np.stack([photo.viewmat for photo in photos])
    shown = _in_sight(room, points, moved(eyes_of(viewmats) * metres_per_unit, level))  # [P, photos]
    world = moved_back(points, level) / metres_per_unit
    for number, (photo, viewmat) in enumerate(zip(photos, viewmats, strict=True)):
        seen = moved(world, viewmat)
        ahead = seen[:, 2] > 1e-6
        pixels = project(np.where(ahead[:, None], seen, (0, 0, 1)), photo.K, photo.lens)
        if photo.lens is not None:
            ahead &= np.hypot(seen[:, 0], seen[:, 1]) <= photo.lens.reach * seen[:, 2]
        inside = ((pixels >= 0) & (pixels < (photo.width, photo.height))).all(axis=1)
        shown[:, number] &= ahead & inside
    return Photographed(points, shown.sum(axis=1) >= LEAST_PHOTOS)


def _in_sight(room: Room, points: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """Whether points [P, 3] on surfaces have nothing before them as seen from eyes [E, 3]; [P, E]."""
    apart = points[:, None] - eyes[None]
    distance_m = np.linalg.norm(apart, axis=-1)
    rays = apart / np.maximum(distance_m, 1e-9)[..., None]
    free_m = room.space.view_depth_m(eyes[None], rays, float(distance_m.max()))
    return free_m > distance_m - 3 * room.space.voxel_m
