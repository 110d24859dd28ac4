"""What a configuration asks of a camera path, and what a placed path is."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

from blueprint.axes import direction

STEEPEST_RAD = np.radians(85)


@dataclass(frozen=True)
class Request:
    """A clip of the configuration (config/README.md documents the keys); ``None`` leaves the choice to the scene."""

    path: Literal["orbit", "sweep", "manipulation", "file"]
    frames: int
    width: int
    height: int
    fps: int
    up_axis: str
    floor_height_m: float
    fov_deg: float | None = None
    side: Literal["auto", "inside", "outside"] = "auto"
    height_m: float | None = None
    look_down_deg: float | None = None
    target_m: tuple[float, float, float] | None = None
    heading_deg: float | None = None
    radius_m: float | None = None
    arc_deg: float | None = None
    length_m: float | None = None
    clearance_m: float | None = None
    file: str | None = None
    dataparser_transforms: str | None = None
    seed: int = 0
    index: int = 0

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> Request:
        """Take a clip's specification as the workflow hands it over."""
        return cls(**{key.name: spec[key.name] for key in fields(cls) if key.name in spec})

    @property
    def fov_x_rad(self) -> float:
        """Horizontal field of view."""
        return np.radians(75.0 if self.fov_deg is None else self.fov_deg)

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
        random = np.random.default_rng([request.seed, request.index, attempt])
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


def gaze(
    eyes: np.ndarray, towards: np.ndarray, request: Request, offset: Offset, default_deg: float | None
) -> np.ndarray:
    """Unit view directions [F, 3] from eyes [F, 3] that face a point or points ``towards`` ([3] or [F, 3]).

    The tilt is ``look_down_deg`` if that is given, else ``default_deg``, and with neither the view meets the point.
    """
    apart = towards - eyes
    look_down_deg = default_deg if request.look_down_deg is None else request.look_down_deg
    if look_down_deg is None:
        down = np.arctan2(-apart[:, 2], np.linalg.norm(apart[:, :2], axis=1))
    else:
        down = np.full(len(eyes), np.radians(look_down_deg))
    down = np.clip(down + offset.look_down_rad, -STEEPEST_RAD, STEEPEST_RAD)
    return direction(np.arctan2(apart[:, 1], apart[:, 0]), down)
