"""What the job of an engine is given: a rendered clip, complete variants, settings.

The module of an engine, which only the job imports, has two functions::

    identity(options: Options) -> dict[str, Any]
    make_variants(clip: Clip, variants: Sequence[Variant], options: Options, finish: Finish) -> None

The first says which program or weights it would use, as far as that decides the pixels. The second makes every variant
given (a model loads once) and hands each over with ``finish`` the moment it is complete, so that an interruption costs
no more than the variant being made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blueprint.video import VideoInfo


@dataclass(frozen=True)
class Clip:
    """A rendered clip as the engines read it."""

    rgb: Path
    depth: Path  # grey video, relative inverse depth
    depth_m: Path  # npz, metres
    cameras: Path
    info: VideoInfo


@dataclass(frozen=True)
class Variant:
    """One appearance, complete: nothing is filled in later."""

    name: str
    seed: int
    preset: str | None = None
    prompt: str | None = None
    negative_prompt: str | None = None
    controls: dict[str, dict[str, Any]] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)  # what one engine alone takes


@dataclass(frozen=True)
class Options:
    """What an engine needs besides the clip: settings that decide the pixels, and facts of this machine."""

    settings: dict[str, Any]
    scratch: Path  # an empty folder, absolute
    gpus: int = 0
    machine: dict[str, Any] = field(default_factory=dict)  # `Engine.machine`
    cache: Path = Path("resources/embeddings")


Finish = Callable[[Variant, Path, dict[str, Any]], None]
"""Takes a variant, its finished video (which is moved away) and its provenance; ``provenance["run"]`` may hold what
differs between two identical runs (seconds, GPU name, peak VRAM)."""
