"""What planning knows of the engine `cosmos3-diffusers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import model_validator

from blueprint.engines.base import PlannedClip, Repository
from blueprint.engines.cosmos import BlurStrength, ControlVideo, Cosmos, CosmosVariantKeys, EdgeStrength
from blueprint.engines.cosmos3.descriptor import (
    LACKING,
    SECONDS_SOURCE,
    SETTINGS,
    Spoken,
    TransferKeys,
    refuse_impossible,
    transfer_seconds,
)
from blueprint.engines.cosmos3.memory import NANO, vram_gb
from blueprint.engines.diffusers.descriptor import GUARDRAILS, Diffusers
from blueprint.section import Section, key


class Control(Spoken, ControlVideo):
    """Keys of every control."""

    lacking = LACKING | {
        "control_weight": "the pipeline of diffusers weighs its controls alike; remove it, or take the engine cosmos3"
    }


class Edge(Control, EdgeStrength):
    """Canny edges of the render."""


class Vis(Control, BlurStrength):
    """The render, blurred."""


class Controls(Section):
    """What holds Cosmos to the geometry of the render."""

    depth: Control | None = key("Depth, the render's unless `control_path` is given.", None)
    edge: Edge | None = key("Canny edges of the render.", None)
    vis: Vis | None = key("The render, blurred.", None)
    seg: Control | None = key("Segmentation, one colour per object on black: needs a `control_path`.", None)

    @model_validator(mode="after")
    def _give_one(self) -> Controls:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError("no control: give one at least (depth, edge, vis, seg)")
        return self


class Keys(TransferKeys):
    """Keys of `enrich`."""

    model: Literal["nvidia/Cosmos3-Nano"] = key(
        "The model. `nvidia/Cosmos3-Super` takes more than one card: servers hold it (engine `cosmos3`).", NANO
    )
    revision: str = key(
        "Branch, tag or commit of its weights. A branch moves; the commit that came is recorded.", "main", min_length=1
    )
    controls: Controls = key(
        "What holds Cosmos to the geometry of the render, one or several: `depth`, `edge`, `vis` (blurred colour), "
        "`seg`.",
        {"depth": {}},
    )
    disable_guardrails: bool = key(
        "Run Cosmos without its guardrail models. The licence of Cosmos 3 is OpenMDW-1.1, that of the guardrails "
        "another; see docs/enrichment.md.",
        True,
    )
    gpus: int = key("GPUs per clip; 0 runs on the CPU, which is for tiny test models.", 1, ge=0, le=1)
    offload: Literal["auto", "always", "never"] = key(
        "Keep the layers of the model in the machine's memory and bring each to the GPU when it is its turn: `auto` "
        "does so when the card is too small, and says so in the log.",
        "auto",
    )


class VariantKeys(Spoken, CosmosVariantKeys):
    """Keys of a variant."""

    controls: Controls | None = key("Controls of this variant (default `enrich.controls`).", None)


class Cosmos3Diffusers(Cosmos):
    """NVIDIA Cosmos 3 through `Cosmos3OmniModularPipeline`; the model is loaded once for the variants of a clip."""

    name = "cosmos3-diffusers"
    summary = (
        f"NVIDIA Cosmos 3 through diffusers, without a server: {vram_gb(NANO, None, offload=False):.1f} GB on one GPU, "
        f"or {vram_gb(NANO, None, offload=True):.1f} GB."
    )
    environment = Diffusers.environment
    needs = Diffusers.needs
    module = "blueprint.engines.cosmos3_diffusers.run"
    keys = Keys
    variant_keys = VariantKeys
    weights_gb = 35.0
    ram_gb = 69.0

    def settings(self, enrich: Mapping[str, Any]) -> dict[str, Any]:
        """All keys that decide pixels, the revision of the weights among them."""
        return {name: enrich[name] for name in (*SETTINGS, "revision")}

    def machine(self, enrich: Mapping[str, Any]) -> dict[str, Any]:
        """Whether layers leave the GPU."""
        return {"offload": enrich["offload"]}

    def complete_variant(
        self, entry: Mapping[str, Any], enrich: Mapping[str, Any], clip: PlannedClip, key: str
    ) -> dict[str, Any]:
        """Prompts and controls; what the model cannot make is refused."""
        variant = super().complete_variant(entry, enrich, clip, key)
        refuse_impossible(variant, clip, key)
        return variant

    def vram_needed_gb(self, enrich: Mapping[str, Any], width: int, height: int) -> float:
        """NVIDIA's figures for its own server at 720p; 0 where no GPU is given."""
        return round(vram_gb(NANO, None, enrich["offload"] != "never"), 1) if enrich["gpus"] else 0.0

    def repositories(self, enrich: Mapping[str, Any]) -> list[Repository]:
        """The model, and the guardrails' models."""
        found = Repository(enrich["model"], enrich["revision"], True)
        return [found, *(() if enrich["disable_guardrails"] else GUARDRAILS)]

    def seconds(self, enrich: Mapping[str, Any], clip: PlannedClip) -> tuple[float, str]:
        """Estimated from what is published of text to video."""
        return transfer_seconds(enrich, clip), SECONDS_SOURCE
