"""Sweep: a straight pass, like that of a mobile robot, looking across the direction of travel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from blueprint.axes import direction
from blueprint.cameras.base import CameraPath, Offset, Placed, PlacedKeys, Request, view_directions
from blueprint.cameras.choice import ENDS, SAMPLES, along, combinations, scaled, shortlist
from blueprint.cameras.orbit import LEAST_HEIGHT_M, LOOK_DOWN_DEG
from blueprint.errors import UserError
from blueprint.section import key

if TYPE_CHECKING:
    from blueprint.cameras.sight import Sight
    from blueprint.cameras.surroundings import Room, ScannedObject

M_PER_FRAME = 0.05
LENGTHS_M = (1.0, 4.0)
SHORTER = np.array([1.0, 0.8, 0.6, 0.4])
OPEN_VIEW_M = 1.5
MIDDLES = 90
HEADINGS = 24
VIEW_LIMIT_M = 6.0
EDGE = 0.93  # of the way to the frame's edge: as far as an object that is passed comes
BROAD_PASSING = 0.6  # share of the frame's width that an object fills at most, so that there is room to pass by


class SweepKeys(PlacedKeys):
    """The keys of a clip that is a sweep."""

    length_m: float | None = key(
        "Length in metres (default 0.05 per frame, 1 to 4, less where there is no room or view).", None, gt=0
    )


def length_of(request: Request) -> float:
    """Length that is wished for, metres."""
    if request.keys.length_m is not None:
        return request.keys.length_m
    return float(np.clip(M_PER_FRAME * request.frames, *LENGTHS_M))


def line(middles: np.ndarray, headings: np.ndarray, height_m: float, distances_m: np.ndarray) -> np.ndarray:
    """Points [N, S, 3] at distances [S] or [N, S] ahead of middles [N, 2] in directions [N]."""
    ahead = np.stack([np.cos(headings), np.sin(headings)], axis=-1)
    plane = (
        middles[:, None]
        + np.broadcast_to(distances_m, (len(middles), distances_m.shape[-1]))[..., None] * ahead[:, None]
    )
    return np.concatenate([plane, np.full((*plane.shape[:-1], 1), height_m)], axis=-1)


def sweep_room(room: Room, request: Request, target: np.ndarray | None, offset: Offset) -> Placed:
    """Place a sweep in a room: a free line from which the view across is deep and shows most.

    Args:
        room: where cameras may be, at the sweep's height.
        request: the clip.
        target: point [3] of the level frame to keep looking at; None to look straight across.
        offset: what sets this clip apart.

    Raises:
        UserError: there is no free line of that length.
    """
    lengths_m = length_of(request) * (SHORTER if request.keys.length_m is None else np.ones(1))
    if request.keys.heading_deg is None:
        headings = np.arange(HEADINGS) * 2 * np.pi / HEADINGS
    else:
        headings = np.radians([request.keys.heading_deg, request.keys.heading_deg + 180])
    middle, heading, length_m = combinations(room.cells(MIDDLES), headings, lengths_m)
    tried = line(middle, heading, room.height_m, length_m[:, None] * (along(SAMPLES) - 0.5))
    free = room.free(tried).all(axis=1)
    if not free.any():
        raise UserError(_why_not(room, middle, heading, float(lengths_m.min())))
    default_deg = LOOK_DOWN_DEG if target is None else None
    across = heading + np.pi / 2  # the camera looks to the left of its way; a way and its reverse look to either side

    def views(eyes: np.ndarray, towards: np.ndarray) -> np.ndarray:
        point = eyes + direction(towards, np.zeros(len(eyes))) if target is None else target
        return view_directions(eyes, point, request, offset, default_deg)

    if room.photographed is not None:
        ends = tried[free][:, ENDS]
        forwards = views(ends.reshape(-1, 3), np.repeat(across[free], len(ENDS)))
        free = room.photographed.narrowed(free, ends, forwards.reshape(ends.shape), request.fov_x_rad)
    fan = np.radians([-25.0, 0.0, 25.0])
    depth_m = np.zeros((len(tried), 3, len(fan)))
    depth_m[free] = room.space.view_depth_m(
        tried[free][:, ENDS, None],
        direction(across[free, None, None] + fan, np.radians(LOOK_DOWN_DEG)),
        VIEW_LIMIT_M,
    )
    view_m = np.minimum(depth_m.min(axis=(1, 2)), OPEN_VIEW_M) + depth_m.mean(axis=(1, 2))
    chosen, worth = shortlist(free, view_m + 2 * length_m / lengths_m.max(), across, offset)
    middles = tried[chosen, SAMPLES // 2]
    seen = room.space.detail(middles, views(middles, across[chosen]), request.fov_x_rad)
    best = chosen[np.argmax(worth + scaled(seen))]
    eyes = line(middle[[best]], heading[[best]], room.height_m, length_m[best] * (along(request.frames) - 0.5))[0]
    forwards = views(eyes, np.full(len(eyes), across[best]))
    if request.keys.heading_deg is not None and np.cos(heading[best] - np.radians(request.keys.heading_deg)) < 0:
        eyes, forwards = eyes[::-1], forwards[::-1]  # the better view is on the right of the way asked for
    facts = {"middle": eyes.mean(axis=0), "length_m": length_m[best], "heading_deg": np.degrees(heading[best])}
    return Placed(eyes, forwards, facts)


def _why_not(room: Room, middle: np.ndarray, heading: np.ndarray, length_m: float) -> str:
    """Say how long a line would fit."""
    lengths = np.arange(0.1, length_m, 0.1)
    fits = [
        length for length in lengths
        if room.free(line(middle, heading, room.height_m, length * (along(SAMPLES) - 0.5))).all(axis=1).any()
    ]  # fmt: skip
    found = f"the longest free line is {fits[-1]:.1f} m" if fits else "there is no free line at all"
    return (
        f"no straight line of {length_m:.2f} m stays {room.clearance_m:.2f} m clear of solid matter, "
        f"{room.height_m:.2f} m above the floor; {found}. Change length_m, heading_deg, height_m or clearance_m."
    )


def sweep_object(scanned: ScannedObject, request: Request, target: np.ndarray | None, offset: Offset) -> Placed:
    """Place a sweep past an object, at the distance from which all of it is in view.

    Raises:
        UserError: the line meets solid matter.
    """
    point = scanned.centre if target is None else target
    facing = scanned.facing_rad + offset.turn_rad
    if request.keys.heading_deg is not None:
        facing = np.radians(request.keys.heading_deg - 90)
    out, heading = np.array([np.cos(facing), np.sin(facing)]), facing + np.pi / 2  # so the object is on the left
    height_m = request.keys.height_m
    if height_m is None:
        height_m = max(point[2] + offset.height_m, LEAST_HEIGHT_M)

    def passing(distance_m: float, length_m: float, frames: int) -> tuple[np.ndarray, np.ndarray]:
        middle = point[:2] + distance_m * out
        eyes = line(middle[None], np.array([heading]), height_m, length_m * (along(frames) - 0.5))[0]
        towards = eyes - np.array([*(middle - point[:2]), height_m - point[2]]) if target is None else target
        return eyes, view_directions(eyes, towards, request, offset, None)

    distance_m = scanned.distance_m(lambda away_m: passing(away_m, 0.0, 1), request.fov_rad, BROAD_PASSING)
    distance_m /= offset.radius_share
    length_m = request.keys.length_m
    if length_m is None:  # as long as all of it stays in view
        tried = np.minimum(length_of(request), 2 * distance_m) * np.linspace(1, 0.05, 20)
        fits = [
            scanned.filled(*passing(distance_m, length, 2), request.fov_rad)[:, 2].max() <= EDGE for length in tried
        ]
        length_m = float(tried[np.argmax(fits)] if any(fits) else tried[-1])
    eyes, forwards = passing(distance_m, length_m, request.frames)
    free = scanned.free(eyes)
    if not free.all():
        raise UserError(
            f"{(~free).sum()} of {len(free)} cameras of a sweep of {length_m:.2f} m would be less than "
            f"{scanned.clearance_m:.2f} m from solid matter. Change height_m, heading_deg or clearance_m."
        )
    facts = {"middle": eyes.mean(axis=0), "length_m": length_m, "heading_deg": np.degrees(heading)}
    return Placed(eyes, forwards, facts)


def sweep_sight(sight: Sight, request: Request, offset: Offset) -> Placed:
    """Place a sweep across the middle of where photos were taken from, no longer than they reach to the sides."""
    radius = sight.radius * offset.radius_share
    length_m = min(length_of(request), 2 * radius * np.tan(min(sight.span_rad, np.pi / 2) / 2))
    facing = sight.heading_rad + sight.span_rad / 4 * np.sin(offset.turn_rad)
    middle = sight.target[:2] + radius * np.array([np.cos(facing), np.sin(facing)])
    heading = facing + np.pi / 2
    distances_m = length_m * (along(request.frames) - 0.5)
    eyes = line(middle[None], np.array([heading]), sight.height_m + offset.height_m, distances_m)[0]
    # Looking straight across, as a robot that passes by; the subject is in the middle of the way.
    towards = eyes - np.array([*(middle - sight.target[:2]), sight.height_m - sight.target[2]])
    facts = {"middle": eyes.mean(axis=0), "length_m": length_m, "heading_deg": np.degrees(heading)}
    return Placed(eyes, view_directions(eyes, towards, request, offset, None), facts)


PATH = CameraPath(
    name="sweep",
    description="passes along a straight line looking to its side",
    keys=SweepKeys,
    clearance_m=0.25,
    in_room=sweep_room,
    around_object=sweep_object,
    around_sight=sweep_sight,
)
