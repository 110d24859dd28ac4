"""The files of a clip: its cameras, and the scores of its variants."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from blueprint.lens import MODELS
from blueprint.result_files.parts import Box, Count, FirstAndLast, Index, Made, Matrix3, Matrix4, Part, Sha256


class FrameLens(Part):
    """A lens, by one of OpenCV's two models."""

    model: Literal[*MODELS]  # type: ignore[valid-type]
    """OpenCV's model."""
    coefficients: list[float]
    """In OpenCV's order."""


class Frame(Part):
    """The camera of one frame."""

    viewmat: Matrix4
    """World to camera, metres; x right, y down, z forward."""
    K: Matrix3
    """Intrinsics in pixels; pixel (row, column) has its centre at (column + 0.5, row + 0.5)."""
    lens: FrameLens | None = None
    """Absent for a pinhole."""


class CamerasFile(Part):
    """``results/<facility>/clips/<clip>/cameras.json``: the poses and intrinsics of every frame of a clip."""

    convention: Literal["opencv"]
    """x right, y down, z forward."""
    width: int
    """Of a frame, pixels."""
    height: int
    """Of a frame, pixels."""
    fps: int
    """Frames per second."""
    up_axis: str
    """The scene's axis that points up."""
    floor_height_m: float
    """Of the floor along that axis, metres."""
    metres_per_unit: float
    """Of the scene's file, which the cameras are for."""
    path: str
    """The kind of camera path."""
    spec: dict[str, Any]
    """The configuration that the path was made from; its keys are those of the path."""
    placement: dict[str, Any]
    """How the path was placed in the scene; its keys are those of the path."""
    frames: list[Frame]
    """One camera for each frame."""


class Scored(Made):
    """Who computed scores."""

    names: list[str]
    """Of these scores."""
    gpus: list[str]
    """Names of the GPUs."""
    device: Literal["cpu", "cuda"]
    """Where it was computed."""


class ScoredBy(Part):
    """Who computed the scores."""

    made: list[Scored]
    """One entry for each job that computed some of them."""


class Told(BaseModel):
    """What a score tells beside its values; a score may have more to tell, under keys of its own."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    worst_frame: Index | None = None
    """Index of the frame to look at."""
    window: FirstAndLast | None = None
    """First and last frame in which the score is worst."""
    where: Box | None = None
    """Left, top, right and bottom of the place where it is worst, as shares of the frame."""
    says: str | None = None
    """What a person is told when the score is beyond its threshold."""


class ScoredFiles(Part):
    """SHA-256 of the files that were scored."""

    rgb: Sha256
    """The render."""
    depth_m: Sha256
    """Its depth."""
    cameras: Sha256
    """Its cameras."""
    variant: Sha256
    """The variant."""


class ScoresFile(Part):
    """``results/<facility>/metrics/<clip>/<variant>.json``: the scores of a variant."""

    names: list[str]
    """Of the scores, in the order of the configuration."""
    frames: dict[str, list[float | None]]
    """Per score a value for each frame, null where it is undefined; empty for a score of whole clips."""
    mean: dict[str, float | None]
    """Per score the value of the clip; null where it is undefined."""
    details: dict[str, Told]
    """What scores tell beside their values; a score that tells nothing is absent."""
    frame_count: Count
    """Frames of the clip."""
    width: int
    """Of a frame, pixels."""
    height: int
    """Of a frame, pixels."""
    fps: float
    """Frames per second."""
    inputs: ScoredFiles
    """What was scored."""
    run: ScoredBy
    """Who computed the scores."""
