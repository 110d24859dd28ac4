"""What a trainer's module is given and what it returns.

Such a module has two functions, and may bring a model of its own (`blueprint.train.tiny`) or drive a program
(`blueprint.train.dreamdojo.run`)::

    post_train(episodes, spec, target, place) -> dict     # writes parameters; says at least ``windows`` and ``steps``
    predict(episodes, spec, parameters, place) -> Iterator[Prediction]  # of every window; no parameters: base model

``spec`` is from `blueprint.plan`. The same episodes have the same windows in every call: a model before and after
training is asked the same questions.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.errors import UserError


@dataclass(frozen=True)
class Place:
    """Where a job works: facts of the machine, which decide no parameter."""

    scratch: Path
    """Folder for what is being made; gone when the job has ended."""
    kept: Path
    """Folder that the sync saves: what lies there is on the next machine when this one is taken away."""
    gpus: int = 0
    threads: int = 1
    machine: Mapping[str, Any] = field(default_factory=dict)
    """The keys of `Trainer.machine`, as configured."""

    @contextmanager
    def emptied(self) -> Iterator[None]:
        """Make the scratch folder, empty, and remove it afterwards."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        try:
            yield
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)


@dataclass(frozen=True)
class Prediction:
    """A held-out window as a model predicts it from its first frame."""

    window: str
    facility: str
    look: str
    psnr: float  # dB
    ssim: float
    pictures: Callable[[], np.ndarray]
    """[F - 1, H, 2 W, 3] uint8 RGB: on the left the clip, on the right the prediction."""


def refuse_none(windows: int, frames: int, spec: Mapping[str, Any], least: int = 1) -> None:
    """Check that there is something to train on.

    Raises:
        UserError: fewer windows than a trainer can take.
    """
    if windows < least:
        raise UserError(
            f"train.facilities: {windows} windows of {frames} frames are left to train on in "
            f"{', '.join(spec['trained_facilities'])}, at least {least} are needed. Render longer or more clips, or "
            "let export.verdicts take more."
        )
