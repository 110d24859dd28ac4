"""The world models that can be post-trained: one registration each, as for the engines of enrichment.

`blueprint.train.interface` says what the module of one has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blueprint.engines.base import Repository
from blueprint.section import Section
from blueprint.train.keys import DreamDojoKeys, TinyKeys

PRETRAINED = "2B_pretrain/iter_000140000"
"""Where nvidia/DreamDojo has the model that is post-trained."""
DREAMDOJO_FILES = ("LAM_400k.ckpt", f"{PRETRAINED}/model/*", f"{PRETRAINED}/model_ema_bf16.pt")
PREDICT = "nvidia/Cosmos-Predict2.5-2B"
BASE_2B = "d20b7120-df3e-4911-919d-db6e08bad31c_ema_bf16.pt"
BASE_14B = "54937b8c-29de-4f04-862c-e67b04ec41e8_ema_bf16.pt"


@dataclass(frozen=True)
class Trainer:
    """What planning, audit and host checks ask; light, without torch."""

    name: str
    title: str
    environment: str
    module: str
    keys: type[Section]
    summary: str
    question: str
    """What a model is asked and how the answer is measured, in sentences for the page."""
    gpus: int = 0
    """GPUs of one training, unless its keys have ``gpus``."""
    vram_gb: float = 0.0
    """Memory that one card needs; 0: no card."""
    ram_gb: float = 2.0
    weights_gb: float = 0.0
    """What it downloads at most, in GB (10^9 bytes)."""
    repositories: tuple[Repository, ...] = ()
    hours: float | None = None
    """Estimated hours of one training at the default steps; None: nobody has published or measured any."""
    source: str = ""
    """Where the estimates come from."""
    machine: tuple[str, ...] = ()
    """Keys that are facts of the machine and decide no parameter."""
    root: str = ""
    """The key that names an installation beside the environment, if there is one."""

    def settings(self, train: Mapping[str, Any]) -> dict[str, Any]:
        """The keys that decide the parameters."""
        return {name: train[name] for name in self.keys.model_fields if name in train and name not in self.machine}

    def facts_of_machine(self, train: Mapping[str, Any]) -> dict[str, Any]:
        """The others."""
        return {name: train[name] for name in self.machine}

    def gpus_of(self, train: Mapping[str, Any]) -> int:
        """GPUs that one training holds."""
        return train.get("gpus", self.gpus)


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
            "The first is given, the model predicts the others from the camera's motion.",
            hours=0.02,
            source="measured on two CPU cores",
        ),
        Trainer(
            "dreamdojo",
            "NVIDIA's DreamDojo, 2B",
            "dreamdojo",
            "blueprint.train.dreamdojo.run",
            DreamDojoKeys,
            "NVIDIA's DreamDojo (2B), post-trained by its own program on NVIDIA GPUs; never run on one yet",
            "The first is given, the model predicts the others from latent actions that DreamDojo's encoder reads off "
            "the clip itself. PSNR and SSIM are DreamDojo's own and count the given frame too.",
            vram_gb=80.0,
            ram_gb=64.0,
            weights_gb=70.0,
            repositories=(
                Repository("nvidia/DreamDojo", "main", files=DREAMDOJO_FILES),
                # Its configuration resolves both bases when it is imported, whichever is trained.
                Repository(PREDICT, "15a82a2ec231bc318692aa0456a36537c806e7d4", True, (f"base/pre-trained/{BASE_2B}",)),
                Repository(
                    "nvidia/Cosmos-Predict2.5-14B",
                    "03eb354f35eae0d6e0c1be3c9f94d8551e125570",
                    True,
                    (f"base/pre-trained/{BASE_14B}",),
                ),
                Repository(PREDICT, "6787e176dce74a101d922174a95dba29fa5f0c55", True, ("tokenizer.pth",)),
                Repository("nvidia/Cosmos-Reason1-7B", "3210bec0495fdc7a8d3dbb8d58da5711eab4b423", True),
            ),
            source="nothing is published; 80 GB is the card of its authors (H100), the rest is guessed",
            machine=("checkpoint_steps", "dreamdojo_root", "weights"),
            root="dreamdojo_root",
        ),
    )
}


def trainer(config: Mapping[str, Any]) -> Trainer | None:
    """The trainer of a completed configuration, if it has one."""
    return TRAINERS[config["train"]["engine"]] if "train" in config else None
