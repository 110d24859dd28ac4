"""What planning knows of the photometric engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blueprint.engines.base import MEGAPIXEL, Engine, PlannedClip
from blueprint.engines.presets import PRESETS
from blueprint.errors import UserError

SECONDS_PER_MEGAPIXEL = 0.22


class Photometric(Engine):
    """Physics of light on the render and its depth."""

    name = "photometric"
    summary = "Physics of light on the render and its depth: no GPU, no weights."
    module = "blueprint.engines.photometric.run"

    def complete_variant(
        self, entry: Mapping[str, Any], enrich: Mapping[str, Any], clip: PlannedClip, key: str
    ) -> dict[str, Any]:
        """The name of the look."""
        if "preset" not in entry:
            raise UserError(
                f"{key} names no preset, and the engine {self.name} cannot follow a prompt. Give it `preset:` "
                f"({', '.join(PRESETS)}), or choose another `enrich.engine`."
            )
        return {"preset": entry["preset"]}

    def seconds(self, enrich: Mapping[str, Any], clip: PlannedClip) -> tuple[float, str]:
        """Measured with this workflow on two cores of an AMD EPYC at 320x240."""
        pixels = clip.frames * clip.width * clip.height
        return pixels / MEGAPIXEL * SECONDS_PER_MEGAPIXEL, "this project: demo kitchen, 2 cores"
