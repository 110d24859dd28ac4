"""From a clip of the configuration to its cameras in a scene."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.axes import eyes_of, intrinsics, level_from_world, moved, moved_back, opencv_viewmats
from blueprint.cameras import CameraPath, camera_path
from blueprint.cameras.base import FOV_DEG, Given, Offset, Placed, Request
from blueprint.cameras.dataset import Photo, read_photos
from blueprint.cameras.sight import Photographed, Sight, photographed, sight_of
from blueprint.cameras.space import Space, survey_space
from blueprint.cameras.surroundings import Room, find_object, find_room
from blueprint.errors import UserError
from blueprint.poses import Cameras
from blueprint.splat import Splat

log = logging.getLogger(__name__)

EYE_HEIGHT_M = 1.5
CLEAR_OF_OBJECT = 0.25  # clearance of an object, as a share of its size
PLACING_KEYS = ("target_m", "height_m", "look_down_deg", "heading_deg", "radius_m")
ATTEMPTS = 12


def place(splat: Splat, spec: dict[str, Any]) -> Cameras:
    """Place the camera path that a clip's specification asks for.

    Args:
        splat: the scene.
        spec: a clip of the configuration with ``index``, ``up_axis``, ``floor_height_m`` and, if it is not 1,
            ``metres_per_unit``; ``photos``, if the facility has any, is the dataset near whose cameras paths go.

    Raises:
        UserError: the path cannot be placed; the message says why and what to change.
    """
    path, unit_m = camera_path(spec["path"]), spec.get("metres_per_unit", 1.0)
    request = Request.from_spec(spec, path.keys)
    level = level_from_world(request.up_axis, request.floor_height_m)
    space = survey_space(splat, level)
    clearance_m = path.clearance_m if request.keys.clearance_m is None else request.keys.clearance_m
    photos = _photos(path, request, spec)
    sight = sight_of(photos, level, unit_m) if photos else None
    if sight is not None and request.keys.fov_deg is None:
        # What lies beside the photos' own field of view, no photo may have seen.
        fov_deg = min(FOV_DEG, float(np.degrees(sight.fov_x_rad(request.width / request.height))))
        request = replace(request, keys=request.keys.model_copy(update={"fov_deg": fov_deg}))
    if path.given is not None:
        given = path.given(request)
        if not given.metric:
            given.viewmats[:, :3, 3] *= unit_m
        viewmats, Ks, lenses = given.viewmats, given.Ks, given.lenses
        facts = _check_given(given, space, level, clearance_m)
    else:
        known = None if sight or not photos else partial(photographed, photos, level=level, metres_per_unit=unit_m)
        placed = _place_with_offsets(path, request, space, level, clearance_m, sight, known)
        viewmats = opencv_viewmats(placed.eyes, placed.forwards) @ level
        Ks = np.tile(
            intrinsics(request.width, request.height, fov_x_deg=np.degrees(request.fov_x_rad)), (request.frames, 1, 1)
        )
        facts, lenses = _facts(placed, space, level), ()
    log.info("%s: %s", request.path, ", ".join(f"{key} {value}" for key, value in facts.items()))
    return Cameras(
        viewmats,
        Ks,
        width=request.width,
        height=request.height,
        fps=request.fps,
        up_axis=request.up_axis,
        floor_height_m=request.floor_height_m,
        path=request.path,
        spec=spec,
        placement=facts,
        lenses=lenses,
        metres_per_unit=unit_m,
    )


def _place_with_offsets(
    path: CameraPath,
    request: Request,
    space: Space,
    level: np.ndarray,
    clearance_m: float,
    sight: Sight | None,
    known: Callable[[Room], Photographed] | None,
) -> Placed:
    """Try offsets until one can be placed; the first clip has none to try."""
    reasons = []
    for attempt in range(1 if request.index == 0 else ATTEMPTS):
        try:
            offset = Offset.draw(request, attempt)
            if sight is not None and path.around_sight is not None:
                placed = path.around_sight(sight, request, offset)
                if (space.clearance_m(placed.eyes) >= clearance_m).all():
                    return placed
            return _place(path, request, space, level, clearance_m, offset, known)
        except UserError as error:
            reasons.append(str(error))
    raise UserError(f"path {request.path}: {reasons[-1]}")


def _photos(path: CameraPath, request: Request, spec: dict[str, Any]) -> list[Photo]:
    """The facility's photos, if there are any and the clip leaves it to the workflow where to look from."""
    keys = request.keys
    if "photos" not in spec or path.around_sight is None or keys.side != "auto":
        return []
    if any(getattr(keys, name, None) is not None for name in PLACING_KEYS):
        return []
    return read_photos(Path(spec["photos"]))


