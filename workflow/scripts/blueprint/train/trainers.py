"""The world models that can be post-trained: one registration each, as for the engines of enrichment.

A trainer's module has two functions::

    train(train_set, start, target, settings) -> dict       # writes parameters, says what it did
    rollout(parameters, window) -> [F - 1, H, W, 3] uint8   # predicts a window from its first frame and the motions
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blueprint.section import Section
from blueprint.train.keys import TinyKeys

TRAINING_SETS = {
    "render": "renders alone",
    "variants": "renders and variants",
}
"""What a model is post-trained on: the worth of enrichment is the difference."""


@dataclass(frozen=True)
class Trainer:
    """What planning, audit and host checks ask; light, without torch."""

    name: str
    title: str
    environment: str
    module: str
    keys: type[Section]
    summary: str
    gpus: int = 0
    vram_gb: float = 0.0
    """Memory that one card needs; 0: no card."""
    hours: float = 0.02
    """Estimated hours of one training at the default steps."""
    source: str = ""
    """Where the estimates come from."""

    def settings(self, train: Mapping[str, Any]) -> dict[str, Any]:
        """The keys that decide the parameters."""
        return {name: train[name] for name in self.keys.model_fields if name in train}


TRAINERS = {
    trainer.name: trainer
    for trainer in (
        Trainer(
            "tiny",
            "a world model of 3,277 parameters",
            "metrics",
            "blueprint.train.tiny",
            TinyKeys,
            "a convolutional net of 3,277 parameters, trained on a CPU in a minute; it shows the loop",
            source="measured on two CPU cores",
        ),
    )
}
