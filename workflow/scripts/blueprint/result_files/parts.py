"""What the models of the result files are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Index = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Vector = Annotated[list[float], Field(min_length=3, max_length=3)]
FirstAndLast = Annotated[list[Index], Field(min_length=2, max_length=2)]
Row3 = Annotated[list[float], Field(min_length=3, max_length=3)]
Row4 = Annotated[list[float], Field(min_length=4, max_length=4)]
Matrix3 = Annotated[list[Row3], Field(min_length=3, max_length=3)]
Matrix4 = Annotated[list[Row4], Field(min_length=4, max_length=4)]
Box = Annotated[list[float], Field(min_length=4, max_length=4)]


class Part(BaseModel):
    """An object of a result file; it has no other keys."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Limits(Part):
    """The thresholds of one score or figure."""

    warn: float | None = None
    """Beyond it the verdict is ``warn``."""
    fail: float | None = None
    """Beyond it the verdict is ``fail``."""


class Made(Part):
    """Who made a file, with what and how long it took."""

    version: str
    """Of this workflow."""
    commit: str | None
    """Of this workflow, with ``-dirty`` when its files were changed; null outside a git checkout."""
    environment: dict[str, Sha256] | None
    """SHA-256 of each file that locks the environment it was made in; null when it is not known."""
    host: str
    """Name of the machine."""
    finished: str
    """Time of day, UTC, ISO 8601."""
    seconds: float
    """How long it took."""
