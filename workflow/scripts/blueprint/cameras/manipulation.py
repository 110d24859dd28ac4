"""Manipulation arc: a close arc at hand height, looking at a work surface the way a robot's wrist or head would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from blueprint.cameras.base import CameraPath, Offset, Placed, PlacedKeys, Request, view_directions
from blueprint.cameras.choice import along, combinations, scaled, shortlist
from blueprint.cameras.orbit import circle
from blueprint.errors import UserError
from blueprint.section import key

if TYPE_CHECKING:
    from blueprint.cameras.space import Space
    from blueprint.cameras.surroundings import Room, ScannedObject

WORK_HEIGHTS_M = (0.6, 1.25)
HEADROOM_M = 0.35
FLAT_WINDOW_M = 0.5
LEAST_FLAT_SHARE = 0.45
HAND_ABOVE_M = 0.45
RADIUS_M = 0.7
DEG_PER_FRAME = 2.5
LARGEST_ARC_DEG = 90.0
TARGETS = 160
HEADINGS = 24
SAMPLES = 9
NEAR_TARGET_M = 0.4
AIRY_M = 0.5
FLOOR_M = 0.2  # lower than that is floor
OBJECT_LOOK_DOWN_DEG = 20.0


class ManipulationKeys(PlacedKeys):
    """The keys of a clip that is a manipulation arc."""

    radius_m: float | None = key(
        "Horizontal distance from the work place in metres (default 0.7; from outside half of what shows the whole "
        "object).",
        None,
        gt=0,
    )
    arc_deg: float | None = key("Angle of the arc in degrees (default 2.5 per frame, at most 90).", None, gt=0, le=360)


@dataclass(frozen=True)
class Surface:
    """Places on level work surfaces."""

    points: np.ndarray  # [N, 3] level frame, metres
    flatness: np.ndarray  # [N] share of the window around each that is level


def find_work_surfaces(space: Space) -> Surface:
    """Places at working height that are level and have room above for a hand."""
    from scipy import ndimage  # slow to import, and a plan needs this module for its keys alone

    lowest, highest = (int((height - space.origin[2]) / space.voxel_m) for height in WORK_HEIGHTS_M)
    headroom = int(np.ceil(HEADROOM_M / space.voxel_m))
    lowest, highest = max(lowest, 0), min(highest, space.solid.shape[2] - headroom - 1)
    window = max(3, round(FLAT_WINDOW_M / space.voxel_m))
    points, flatness = [np.empty((0, 3))], [np.empty(0)]
    for layer in range(lowest, highest):
        band = space.solid[:, :, max(layer - 1, 0) : layer + 1].any(axis=2)
        above = space.solid[:, :, layer + 1 : layer + 1 + headroom].any(axis=2)
        share = ndimage.uniform_filter((band & ~above).astype(np.float32), window, mode="constant")
        cells = np.argwhere(space.solid[:, :, layer] & ~above & (share >= LEAST_FLAT_SHARE))
        height = np.full((len(cells), 1), layer + 1)
        points.append(np.concatenate([cells + 0.5, height], axis=1) * space.voxel_m + space.origin)
        flatness.append(share[tuple(cells.T)])
    return Surface(np.concatenate(points), np.concatenate(flatness))


def arc_of(request: Request) -> float:
    """Angle of the arc in radians."""
    arc_deg = (
        min(LARGEST_ARC_DEG, DEG_PER_FRAME * request.frames) if request.keys.arc_deg is None else request.keys.arc_deg
    )
    return np.radians(arc_deg)


def manipulate_in_room(room: Room, request: Request, target: np.ndarray | None, offset: Offset) -> Placed:
    """Place an arc before a work surface: level, with things on it, reachable from the floor.

    Args:
        room: a room of the scene; the surface may be in another.
        request: the clip.
        target: point [3] of the level frame to look at; None to choose one.
        offset: what sets this clip apart.

    Raises:
        UserError: there is no such surface, or no arc before it is free.
    """
    space = room.space
    targets, flatness = _places(space, target)
    radius_m = RADIUS_M * offset.radius_share if request.keys.radius_m is None else request.keys.radius_m
    arc_rad = arc_of(request)
    headings = np.arange(HEADINGS) * 2 * np.pi / HEADINGS
    if request.keys.heading_deg is not None:
        headings = np.radians([request.keys.heading_deg])
    number, heading = combinations(np.arange(len(targets)), headings)
    point = targets[number]
    if request.keys.height_m is None:
        height_m = point[:, 2] + HAND_ABOVE_M + 0.5 * offset.height_m
    else:
        height_m = np.full(len(point), request.keys.height_m + offset.height_m)
    turns = arc_rad * (along(SAMPLES) - 0.5)
    eyes = circle(point[:, None, :2], np.full((len(point), SAMPLES), radius_m), heading[:, None] + turns, 0.0)
    eyes[..., 2] = height_m[:, None]

    free = _in_rooms(room, eyes, target)
    seen = _in_sight(space, eyes, point)
    fits = free & seen
    if not fits.any():
        raise UserError(
            f"no arc of {np.degrees(arc_rad):.0f} degrees with radius_m {radius_m:.2f} before any of {len(targets)} "
            f"places on work surfaces is free: {(~free).mean():.0%} come closer than {room.clearance_m:.2f} m to solid "
            f"matter or leave the room, from {(~seen).mean():.0%} the place is hidden. Change radius_m, arc_deg, "
            "heading_deg, height_m, clearance_m or target_m."
        )
    things = scaled(np.array([_things_on(space, place) for place in targets]))[number]
    stand = _standing_room(space, eyes)
    airy = np.minimum(space.clearance_m(eyes).min(axis=1) / AIRY_M, 1)
    chosen, worth = shortlist(fits, things + stand + airy + flatness[number], heading, offset)
    best = chosen[np.argmax(worth)]
    frames = circle(
        point[best, :2],
        np.full(request.frames, radius_m),
        heading[best] + arc_rad * (along(request.frames) - 0.5),
        float(height_m[best]),
    )
    facts = {
        "target": point[best],
        "radius_m": radius_m,
        "arc_deg": np.degrees(arc_rad),
        "heading_deg": np.degrees(heading[best]),
    }
    return Placed(frames, view_directions(frames, point[best], request, offset, None), facts)


def _places(space: Space, target: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Points [T, 3] to look at, of the level frame, and how flat the surface is there [T], 0 to 1."""
    if target is not None:
        return target[None], np.ones(1)
    surface = find_work_surfaces(space)
    if not len(surface.points):
        raise UserError(
            f"there is no level surface {WORK_HEIGHTS_M[0]} to {WORK_HEIGHTS_M[1]} m above the floor with "
            f"{HEADROOM_M} m of room above it. Name target_m, or correct up_axis and floor_height_m."
        )
    spread = np.linspace(0, len(surface.points) - 1, min(TARGETS, len(surface.points))).astype(int)
    return surface.points[spread], surface.flatness[spread]


