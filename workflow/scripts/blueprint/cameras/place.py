"""From a clip of the configuration to its cameras in a scene."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.axes import eyes_of, intrinsics, level_from_world, opencv_viewmats
from blueprint.cameras.file import Cameras
from blueprint.cameras.manipulation import manipulate_in_room, manipulate_thing
from blueprint.cameras.nerfstudio import read_camera_path
from blueprint.cameras.orbit import orbit_room, orbit_thing
from blueprint.cameras.request import Offset, Placed, Request
from blueprint.cameras.space import Space, survey_space
from blueprint.cameras.surroundings import find_room, find_thing
from blueprint.cameras.sweep import sweep_room, sweep_thing
from blueprint.errors import UserError
from blueprint.splat import Splat

log = logging.getLogger(__name__)

EYE_HEIGHT_M = 1.5
CLEARANCE_M = {"orbit": 0.25, "sweep": 0.25, "manipulation": 0.15, "file": 0.05}
ATTEMPTS = 12
IN_ROOM = {"orbit": orbit_room, "sweep": sweep_room}
AROUND_THING = {"orbit": orbit_thing, "sweep": sweep_thing, "manipulation": manipulate_thing}


def place(splat: Splat, spec: dict[str, Any]) -> Cameras:
    """Place the camera path that a clip's specification asks for.

    Args:
        splat: the scene.
        spec: a clip of the configuration with ``index``, ``up_axis`` and ``floor_height_m``.

    Raises:
        UserError: the path cannot be placed; the message says why and what to change.
    """
    request = Request.from_spec(spec)
    level = level_from_world(request.up_axis, request.floor_height_m)
    space = survey_space(splat, level)
    clearance_m = CLEARANCE_M[request.path] if request.clearance_m is None else request.clearance_m
    if request.path == "file":
        viewmats, Ks, facts = _from_file(request, space, level, clearance_m)
    else:
        placed = _place_with_offsets(request, space, level, clearance_m)
        viewmats = opencv_viewmats(placed.eyes, placed.forwards) @ level
        Ks = np.tile(
            intrinsics(request.width, request.height, fov_x_deg=np.degrees(request.fov_x_rad)), (request.frames, 1, 1)
        )
        facts = _facts(placed, space, level)
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
    )


def _place_with_offsets(request: Request, space: Space, level: np.ndarray, clearance_m: float) -> Placed:
    """Try offsets until one can be placed; the first clip has none to try."""
    reasons = []
    for attempt in range(1 if request.index == 0 else ATTEMPTS):
        try:
            return _place(request, space, level, clearance_m, Offset.draw(request, attempt))
        except UserError as error:
            reasons.append(str(error))
    raise UserError(f"path {request.path}: {reasons[-1]}")


def _place(request: Request, space: Space, level: np.ndarray, clearance_m: float, offset: Offset) -> Placed:
    target = None if request.target_m is None else level[:3, :3] @ request.target_m + level[:3, 3]
    height_m = (EYE_HEIGHT_M if request.height_m is None else request.height_m) + offset.height_m
    room = None
    if request.side != "outside":
        room = find_room(space, height_m, clearance_m, target)
        if room is None and request.side == "inside":
            raise UserError(
                f"no room is found {height_m:.2f} m above the floor: no part of the floor plan has walls around it and "
                f"{clearance_m:.2f} m of free space. Change height_m or clearance_m, correct up_axis and "
                "floor_height_m, or set side to outside."
            )
    if room is None:
        return AROUND_THING[request.path](find_thing(space, clearance_m), request, target, offset)
    if request.path == "manipulation":
        return manipulate_in_room(space, clearance_m, request, target, offset)
    return IN_ROOM[request.path](room, request, target, offset)


def _from_file(
    request: Request, space: Space, level: np.ndarray, clearance_m: float
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    transforms = None if request.dataparser_transforms is None else Path(request.dataparser_transforms)
    found = read_camera_path(
        Path(request.file), request.frames, request.width, request.height, request.fov_deg, transforms
    )
    eyes = eyes_of(found.viewmats) @ level[:3, :3].T + level[:3, 3]
    # What lies between two frames counts as well, or a fast camera could jump through a wall.
    steps = 1 + int(np.linalg.norm(np.diff(eyes, axis=0), axis=1).max(initial=0) / space.voxel_m)
    frame = np.linspace(0, len(eyes) - 1, (len(eyes) - 1) * steps + 1)
    way = np.stack([np.interp(frame, np.arange(len(eyes)), eyes[:, axis]) for axis in range(3)], axis=1)
    clear_m = space.clearance_m(way)
    blocked = np.unique(frame[clear_m < clearance_m].astype(int))
    if len(blocked):
        raise UserError(
            f"{request.file}: {len(blocked)} of {len(eyes)} frames are less than clearance_m {clearance_m:.2f} m from "
            f"solid matter or cross it before the next, the first is frame {blocked[0]}. Is the path in the "
            "coordinates of the splat (dataparser_transforms)? Change the path, or set clearance_m to 0."
        )
    facts = {"file": request.file, "least_clearance_m": round(float(clear_m.min()), 3)}
    return found.viewmats, found.Ks, facts


def _facts(placed: Placed, space: Space, level: np.ndarray) -> dict[str, Any]:
    """How a path was placed, for people: points in the world frame, rounded."""
    facts: dict[str, Any] = {}
    for key, value in placed.facts.items():
        if np.ndim(value):
            facts[f"{key}_m"] = [round(float(x), 3) for x in level[:3, :3].T @ (value - level[:3, 3])]
        else:
            facts[key] = round(float(value) % 360 if key == "heading_deg" else float(value), 3)
    facts["height_m"] = round(float(placed.eyes[:, 2].mean()), 3)
    facts["least_clearance_m"] = round(float(space.clearance_m(placed.eyes).min()), 3)
    return facts
