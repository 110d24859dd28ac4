"""Orbit: around the middle of a room looking inwards, or around an object from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from blueprint.cameras.base import CameraPath, Offset, Placed, PlacedKeys, Request, view_directions
from blueprint.cameras.choice import ENDS, SAMPLES, along, combinations, scaled, shortlist
from blueprint.errors import UserError
from blueprint.section import key

if TYPE_CHECKING:
    from blueprint.cameras.sight import Sight
    from blueprint.cameras.surroundings import Room, ScannedObject

DEG_PER_FRAME = 4.0  # slow enough for optical flow and for video models
RADII_M = np.arange(0.4, 2.41, 0.2)
CENTRES = 60
STARTS = 36
LOOK_DOWN_DEG = 10.0
LEAST_HEIGHT_M = 0.1


class OrbitKeys(PlacedKeys):
    """The keys of a clip that is an orbit."""

    radius_m: float | None = key(
        "Horizontal distance from the centre in metres (default as wide as free space allows, up to 2.4; from outside "
        "as far as shows the whole object).",
        None,
        gt=0,
    )
    arc_deg: float | None = key("Angle of the orbit in degrees (default 4 per frame, at most 360).", None, gt=0, le=360)


def arc_of(request: Request) -> tuple[float, bool]:
    """Angle of the arc in radians, and whether it closes to a circle."""
    arc_deg = min(360.0, DEG_PER_FRAME * request.frames) if request.keys.arc_deg is None else request.keys.arc_deg
    return np.radians(arc_deg), arc_deg >= 360


def circle(centres: np.ndarray, radii: np.ndarray, headings: np.ndarray, height_m: float) -> np.ndarray:
    """Points [..., 3] at a height, ``radii`` [...] away from ``centres`` [..., 2] in directions [...], level frame."""
    out = radii[..., None] * np.stack([np.cos(headings), np.sin(headings)], axis=-1)
    plane = centres + out
    return np.concatenate([plane, np.full((*plane.shape[:-1], 1), height_m)], axis=-1)


def orbit_room(room: Room, request: Request, target: np.ndarray | None, offset: Offset) -> Placed:
    """Place an orbit in a room: wide, near the room's middle, where most is to be seen.

    Args:
        room: where cameras may be, at the orbit's height.
        request: the clip.
        target: point [3] of the level frame to circle and to look at; None for one near the room's middle.
        offset: what sets this clip apart.

    Raises:
        UserError: no such arc is free.
    """
    arc_rad, closed = arc_of(request)
    centres = room.cells(CENTRES) if target is None else target[None, :2]
    radii = RADII_M * offset.radius_share if request.keys.radius_m is None else np.array([request.keys.radius_m])
    if request.keys.heading_deg is None:
        starts = np.arange(STARTS) * 2 * np.pi / STARTS
    else:
        starts = np.radians([request.keys.heading_deg])
    centre, radius, start = combinations(centres, radii, starts)
    headings = start[:, None] + arc_rad * along(SAMPLES, closed)
    tried = circle(centre[:, None], radius[:, None], headings, room.height_m)
    free = room.free(tried).all(axis=1)
    if not free.any():
        raise UserError(_why_not(room, radius, centre, arc_rad, request, target))
    if room.photographed is not None:
        ends = tried[free][:, ENDS]
        towards = np.concatenate([centre[free], np.full((free.sum(), 1), room.height_m)], axis=1)
        towards = np.repeat(towards, len(ENDS), axis=0)
        forwards = view_directions(ends.reshape(-1, 3), towards, request, offset, LOOK_DOWN_DEG)
        free = room.photographed.narrowed(free, ends, forwards.reshape(ends.shape), request.fov_x_rad)
    off_m = 0.0 if target is not None else np.linalg.norm(centre - room.centre, axis=1)
    chosen, worth = shortlist(free, np.minimum(radius, 2.0) - 0.5 * off_m, start + arc_rad / 2, offset)
    default_deg = LOOK_DOWN_DEG if target is None else None

    middles = tried[chosen, SAMPLES // 2]
    points = np.concatenate([centre[chosen], middles[:, 2:]], axis=1) if target is None else target
    seen = room.space.detail(middles, view_directions(middles, points, request, offset, default_deg), request.fov_x_rad)
    best = chosen[np.argmax(worth + scaled(seen))]
    point = np.array([*centre[best], room.height_m]) if target is None else target
    headings = start[best] + arc_rad * along(request.frames, closed)
    eyes = circle(centre[best], np.full(request.frames, radius[best]), headings, room.height_m)
    facts = {
        "centre": point,
        "radius_m": radius[best],
        "arc_deg": np.degrees(arc_rad),
        "heading_deg": np.degrees(start[best]),
    }
    return Placed(eyes, view_directions(eyes, point, request, offset, default_deg), facts)


def _why_not(
    room: Room, radius: np.ndarray, centre: np.ndarray, arc_rad: float, request: Request, target: np.ndarray | None
) -> str:
    """Say how large an arc would fit."""
    sizes = np.arange(0.1, max(float(radius.max()), 0.2), 0.1)
    starts = (
        np.arange(STARTS) * 2 * np.pi / STARTS
        if request.keys.heading_deg is None
        else np.radians([request.keys.heading_deg])
    )
    places, radii, begins = combinations(np.unique(centre, axis=0), sizes, starts)
    points = circle(places[:, None], radii[:, None], begins[:, None] + arc_rad * along(SAMPLES), room.height_m)
    fits = room.free(points).all(axis=1)
    around = "anywhere in the room" if target is None else "around target_m"
    found = f"the largest that fits has radius_m {radii[fits].max():.2f}" if fits.any() else "none of any radius fits"
    return (
        f"no arc of {np.degrees(arc_rad):.0f} degrees with radius_m {radius.min():.2f} or more stays "
        f"{room.clearance_m:.2f} m clear of solid matter {around}, {room.height_m:.2f} m above the floor; {found}. "
        "Change radius_m, arc_deg, heading_deg, height_m, clearance_m or target_m."
    )


def orbit_object(scanned: ScannedObject, request: Request, target: np.ndarray | None, offset: Offset) -> Placed:
    """Place an orbit around an object, all of which is in view unless ``radius_m`` is given.

    Raises:
        UserError: the orbit meets solid matter.
    """
    arc_rad, closed = arc_of(request)
    point = scanned.centre if target is None else target
    if request.keys.heading_deg is None:
        start = scanned.facing_rad + offset.turn_rad - (0 if closed else arc_rad / 2)
    else:
        start = np.radians(request.keys.heading_deg)

    def seen_from(radius_m: float, frames: int = SAMPLES) -> tuple[np.ndarray, np.ndarray]:
        height_m = request.keys.height_m
        if height_m is None:
            height_m = max(point[2] + radius_m * np.tan(np.radians(LOOK_DOWN_DEG)) + offset.height_m, LEAST_HEIGHT_M)
        headings = start + arc_rad * along(frames, closed)
        eyes = circle(point[:2], np.full(frames, radius_m), headings, height_m)
        return eyes, view_directions(eyes, point, request, offset, None)

    radius_m = request.keys.radius_m
    if radius_m is None:
        radius_m = scanned.distance_m(seen_from, request.fov_rad) / offset.radius_share
    eyes, forwards = seen_from(radius_m, request.frames)
    free = scanned.free(eyes)
    if not free.all():
        raise UserError(
            f"{(~free).sum()} of {len(free)} cameras of an orbit with radius_m {radius_m:.2f} would be less than "
            f"{scanned.clearance_m:.2f} m from solid matter. Increase radius_m, or reduce clearance_m."
        )
    facts = {
        "centre": point,
        "radius_m": radius_m,
        "arc_deg": np.degrees(arc_rad),
        "heading_deg": np.degrees(start),
    }
    return Placed(eyes, forwards, facts)


def orbit_sight(sight: Sight, request: Request, offset: Offset) -> Placed:
    """Place an orbit where photos were taken from: at their distance and height, no farther round than they went."""
    arc_rad = min(arc_of(request)[0], sight.span_rad)
    spare = sight.span_rad - arc_rad
    start = sight.heading_rad - arc_rad / 2 + spare / 2 * np.sin(offset.turn_rad)
    radius = sight.radius * offset.radius_share
    headings = start + arc_rad * along(request.frames)
    eyes = circle(sight.target[:2], np.full(request.frames, radius), headings, sight.height_m + offset.height_m)
    facts = {
        "centre": sight.target,
        "radius_m": radius,
        "arc_deg": np.degrees(arc_rad),
        "heading_deg": np.degrees(start),
    }
    return Placed(eyes, view_directions(eyes, sight.target, request, offset, None), facts)


PATH = CameraPath(
    name="orbit",
    description="circles the middle of a room looking inwards, or an object from outside",
    keys=OrbitKeys,
    clearance_m=0.25,
    in_room=orbit_room,
    around_object=orbit_object,
    around_sight=orbit_sight,
)
