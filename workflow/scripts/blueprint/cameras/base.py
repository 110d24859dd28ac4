"""What a kind of camera path is, what a clip asks of it, and what a placed path is.

Light to import, as are the modules of the paths: a plan needs their keys, and only a job needs the scene.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from blueprint.axes import direction
from blueprint.lens import Lens
from blueprint.section import Section, key

if TYPE_CHECKING:
    from blueprint.cameras.sight import Sight
    from blueprint.cameras.surroundings import Room, ScannedObject

STEEPEST_RAD = np.radians(85)
FOV_DEG = 75.0


class PathKeys(Section):
    """The keys of a clip that every path understands; None leaves the choice to the path."""

    fov_deg: float | None = key(
        "Horizontal field of view in degrees (default 75, or that of the file).", None, ge=5, le=150
    )
    clearance_m: float | None = key(
        "Distance that cameras keep from solid matter in metres (default 0.25; 0.15 for `manipulation`, 0.05 for "
        "`file`).",
        None,
        ge=0,
    )


class PlacedKeys(PathKeys):
    """The keys of a clip whose path is placed in the free space of the scene."""

    count: int = key(
        "Clips made of this path. The first is as configured, the others have distinct seeded offsets.", 1, ge=1, le=100
    )
    seed: int = key("Seed of the offsets of the second and later clips.", 0, ge=0)
    side: Literal["auto", "inside", "outside"] = key(
        "Whether the camera is inside the scene (a room) or outside it (an object); `auto` looks for walls.", "auto"
    )
    target_m: list[float] | None = key(
        "Point to look at, along the scene's own axes in metres (as a splat editor shows it, times `metres_per_unit`): "
        "the centre of an orbit, the work place of a manipulation arc, what a sweep keeps in view.",
        None,
        min_length=3,
        max_length=3,
    )
    height_m: float | None = key(
        "Camera height above the floor in metres (default 1.5 in a room, 0.45 above the work surface for "
        "`manipulation`, and from outside the height that shows the whole object).",
        None,
        ge=0,
    )
    look_down_deg: float | None = key(
        "Downward tilt of the view in degrees (default 10 in a room, or towards `target_m` or the object).",
        None,
        ge=-85,
        le=85,
    )
    heading_deg: float | None = key(
        "Direction in the floor plane, counter-clockwise seen from above: of travel (`sweep`), from the centre to the "
        "first camera (`orbit`) or to the middle camera (`manipulation`). 0 is along the axis after the up axis in the "
        "cycle x, y, z (x when z is up). Default the direction that shows most.",
        None,
        ge=-360,
        le=360,
    )


@dataclass(frozen=True)
class CameraPath:
    """One kind of camera path: all that the rest of the project knows of it."""

    name: str
    """What a clip's key `path` says."""
    description: str
    """What the path is, as a clause that follows its name."""
    keys: type[PathKeys]
    """The keys of a clip that this path understands."""
    clearance_m: float
    """Distance to keep from solid matter when a clip does not say."""
    in_room: Callable[[Room, Request, np.ndarray | None, Offset], Placed] | None = None
    """Places the path in a room; its third argument is the point to look at, [3] in the level frame."""
    around_object: Callable[[ScannedObject, Request, np.ndarray | None, Offset], Placed] | None = None
    """Places the path around an object, from outside."""
    around_sight: Callable[[Sight, Request, Offset], Placed] | None = None
    """Places the path where photos of a subject were taken from, when neither room nor place is asked for."""
    given: Callable[[Request], Given] | None = None
    """Instead of both: reads poses that are given, which are then only checked against the scene."""
    files: tuple[str, ...] = ()
    """The keys that name files which the path is read from."""


@dataclass(frozen=True)
class Request:
    """A clip of the configuration as a path is asked for it (config/README.md documents the keys)."""

    path: str
    frames: int
    width: int
    height: int
    fps: int
    up_axis: str
    floor_height_m: float
    keys: Any
    """The path's own keys, an instance of its `CameraPath.keys`."""
    index: int = 0

    @classmethod
    def from_spec(cls, spec: dict[str, Any], keys: type[PathKeys]) -> Request:
        """Take a clip's specification as the workflow hands it over."""
        common = {name: spec[name] for name in (key.name for key in fields(cls)) if name in spec}
        return cls(**common, keys=keys(**{name: spec[name] for name in keys.model_fields if name in spec}))

    @property
    def fov_x_rad(self) -> float:
        """Horizontal field of view."""
        return np.radians(FOV_DEG if self.keys.fov_deg is None else self.keys.fov_deg)

    @property
    def fov_rad(self) -> tuple[float, float]:
        """Horizontal and vertical field of view."""
        return self.fov_x_rad, self.fov_y_rad

    @property
    def fov_y_rad(self) -> float:
        """Vertical field of view, pixels being square."""
        return 2 * np.arctan(np.tan(self.fov_x_rad / 2) * self.height / self.width)


@dataclass(frozen=True)
class Offset:
    """What sets the second and later clips of a path apart from the first, drawn from ``seed`` and ``index``."""

    turn_rad: float = 0.0
    radius_share: float = 1.0
    height_m: float = 0.0
    look_down_rad: float = 0.0
    random: np.random.Generator | None = None

    @classmethod
    def draw(cls, request: Request, attempt: int) -> Offset:
        """The offset of a clip; the first clip (index 0) is the path as configured."""
        if request.index == 0:
            return cls()
        random = np.random.default_rng([request.keys.seed, request.index, attempt])
        golden = (request.index * 0.6180339887) % 1.0  # spreads any number of clips evenly
        return cls(
            turn_rad=2 * np.pi * golden + np.radians(random.uniform(-15, 15)),
            radius_share=random.uniform(0.75, 1.0),
            height_m=random.uniform(-0.15, 0.15),
            look_down_rad=np.radians(random.uniform(-4, 4)),
            random=random,
        )


@dataclass(frozen=True)
class Placed:
    """A path in the level frame."""

    eyes: np.ndarray  # [F, 3] metres
    forwards: np.ndarray  # [F, 3] unit view directions
    facts: dict[str, Any] = field(default_factory=dict)
    side: Literal["inside", "outside"] = "inside"


@dataclass(frozen=True)
class Given:
    """Poses that were not placed but given, in the world frame."""

    viewmats: np.ndarray  # [F, 4, 4] OpenCV, world to camera
    Ks: np.ndarray  # [F, 3, 3] pixels
    source: str
    """Where they are from, for messages."""
    lenses: tuple[Lens | None, ...] = ()
    """The lens of every frame, None for a pinhole; empty when all are pinholes."""
    metric: bool = False
    """Whether they are in metres, whatever the units of the scene's file."""


def view_directions(
    eyes: np.ndarray, towards: np.ndarray, request: Request, offset: Offset, default_deg: float | None
) -> np.ndarray:
    """Unit view directions [F, 3] from eyes [F, 3] that face a point or points ``towards`` ([3] or [F, 3]).

    The tilt is ``look_down_deg`` if that is given, else ``default_deg``, and with neither the view meets the point.
    """
    apart = towards - eyes
    look_down_deg = default_deg if request.keys.look_down_deg is None else request.keys.look_down_deg
    if look_down_deg is None:
        down = np.arctan2(-apart[:, 2], np.linalg.norm(apart[:, :2], axis=1))
    else:
        down = np.full(len(eyes), np.radians(look_down_deg))
    down = np.clip(down + offset.look_down_rad, -STEEPEST_RAD, STEEPEST_RAD)
    return direction(np.arctan2(apart[:, 1], apart[:, 0]), down)