def _in_rooms(any_room: Room, eyes: np.ndarray, target: np.ndarray | None) -> np.ndarray:
    """Whether all cameras [N, S, 3] of an arc are free, in the room at their height."""
    space = any_room.space
    free = (space.clearance_m(eyes) >= any_room.clearance_m).all(axis=1)
    layers = np.round(eyes[:, 0, 2] / space.voxel_m).astype(int)
    for layer in np.unique(layers[free]):
        members = free & (layers == layer)
        room = any_room.at(layer * space.voxel_m, target)
        free[members] = False if room is None else room.free(eyes[members]).all(axis=1)
    return free


def _in_sight(space: Space, eyes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether most cameras [N, S, 3] of an arc see their point [N, 3], give or take what stands before it."""
    apart = points[:, None] + [0, 0, 2 * space.voxel_m] - eyes
    distance_m = np.linalg.norm(apart, axis=-1)
    reach_m = space.view_depth_m(eyes, apart / distance_m[..., None], float(distance_m.max()))
    return (reach_m >= distance_m - 0.2).mean(axis=1) >= 0.7


def _things_on(space: Space, point: np.ndarray) -> float:
    """How much stands on the surface around a point [3]: a count of Gaussians, with diminishing returns."""
    apart = space.sample - point
    near = (np.abs(apart[:, :2]) < NEAR_TARGET_M).all(axis=1) & (apart[:, 2] > 0.02) & (apart[:, 2] < HEADROOM_M)
    return float(np.sqrt(near.sum()))


def _standing_room(space: Space, eyes: np.ndarray) -> np.ndarray:
    """Share [N] of an arc's cameras [N, S, 3] with nothing between them and the floor, where a robot could stand."""
    blocked = np.cumsum(space.solid[:, :, max(int((FLOOR_M - space.origin[2]) / space.voxel_m), 0) :], axis=2) > 0
    index = np.floor((eyes - space.origin - [0, 0, FLOOR_M - space.origin[2]]) / space.voxel_m).astype(int)
    index = np.clip(index, 0, np.array(blocked.shape) - 1)
    return 1 - blocked[tuple(np.moveaxis(index, -1, 0))].mean(axis=1)


def manipulate_object(scanned: ScannedObject, request: Request, target: np.ndarray | None, offset: Offset) -> Placed:
    """Place a close arc before an object, at half the distance from which all of it is in view.

    Raises:
        UserError: the arc meets solid matter.
    """
    # The median lies where most of the matter is: in a guitar's body, not on its neck.
    point = np.median(scanned.space.sample, axis=0).astype(float) if target is None else target
    radius_m = request.keys.radius_m
    if radius_m is None:
        radius_m = 0.5 * scanned.framing_m(request.fov_rad) * offset.radius_share
    arc_rad = arc_of(request)
    heading = scanned.facing_rad + offset.turn_rad / 4
    if request.keys.heading_deg is not None:
        heading = np.radians(request.keys.heading_deg)
    height_m = request.keys.height_m
    if height_m is None:
        height_m = max(point[2] + radius_m * np.tan(np.radians(OBJECT_LOOK_DOWN_DEG)) + offset.height_m, 0.1)
    turns = arc_rad * (along(request.frames) - 0.5)
    eyes = circle(point[:2], np.full(request.frames, radius_m), heading + turns, height_m)
    free = scanned.free(eyes)
    if not free.all():
        raise UserError(
            f"{(~free).sum()} of {len(free)} cameras of an arc with radius_m {radius_m:.2f} would be less than "
            f"{scanned.clearance_m:.2f} m from solid matter. Change radius_m, height_m, heading_deg or clearance_m."
        )
    facts = {
        "target": point,
        "radius_m": radius_m,
        "arc_deg": np.degrees(arc_rad),
        "heading_deg": np.degrees(heading),
    }
    return Placed(eyes, view_directions(eyes, point, request, offset, None), facts)


PATH = CameraPath(
    name="manipulation",
    description="is a close arc before a work surface",
    keys=ManipulationKeys,
    clearance_m=0.15,
    in_room=manipulate_in_room,
    around_object=manipulate_object,
)
