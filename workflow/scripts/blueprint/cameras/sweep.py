"""Sweep: a straight pass, like that of a mobile robot, looking across the direction of travel."""

from __future__ import annotations

import numpy as np

from blueprint.axes import direction
from blueprint.cameras.choice import SAMPLES, along, combinations, scaled, shortlist
from blueprint.cameras.orbit import LOOK_DOWN_DEG
from blueprint.cameras.request import Offset, Placed, Request, gaze
from blueprint.cameras.surroundings import Room, Thing, detail
from blueprint.errors import UserError

M_PER_FRAME = 0.05
LENGTHS_M = (1.0, 4.0)
SHORTER = np.array([1.0, 0.8, 0.6, 0.4])
OPEN_VIEW_M = 1.5
MIDDLES = 90
HEADINGS = 24
VIEW_LIMIT_M = 6.0


def length_of(request: Request) -> float:
    """Length that is wished for, metres."""
    if request.length_m is not None:
        return request.length_m
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
    lengths_m = length_of(request) * (SHORTER if request.length_m is None else np.ones(1))
    if request.heading_deg is None:
        headings = np.arange(HEADINGS) * 2 * np.pi / HEADINGS
    else:
        headings = np.radians([request.heading_deg, request.heading_deg + 180])
    middle, heading, length_m = combinations(room.cells(MIDDLES), headings, lengths_m)
    tried = line(middle, heading, room.height_m, length_m[:, None] * (along(SAMPLES) - 0.5))
    free = room.free(tried).all(axis=1)
    if not free.any():
        raise UserError(_why_not(room, middle, heading, float(lengths_m.min())))
    default_deg = LOOK_DOWN_DEG if target is None else None

    def views(eyes: np.ndarray, towards: np.ndarray) -> np.ndarray:
        point = eyes + direction(towards, np.zeros(len(eyes))) if target is None else target
        return gaze(eyes, point, request, offset, default_deg)

    # The camera looks to the left of its way; a way and its reverse look to either side.
    across = heading + np.pi / 2
    fan = np.radians([-25.0, 0.0, 25.0])
    depth_m = np.zeros((len(tried), 3, len(fan)))
    depth_m[free] = room.space.view_depth_m(
        tried[free][:, [0, SAMPLES // 2, -1], None],
        direction(across[free, None, None] + fan, np.radians(LOOK_DOWN_DEG)),
        VIEW_LIMIT_M,
    )
    view_m = np.minimum(depth_m.min(axis=(1, 2)), OPEN_VIEW_M) + depth_m.mean(axis=(1, 2))
    chosen, worth = shortlist(free, view_m + 2 * length_m / lengths_m.max(), across, offset)
    middles = tried[chosen, SAMPLES // 2]
    seen = detail(room.space, middles, views(middles, across[chosen]), request.fov_x_rad)
    best = chosen[np.argmax(worth + scaled(seen))]
    eyes = line(middle[[best]], heading[[best]], room.height_m, length_m[best] * (along(request.frames) - 0.5))[0]
    forwards = views(eyes, np.full(len(eyes), across[best]))
    if request.heading_deg is not None and np.cos(heading[best] - np.radians(request.heading_deg)) < 0:
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


def sweep_thing(thing: Thing, request: Request, target: np.ndarray | None, offset: Offset) -> Placed:
    """Place a sweep past an object, at the distance from which all of it is in view.

    Raises:
        UserError: the line meets solid matter.
    """
    point = thing.centre if target is None else target
    facing = thing.facing_rad + offset.turn_rad
    if request.heading_deg is not None:
        facing = np.radians(request.heading_deg - 90)
    distance_m = thing.framing_m(request.fov_x_rad, request.fov_y_rad) / offset.radius_share
    length_m = length_of(request) if request.length_m is not None else min(length_of(request), 2 * distance_m)
    height_m = request.height_m
    if height_m is None:
        height_m = max(point[2] + offset.height_m, 0.1)
    middle = point[:2] + distance_m * np.array([np.cos(facing), np.sin(facing)])
    # Travelling at a right angle, the object is on the left.
    heading = facing + np.pi / 2
    eyes = line(middle[None], np.array([heading]), height_m, length_m * (along(request.frames) - 0.5))[0]
    free = thing.free(eyes)
    if not free.all():
        raise UserError(
            f"{(~free).sum()} of {len(free)} cameras of a sweep of {length_m:.2f} m would be less than "
            f"{thing.clearance_m:.2f} m from solid matter. Change height_m, heading_deg or clearance_m."
        )
    towards = eyes - np.array([*(middle - point[:2]), height_m - point[2]]) if target is None else target
    facts = {"middle": eyes.mean(axis=0), "length_m": length_m, "heading_deg": np.degrees(heading)}
    return Placed(eyes, gaze(eyes, towards, request, offset, None), facts)
