"""A first look at a scan, before anything is configured: pictures with each axis up, guesses, a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from blueprint.axes import direction, intrinsics, level_from_world, moved, opencv_viewmats
from blueprint.cameras.space import survey_space
from blueprint.cameras.surroundings import find_room
from blueprint.render import choose_backend
from blueprint.splat import Splat
from blueprint.splat.load import Survey, survey
from blueprint.splat.standing import AXES, COARSEST_M, FINEST_M, Up, grain_m, guess_up

TILE_PX = (400, 300)
FIELD_OF_VIEW_DEG = 50.0
HEADING_RAD, LOOK_DOWN_RAD = np.radians(215.0), np.radians(25.0)
QUARTER_RAD = np.radians(90.0)
STEEPEST_RAD = np.radians(89.0)
OUTSIDE = 1.6
"""Distance of a camera from the middle, in diagonals of the scene."""
CUT_AWAY = 0.12
"""What lies nearer than the middle by so many diagonals is left out of the picture of a room."""
BOUNDS_PERCENTILES = (1, 99)
FLOOR_SLABS = 60
FLOOR_WITHIN = 0.35  # the floor is the fullest layer of the lowest part, as a share of the height
EYE_HEIGHT = 0.5  # where a room is looked for, as a share of the height


@dataclass(frozen=True)
class Look:
    """What was found in a scan, and what was guessed."""

    scene: Path
    survey: Survey
    up: Up
    floor: float
    """Height of the floor along the up axis, in units of the scene."""
    size: np.ndarray
    """Extent [3] in units of the scene: two horizontal ones, then the height."""
    is_room: bool
    grain: float
    """Median size of a Gaussian in units of the scene."""

    @property
    def units_m(self) -> tuple[float, float] | None:
        """Between which bounds the length of a unit lies, in metres; None where metres are likely."""
        if FINEST_M <= self.grain <= COARSEST_M or not self.grain:
            return None
        return FINEST_M / self.grain, COARSEST_M / self.grain


def look(scene: Path) -> tuple[Look, Splat]:
    """Look at a scan; returns what was found and guessed, and the scan.

    Raises:
        UserError: it cannot be read.
    """
    splat, found = survey(scene)
    return guess(scene, splat, found), splat


def guess(scene: Path, splat: Splat, found: Survey) -> Look:
    """How a scan stands, and what kind it is."""
    up = guess_up(splat)
    level = level_from_world(up.axis, 0.0)
    points = moved(splat.means, level)
    low, high = np.percentile(points, BOUNDS_PERCENTILES, axis=0)
    size = high - low
    space = survey_space(splat, level)
    room = find_room(space, float(low[2] + EYE_HEIGHT * size[2]), 0.02 * float(size.max()))
    floor = float(low[2])  # an object stands on what is lowest
    if room is not None:
        floor = floor_of(points[:, 2], splat.opacities, low[2], high[2])
    return Look(scene, found, up, floor, size, room is not None, grain_m(splat))


def floor_of(heights: np.ndarray, opacities: np.ndarray, low: float, high: float) -> float:
    """The middle of the fullest layer in the lowest part of a scene, along the up axis.

    Args:
        heights: of the Gaussians [N].
        opacities: [N].
        low, high: robust bounds of the heights.
    """
    counts, edges = np.histogram(heights, FLOOR_SLABS, (low, high), weights=opacities)
    lowest = counts[: max(1, int(FLOOR_WITHIN * FLOOR_SLABS))]
    return float(edges[lowest.argmax() : lowest.argmax() + 2].mean())


def sheet(splat: Splat, found: Look) -> np.ndarray:
    """Seven labelled pictures [2 * 300, 4 * 400, 3]: one for each axis taken as up, and one from above."""
    views = [View(axis, f"{axis} up" + (" (guessed)" if axis == found.up.axis else "")) for axis in AXES]
    views.append(View(found.up.axis, f"from above, {found.up.axis} up", look_down_rad=STEEPEST_RAD))
    return _pictured(splat, views, found.is_room, columns=4)


def overview(splat: Splat, up_axis: str, is_room: bool) -> np.ndarray:
    """Five labelled pictures [2 * 300, 3 * 400, 3] of a scene with a known up axis: from four sides, and from above."""
    views = [View(up_axis, f"side {turn + 1}", HEADING_RAD + turn * QUARTER_RAD) for turn in range(4)]
    views.append(View(up_axis, "from above", look_down_rad=STEEPEST_RAD))
    return _pictured(splat, views, is_room, columns=3)


@dataclass(frozen=True)
class View:
    """A camera outside of a scene that looks at its middle."""

    up_axis: str
    label: str
    heading_rad: float = HEADING_RAD
    look_down_rad: float = LOOK_DOWN_RAD


def _pictured(splat: Splat, views: Sequence[View], is_room: bool, columns: int) -> np.ndarray:
    """The views as labelled pictures in rows; of a room, what is nearer than its middle is cut away."""
    centre, diagonal = _middle(splat)
    renderer_of = choose_backend("auto")
    near = diagonal * (OUTSIDE - CUT_AWAY if is_room else 0.05)
    renderer = renderer_of(
        splat,
        *TILE_PX,
        sh_degree=3,
        background=(0.2, 0.2, 0.2),
        near_m=near,
        far_m=10 * diagonal,
        antialiased=bool(splat.antialiased),
        threads=2,
    )
    viewmats = np.stack([_viewmat(view, centre, diagonal) for view in views])
    Ks = np.tile(intrinsics(*TILE_PX, fov_x_deg=FIELD_OF_VIEW_DEG), (len(views), 1, 1))
    pictures = [as_bytes(frame.rgb) for frame in renderer.frames(viewmats, Ks)]
    tiles = [_labelled(picture, view.label) for picture, view in zip(pictures, views, strict=True)]
    tiles += [np.full_like(tiles[0], 51)] * (-len(tiles) % columns)
    return np.concatenate([np.concatenate(tiles[row : row + columns], axis=1) for row in range(0, len(tiles), columns)])


def _middle(splat: Splat) -> tuple[np.ndarray, float]:
    low, high = np.percentile(splat.means, BOUNDS_PERCENTILES, axis=0)
    return (low + high) / 2, float(np.linalg.norm(high - low))


def _viewmat(view: View, centre: np.ndarray, diagonal: float) -> np.ndarray:
    """World-to-camera matrix [4, 4] (OpenCV) of a view."""
    level = level_from_world(view.up_axis, 0.0)
    forward = direction(np.array([view.heading_rad]), np.array([view.look_down_rad]))
    eye = moved(centre[None].astype(float), level) - OUTSIDE * diagonal * forward
    return opencv_viewmats(eye, forward)[0] @ level


def as_bytes(rgb: np.ndarray) -> np.ndarray:
    """A picture in 0-1 as uint8."""
    return (np.clip(np.asarray(rgb), 0, 1) * 255 + 0.5).astype(np.uint8)


def _labelled(picture: np.ndarray, text: str) -> np.ndarray:
    picture = np.ascontiguousarray(picture)
    cv2.putText(picture, text, (8, TILE_PX[1] - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


def describe(found: Look) -> str:
    """What was found and guessed, for a terminal."""
    scan = found.survey
    units = found.units_m
    return "\n".join(
        [
            f"{found.scene}: {scan.format}, SH degree {scan.sh_degree}; {scan.usable:,} usable Gaussians of "
            f"{scan.gaussians:,}",
            f"up axis: {found.up.axis} ({found.up.sure}: {found.up.why})",
            f"size: {found.size[0]:.2f} x {found.size[1]:.2f} units, {found.size[2]:.2f} high",
            f"floor: {round(found.floor, 2) + 0.0:.2f} units along {found.up.axis}",
            f"kind: {'a room, with walls around' if found.is_room else 'an object, or a place without walls'}",
            "units: may be metres, by the size of the Gaussians; check a length that you know"
            if units is None
            else f"units: not metres; one is likely {units[0]:.2g} to {units[1]:.2g} m long, to be measured",
        ]
    )


def starter(found: Look) -> str:
    """A configuration to begin with, as YAML with comments."""
    name = "".join(letter if letter.isalnum() else "_" for letter in found.scene.name.split(".")[0]).strip("_")
    units = found.units_m
    scale = 1.0 if units is None else float(f"{np.sqrt(units[0] * units[1]):.2g}")
    said = (
        "may be right, by the size of the Gaussians; check a length that you know"
        if units is None
        else f"GUESSED, from {units[0]:.2g} to {units[1]:.2g}: measure something and correct it"
    )
    seen = "a room: walls were found around" if found.is_room else "no walls were found: circled as an object"
    paths = "orbit, sweep, manipulation" if found.is_room else "orbit"
    clips = "\n".join(f"  - {{name: {path}, path: {path}}}" for path in paths.split(", "))
    return f"""\
# Written by `blueprint look` from {found.scene.name}. Look at the pictures and correct what is wrong, then:
#   .venv/bin/blueprint plan THIS_FILE
#   .venv/bin/blueprint run THIS_FILE
facilities:
  - name: {name or "scan"}
    scene: {found.scene.as_posix()!r}
    description: ""  # what the place is, for prompts: a restaurant kitchen with steel worktops
    up_axis: {found.up.axis}  # {found.up.sure}: {found.up.why.replace(chr(10), " ")}
    floor_height_m: {round(found.floor * scale, 2) + 0.0:.2f}  # along up_axis
    metres_per_unit: {scale:g}  # {said}

clips:  # {seen}
{clips}

render: {{width: 640, height: 480, fps: 12, frames: 24}}  # for a first run; 1280 x 720 and 93 frames for Cosmos

enrich:
  engine: photometric  # needs no GPU; cosmos-transfer2.5 and diffusers do (docs/enrichment.md)
  variants:
    - {{name: evening, preset: warm_evening}}
    - {{name: neon, preset: cold_fluorescent}}
"""