def _place(
    path: CameraPath,
    request: Request,
    space: Space,
    level: np.ndarray,
    clearance_m: float,
    offset: Offset,
    known: Callable[[Room], Photographed] | None,
) -> Placed:
    keys = request.keys
    target = None if keys.target_m is None else moved(np.array(keys.target_m, dtype=float), level)
    height_m = (EYE_HEIGHT_M if keys.height_m is None else keys.height_m) + offset.height_m
    room = None if keys.side == "outside" else find_room(space, height_m, clearance_m, target)
    if room is not None:
        room = room if known is None else replace(room, photographed=known(room))
        return path.in_room(room, request, target, offset)
    if keys.side == "inside":
        raise UserError(
            f"no room is found {height_m:.2f} m above the floor: no part of the floor plan has walls around it and "
            f"{clearance_m:.2f} m of free space. Change height_m or clearance_m, correct up_axis and "
            "floor_height_m, or set side to outside."
        )
    scanned = find_object(space, clearance_m)
    if keys.clearance_m is None:  # a small object is looked at from near
        size_m = float((space.high - space.low).max())
        scanned = replace(scanned, clearance_m=min(clearance_m, CLEAR_OF_OBJECT * size_m))
    return replace(path.around_object(scanned, request, target, offset), side="outside")


def _check_given(given: Given, space: Space, level: np.ndarray, clearance_m: float) -> dict[str, Any]:
    """What is known of given poses, once they are found to be clear of solid matter."""
    eyes = moved(eyes_of(given.viewmats), level)
    # What lies between two frames counts as well, or a fast camera could jump through a wall.
    steps = 1 + int(np.linalg.norm(np.diff(eyes, axis=0), axis=1).max(initial=0) / space.voxel_m)
    frame = np.linspace(0, len(eyes) - 1, (len(eyes) - 1) * steps + 1)
    between = np.stack([np.interp(frame, np.arange(len(eyes)), eyes[:, axis]) for axis in range(3)], axis=1)
    clear_m = space.clearance_m(between)
    blocked = np.unique(frame[clear_m < clearance_m].astype(int))
    if len(blocked):
        raise UserError(
            f"{given.source}: {len(blocked)} of {len(eyes)} frames are less than clearance_m {clearance_m:.2f} m from "
            f"solid matter or cross it before the next, the first is frame {blocked[0]}. Is the path in the "
            "coordinates of the splat (dataparser_transforms)? Change the path, or set clearance_m to 0."
        )
    return {"file": given.source, "least_clearance_m": round(float(clear_m.min()), 3)}


def _facts(placed: Placed, space: Space, level: np.ndarray) -> dict[str, Any]:
    """How a path was placed, for people: points in the world frame, rounded."""
    facts: dict[str, Any] = {"side": placed.side}
    for key, value in placed.facts.items():
        if np.ndim(value):
            facts[f"{key}_m"] = [round(float(x), 3) for x in moved_back(value, level)]
        else:
            facts[key] = round(float(value) % 360 if key == "heading_deg" else float(value), 3)
    facts["height_m"] = round(float(placed.eyes[:, 2].mean()), 3)
    facts["least_clearance_m"] = round(float(space.clearance_m(placed.eyes).min()), 3)
    return facts
