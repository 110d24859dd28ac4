"""The descriptor of an engine: what planning, audit and host checks ask; light, without torch and codecs.

It decides no pixel: that is for its ``module``, which the job alone imports (see `blueprint.engines.task`), and for
what that module imports in turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blueprint.checks import Check
from blueprint.environments.needs import Needs
from blueprint.section import Section

MEGAPIXEL = 1e6


@dataclass(frozen=True)
class PlannedClip:
    """A clip that is yet to be rendered."""

    name: str
    facility: Mapping[str, Any]  # its completed configuration
    width: int  # pixels
    height: int
    frames: int


@dataclass(frozen=True)
class Repository:
    """A repository on the Hugging Face hub that a configuration needs."""

    id: str
    revision: str  # commit, tag or branch
    gated: bool = False
    files: tuple[str, ...] = ("*",)  # patterns of the files that are needed

    @property
    def licence_url(self) -> str:
        """The page on which its licence stands and access is asked for."""
        return f"https://huggingface.co/{self.id}"


class Engine:
    """A descriptor; the defaults are those of an engine that needs neither GPU nor weights."""

    name: str
    """What `enrich.engine` calls it."""
    summary: str
    """A sentence for people who choose one."""
    environment: str = "render"
    """The file of envs/ that its jobs run in."""
    needs: Needs | None = None
    """What must import in that environment; None where it is the environment of a stage."""
    module: str
    """The module that makes variants, dotted."""
    keys: type[Section] = Section
    """Keys of `enrich` that it understands besides engine, seed and variants."""
    variant_keys: type[Section] = Section
    """Keys of an entry of `enrich.variants` that it understands besides name, seed, preset and preset_set."""
    weights_gb: float = 0.0
    """What it downloads at most, in GB (10^9 bytes)."""
    ram_gb: float = 2.0
    """Memory of the machine that it fills: models are loaded there before they go to the GPU."""

    def settings(self, enrich: Mapping[str, Any]) -> dict[str, Any]:
        """The keys that decide the pixels, with their values."""
        return {}

    def upstream(self, enrich: Mapping[str, Any]) -> str:
        """Folder of the installation beside the environment, where the configuration names one."""
        return ""

    def machine(self, enrich: Mapping[str, Any]) -> dict[str, Any]:
        """Facts of the machine that the job is told and that decide no pixel."""
        return {}

    def complete_variant(
        self, entry: Mapping[str, Any], enrich: Mapping[str, Any], clip: PlannedClip, key: str
    ) -> dict[str, Any]:
        """The fields of a `Variant` besides name and seed.

        Args:
            entry: the variant as configured.
            enrich: the completed part `enrich` of the configuration.
            clip: the clip it is made of.
            key: what messages call the entry.

        Raises:
            UserError: the engine cannot make it, naming it and what to change.
        """
        raise NotImplementedError

    def files(self, variant: Mapping[str, Any]) -> list[str]:
        """Files of the user's own that a completed variant is made from."""
        return []

    def gpus(self, enrich: Mapping[str, Any]) -> int:
        """GPUs that the job of a clip holds."""
        return 0

    def vram_needed_gb(self, enrich: Mapping[str, Any], width: int, height: int) -> float:
        """GB (10^9) of memory that one card needs for clips of a size in pixels; 0: no card."""
        return 0.0

    def repositories(self, enrich: Mapping[str, Any]) -> list[Repository]:
        """The repositories that a run downloads from, every file that it reads, without repetition."""
        return []

    def downloads_gb(self, enrich: Mapping[str, Any]) -> float:
        """GB (10^9) that a configuration downloads at most."""
        return self.weights_gb

    def fills_gb(self, enrich: Mapping[str, Any]) -> float:
        """GB (10^9) of the machine's memory that a configuration fills."""
        return self.ram_gb

    def host_checks(self, enrich: Mapping[str, Any]) -> list[Check]:
        """What must be on the machine besides GPU, memory and disk.

        Raises:
            UserError: it is not.
        """
        return []

    def seconds(self, enrich: Mapping[str, Any], clip: PlannedClip) -> tuple[float, str]:
        """Estimated seconds of one variant of a clip, and where the figure comes from."""
        raise NotImplementedError
