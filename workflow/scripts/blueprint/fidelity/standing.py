"""Where a camera may stand: places in free space, from each of which the scan is looked at all around."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blueprint.axes import direction, intrinsics, opencv_viewmats
from blueprint.cameras.space import Space
from blueprint.fidelity.views import CAUSES, TrustRenderer

HEADINGS = 6
FOV_DEG = 75.0
LOOK_DOWN_DEG = 10.0
SIZE_PX = (96, 72)
CLEARANCE_M = 0.25
CLOSED_SHARE = 0.5  # of all directions that meet matter, as seen from free places
PROBES = 150
DIRECTIONS = 200
BESIDE_OPEN = 0.5  # of an open scene's extent: how far beside it a camera may want to stand
HIGHEST_SHARE = 0.9  # of a closed scene's height


@dataclass(frozen=True)
class Standing:
    """Views all around from P places; the level frame."""

    places: np.ndarray  # [P, 3] metres
    headings_rad: np.ndarray  # [H]
    shares: dict[str, np.ndarray]  # of each cause, and ``untrusted``: [P, H] share of the pixels
    empty: np.ndarray  # [P, H] bool, nothing of an open scene is in view

    @property
    def trust(self) -> np.ndarray:
        """Share [P, H] of pixels that can be trusted; NaN where nothing is in view."""
        return np.where(self.empty, np.nan, 1 - self.shares["untrusted"])


def is_closed(space: Space, seed: int = 0) -> bool:
    """Whether the scene is a room, or several, even if walls are missing: most directions meet matter."""
    random = np.random.default_rng(seed)
    rays = random.normal(size=(DIRECTIONS, 3))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    eyes = random.uniform(space.low, space.high, (20 * PROBES, 3))
    eyes = eyes[space.clearance_m(eyes) >= CLEARANCE_M][:PROBES]
    if not len(eyes):
        return False
    reach_m = float(np.linalg.norm(np.array(space.solid.shape) * space.voxel_m))
    hit = space.view_depth_m(eyes[:, None], rays, reach_m) < reach_m
    return bool(np.median(hit.mean(axis=1)) >= CLOSED_SHARE)


def places_in(space: Space, closed: bool, height_m: float, about: int) -> np.ndarray:
    """About as many free places [P, 3] as asked for, evenly over the floor plan, at one height."""
    low, high = space.low[:2], space.high[:2]
    if closed:
        height_m = float(np.clip(height_m, space.low[2], space.low[2] + HIGHEST_SHARE * (space.high[2] - space.low[2])))
    else:
        low, high = low - BESIDE_OPEN * (high - low), high + BESIDE_OPEN * (high - low)
    found = np.empty((0, 3))
    for finer in range(1, 4):  # until enough of them are free
        step_m = float(np.sqrt(np.prod(high - low) / about)) / finer
        axes = [np.arange(start + step_m / 2, stop, step_m) for start, stop in zip(low, high, strict=True)]
        grid = np.stack(np.meshgrid(*axes, [height_m], indexing="ij"), axis=-1).reshape(-1, 3)
        found = grid[space.clearance_m(grid) >= CLEARANCE_M]
        if len(found) >= about / 2:
            break
    return found


def look_around(renderer: TrustRenderer, places: np.ndarray, level: np.ndarray) -> Standing:
    """Look at the scene from places [P, 3] of the level frame, all around.

    Args:
        renderer: of views of `SIZE_PX`.
        places: [P, 3].
        level: [4, 4] from the world to the level frame.
    """
    headings = np.arange(HEADINGS) * 2 * np.pi / HEADINGS
    eyes = np.repeat(places, HEADINGS, axis=0)
    forwards = direction(np.tile(headings, len(places)), np.full(len(eyes), np.radians(LOOK_DOWN_DEG)))
    Ks = np.tile(intrinsics(*SIZE_PX, fov_x_deg=FOV_DEG), (len(eyes), 1, 1))
    judged = list(renderer.views(opencv_viewmats(eyes, forwards) @ level, Ks)) if len(eyes) else []
    shares = [view.shares() for view in judged]
    shape = (len(places), HEADINGS)
    return Standing(
        places,
        headings,
        {name: np.array([share[name] for share in shares]).reshape(shape) for name in (*CAUSES, "untrusted")},
        np.array([view.is_empty for view in judged], bool).reshape(shape),
    )
