"""What is around a camera: the room it is in or the object it circles, where it may be, and what it sees from there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from blueprint.axes import direction, moved, opencv_viewmats
from blueprint.cameras.space import Space

if TYPE_CHECKING:
    from blueprint.cameras.sight import Photographed

LEAST_ENCLOSURE = 0.7  # share of horizontal directions in which a room's walls are seen
ENCLOSURE_RAYS = 36
ENCLOSURE_CELLS = 2500
LEAST_ROOM_M2 = 0.5
LEAST_HEIGHT_M = 0.05
FILLED = 0.72  # share of the frame's height that an object fills at most
BROAD = 0.85  # of its width, if it is broad
EDGE = 0.9  # of the way from the middle of the frame to its edge
FRAMING_SAMPLES = 3000
BISECTIONS = 14
ENDS_PERCENTILE = 99.5
HEADINGS = 36
CELLS = 48


@dataclass(frozen=True)
class Room:
    """Where a camera at one height may be inside a scene: one connected part of the floor plan."""

    space: Space
    height_m: float
    clearance_m: float
    plan: np.ndarray  # [X, Y] bool, over the grid's columns
    photographed: Photographed | None = None
    """What photos show of it, where paths keep to that."""

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

    def at(self, height_m: float, near: np.ndarray | None) -> Room | None:
        """A room of the same scene at another height (see `find_room`)."""
        return find_room(self.space, height_m, self.clearance_m, near)


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
class ScannedObject:
    """A scene seen from outside."""

    space: Space
    clearance_m: float
    centre: np.ndarray  # [3] metres
    facing_rad: float
    """Direction from the centre from which it shows most."""

    def free(self, points: np.ndarray) -> np.ndarray:
        """Whether a camera may be at points [..., 3]."""
        return (points[..., 2] >= LEAST_HEIGHT_M) & (self.space.clearance_m(points) >= self.clearance_m)

    def filled(self, eyes: np.ndarray, forwards: np.ndarray, fov_rad: tuple[float, float]) -> np.ndarray:
        """What it fills of pictures: shares [F, 3] of the height, of the width, and of the way to the frame's edge.

        Args:
            eyes: camera centres [F, 3], level frame.
            forwards: unit view directions [F, 3].
            fov_rad: horizontal and vertical field of view.
        """
        sample = self.space.sample[:: max(1, len(self.space.sample) // FRAMING_SAMPLES)]
        shares = np.empty((len(eyes), 3))
        for share, viewmat in zip(shares, opencv_viewmats(eyes, forwards), strict=True):
            points = moved(sample.astype(np.float64), viewmat)
            if points[:, 2].min() <= 0:
                share[:] = np.inf
                continue
            on_screen = points[:, :2] / points[:, 2:] / np.tan(np.array(fov_rad) / 2)  # -1 to 1 within the frame
            low, high = np.percentile(on_screen, (100 - ENDS_PERCENTILE, ENDS_PERCENTILE), axis=0)
            share[:] = (high[1] - low[1]) / 2, (high[0] - low[0]) / 2, max(-low.min(), high.max())
        return shares

    def framing_m(self, fov_rad: tuple[float, float]) -> float:
        """The distance at which all of it is in view from every side, level with its middle."""
        headings = np.arange(0, HEADINGS, 3) * 2 * np.pi / HEADINGS
        out = direction(headings, np.zeros(len(headings)))
        return self.distance_m(lambda away_m: (self.centre + away_m * out, -out), fov_rad)

    def distance_m(
        self,
        seen_from: Callable[[float], tuple[np.ndarray, np.ndarray]],
        fov_rad: tuple[float, float],
        broad: float = BROAD,
    ) -> float:
        """The distance at which it fills `FILLED` of the frame's height, but not more than ``broad`` of its width.

        Args:
            seen_from: cameras (centres and view directions) at a distance in metres; it must count at the fullest.
            fov_rad: horizontal and vertical field of view.
            broad: share of the width.
        """
        low_m, high_m = 0.0, 10 * float(np.linalg.norm(self.space.high - self.space.low)) / min(np.tan(fov_rad) / 2)
        for _ in range(BISECTIONS):
            middle_m = (low_m + high_m) / 2
            shares = self.filled(*seen_from(middle_m), fov_rad)
            too_near = (shares > (FILLED, broad, EDGE)).any()
            low_m, high_m = (middle_m, high_m) if too_near else (low_m, middle_m)
        return high_m


def find_object(space: Space, clearance_m: float) -> ScannedObject:
    """Take the whole scene as one object to look at."""
    centre = (space.low + space.high) / 2
    headings = np.arange(HEADINGS) * 2 * np.pi / HEADINGS
    shows = np.array([_shown(space, centre, heading) for heading in headings])
    around = shows + 0.5 * (np.roll(shows, 1) + np.roll(shows, -1))
    return ScannedObject(space, clearance_m, centre, float(headings[np.argmax(around)]))


def _shown(space: Space, centre: np.ndarray, heading: float) -> float:
    """How much an object shows from a direction: the differences in colour between neighbours of what is nearest there.

    Both a broad side and a detailed one have many; its back hides what its front shows.
    """
    apart = space.sample - centre
    near = apart[:, 0] * np.cos(heading) + apart[:, 1] * np.sin(heading)
    across = np.stack([apart[:, 1] * np.cos(heading) - apart[:, 0] * np.sin(heading), apart[:, 2]], axis=1)
    cell_m = max(float((space.high - space.low).max()) / CELLS, 1e-6)
    cells = np.clip(np.floor(across / cell_m).astype(int) + CELLS, 0, 2 * CELLS - 1)
    front = np.full((2 * CELLS, 2 * CELLS, 3), np.nan, np.float32)
    order = np.argsort(near, kind="stable")
    front[cells[order, 0], cells[order, 1]] = space.sample_rgb[order]  # the nearest comes last
    return float(sum(np.nansum(np.abs(np.diff(front, axis=axis))) for axis in (0, 1)))
