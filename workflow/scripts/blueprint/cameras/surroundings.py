"""What is around a camera: the room it is in or the object it circles, where it may be, and what it sees from there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from blueprint.axes import direction
from blueprint.cameras.space import Space

LEAST_ENCLOSURE = 0.7  # share of horizontal directions in which a room's walls are seen
ENCLOSURE_RAYS = 36
ENCLOSURE_CELLS = 2500
LEAST_ROOM_M2 = 0.5
LEAST_HEIGHT_M = 0.05
DETAIL_SAMPLES = 6000
DETAIL_RANGE_M = 8.0


@dataclass(frozen=True)
class Room:
    """Where a camera at one height may be inside a scene: one connected part of the floor plan."""

    space: Space
    height_m: float
    clearance_m: float
    plan: np.ndarray  # [X, Y] bool, over the grid's columns

    def free(self, points: np.ndarray) -> np.ndarray:
        """Whether a camera may be at points [..., 3]: in the room, and with the clearance to all matter."""
        index = np.floor((points[..., :2] - self.space.origin[:2]) / self.space.voxel_m).astype(int)
        inside = ((index >= 0) & (index < self.plan.shape)).all(axis=-1)
        index = np.where(inside[..., None], index, 0)
        return inside & self.plan[index[..., 0], index[..., 1]] & (self.space.clearance_m(points) >= self.clearance_m)

    def cells(self, at_most: int) -> np.ndarray:
        """Evenly spread places [N, 2] of the plan, metres."""
        stride = max(1, int(np.ceil(np.sqrt(self.plan.sum() / at_most))))
        thinned = np.zeros_like(self.plan)
        thinned[::stride, ::stride] = self.plan[::stride, ::stride]
        return (np.argwhere(thinned) + 0.5) * self.space.voxel_m + self.space.origin[:2]

    @property
    def centre(self) -> np.ndarray:
        """Middle [2] of the plan, metres."""
        return (np.argwhere(self.plan).mean(axis=0) + 0.5) * self.space.voxel_m + self.space.origin[:2]


def find_room(space: Space, height_m: float, clearance_m: float, near: np.ndarray | None = None) -> Room | None:
    """A connected part of the floor plan where a camera at a height is among walls; None if there is none.

    Of several it is the largest, or the one nearest to a point ``near`` [3].
    """
    layer = int((height_m - space.origin[2]) / space.voxel_m)
    if not 0 <= layer < space.solid.shape[2]:
        return None
    open_cells = space.distance_m[:, :, layer] >= max(clearance_m, space.voxel_m)
    stride = max(1, int(np.ceil(np.sqrt(open_cells.sum() / ENCLOSURE_CELLS))))
    coarse = np.argwhere(open_cells[::stride, ::stride]) * stride
    if not len(coarse):
        return None
    eyes = np.concatenate(
        [(coarse + 0.5) * space.voxel_m + space.origin[:2], np.full((len(coarse), 1), height_m)], axis=1
    )
    headings = np.arange(ENCLOSURE_RAYS) * 2 * np.pi / ENCLOSURE_RAYS
    reach_m = float(np.linalg.norm(np.array(space.solid.shape[:2]) * space.voxel_m))
    seen = space.view_depth_m(eyes[:, None], direction(headings, 0.0), reach_m) < reach_m
    enclosed = np.zeros_like(open_cells)
    for (x, y), share in zip(coarse, seen.mean(axis=1), strict=True):
        enclosed[x : x + stride, y : y + stride] = share >= LEAST_ENCLOSURE
    labels, count = ndimage.label(enclosed & open_cells)
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel())[1:]
    rank = sizes.astype(float)
    if near is not None:
        away = np.indices(labels.shape).transpose(1, 2, 0) - (near[:2] - space.origin[:2]) / space.voxel_m
        rank = -ndimage.minimum(np.linalg.norm(away, axis=-1), labels, np.arange(1, count + 1))
    rank[sizes * space.voxel_m**2 < LEAST_ROOM_M2] = -np.inf
    if np.isneginf(rank.max()):
        return None
    return Room(space, height_m, clearance_m, labels == 1 + rank.argmax())


@dataclass(frozen=True)
class Thing:
    """A scene seen from outside."""

    space: Space
    clearance_m: float
    centre: np.ndarray  # [3] metres
    facing_rad: float
    """Direction from the centre in which it is broadest to look at, on the side with more detail."""

    def free(self, points: np.ndarray) -> np.ndarray:
        """Whether a camera may be at points [..., 3]."""
        return (points[..., 2] >= LEAST_HEIGHT_M) & (self.space.clearance_m(points) >= self.clearance_m)

    def framing_m(self, fov_x_rad: float, fov_y_rad: float) -> float:
        """Horizontal distance from the centre at which all of it is in view from every side, with a tenth to spare."""
        apart = self.space.sample - self.centre
        out = np.linalg.norm(apart[:, :2], axis=1)
        needed = np.maximum(np.abs(apart[:, 2]) / np.tan(fov_y_rad / 2) + out, out / np.sin(fov_x_rad / 2))
        return 1.1 * float(np.percentile(needed, 99.5))


def find_thing(space: Space, clearance_m: float) -> Thing:
    """Take the whole scene as one thing to look at."""
    centre = (space.low + space.high) / 2
    apart = space.sample - centre
    headings = np.arange(72) * 2 * np.pi / 72
    across = np.stack([-np.sin(headings), np.cos(headings)])
    along = np.stack([np.cos(headings), np.sin(headings)])
    widths = np.ptp(np.percentile(apart[:, :2] @ across, (2, 98), axis=0), axis=0)
    nearer = (apart[:, :2] @ along > 0).mean(axis=0)
    facing = headings[np.argmax(widths / widths.max() + 0.2 * nearer)]
    return Thing(space, clearance_m, centre, float(facing))


def detail(space: Space, eyes: np.ndarray, forwards: np.ndarray, fov_x_rad: float) -> np.ndarray:
    """Share [N] of the scene's Gaussians before cameras at ``eyes`` [N, 3] looking along ``forwards`` [N, 3].

    Training puts Gaussians where there is detail, so this tells a furnished corner from a bare wall.
    """
    sample = space.sample[:: max(1, len(space.sample) // DETAIL_SAMPLES)]
    apart = sample[None] - eyes[:, None]
    distance_m = np.linalg.norm(apart, axis=-1)
    ahead = np.einsum("nsk,nk->ns", apart, forwards)
    return ((ahead > np.cos(fov_x_rad / 2) * distance_m) & (distance_m < DETAIL_RANGE_M)).mean(axis=1)
