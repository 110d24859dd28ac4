"""What planning knows of the engine `diffusers`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import model_validator

from blueprint.engines.base import PlannedClip, Repository
from blueprint.engines.cosmos import ChunkFrames, Control, Cosmos, CosmosKeys, CosmosVariantKeys, EdgeStrength
from blueprint.engines.cosmos_model import TRANSFER, model_size
from blueprint.engines.diffusers.memory import peak_gb
from blueprint.engines.diffusers.names import controlnet_revision
from blueprint.environments.needs import Needs
from blueprint.errors import UserError
from blueprint.section import Section, key

MAX_CHUNK_FRAMES = 128
"""Positions in time that the transformer knows."""


GUARDRAILS = (
    Repository(
        "nvidia/Cosmos-1.0-Guardrail",
        "main",
        gated=True,
        files=("blocklist/*", "face_blur_filter/Resnet50_Final.pth", "video_content_safety_filter/*"),
    ),
    Repository("Qwen/Qwen3Guard-Gen-0.6B", "main"),
)
"""What the package `cosmos_guardrail` loads."""


class Depth(Control):
    """Depth."""

    from_render: bool = key("Use the rendered depth; `false` needs a `control_path`.", True)


class Edge(Control, EdgeStrength):
    """Canny edges of the render."""


class Controls(Section):
    """What holds Cosmos to the geometry of the render: one control."""

    depth: Depth | None = key("Depth, from the render unless told otherwise.", None)
    edge: Edge | None = key("Canny edges of the render.", None)
    vis: Control | None = key("The render, blurred: needs a `control_path`.", None)
    seg: Control | None = key("Segmentation: needs a `control_path`.", None)

    @model_validator(mode="after")
    def _one(self) -> Controls:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"the pipeline takes one control, found {len(given)} ({', '.join(given)}). Keep one")
        return self


class Keys(CosmosKeys):
    """Keys of `enrich`."""

    controls: Controls = key(
        "What holds Cosmos to the geometry of the render, one of `depth`, `edge`, `vis` (blurred colour), `seg`.",
        {"depth": {}},
    )
    num_video_frames_per_chunk: ChunkFrames = key(
        "Frames that Cosmos makes at a time, 4k+1; the models are trained for 93.", 93, ge=5, le=MAX_CHUNK_FRAMES
    )
    gpus: int = key("GPUs per clip; 0 runs on the CPU, which is for tiny test models.", 1, ge=0, le=1)
    offload: Literal["auto", "always", "never"] = key(
        "Keep idle models in the machine's memory: `auto` does so when the card is too small to hold them together, "
        "and says so in the log.",
        "auto",
    )
    diffusers_revision: str = key(
        "Branch, tag or commit of nvidia/Cosmos-Transfer2.5-2B with the diffusers pipeline.",
        "diffusers/general",
        min_length=1,
    )
    diffusers_controlnet_revision: str = key(
        "The same for the ControlNet; `{control}` becomes edge, depth, seg or blur.",
        "diffusers/controlnet/general/{control}",
        min_length=1,
    )


class VariantKeys(CosmosVariantKeys):
    """Keys of a variant."""

    controls: Controls | None = key("The control of this variant (default `enrich.controls`).", None)


class Diffusers(Cosmos):
    """The same weights through `Cosmos2_5_TransferPipeline`, for cards of 48 GB and less."""

    name = "diffusers"
    summary = "The same weights through Cosmos2_5_TransferPipeline: an estimated 25 GB on one GPU (720p)."
    environment = "cosmos-diffusers"
    needs = Needs(
        (
            *("torch", "torchvision", "transformers", "accelerate", "av", "cv2"),
            *("diffusers.Cosmos2_5_TransferPipeline", "diffusers.Cosmos3OmniModularPipeline"),
        )
    )
    module = "blueprint.engines.diffusers.run"
    keys = Keys
    variant_keys = VariantKeys
    weights_gb = 35.0
    seconds_per_chunk = (502.6, "NVIDIA's figure for its own program: 93 frames, 720p, H100 NVL")

    def settings(self, enrich: Mapping[str, Any]) -> dict[str, Any]:
        """Those of every Cosmos engine, and the revisions of the weights."""
        revisions = ("diffusers_revision", "diffusers_controlnet_revision")
        return {**super().settings(enrich), **{name: enrich[name] for name in revisions}}

    def machine(self, enrich: Mapping[str, Any]) -> dict[str, Any]:
        """Whether idle models leave the GPU."""
        return {"offload": enrich["offload"]}

    def complete_variant(
        self, entry: Mapping[str, Any], enrich: Mapping[str, Any], clip: PlannedClip, key: str
    ) -> dict[str, Any]:
        """Prompts and the one control."""
        variant = super().complete_variant(entry, enrich, clip, key)
        if clip.frames <= enrich["num_conditional_frames"]:
            raise UserError(
                f"{key}: the clip {clip.name!r} has {clip.frames} frame(s), no more than "
                f"`enrich.num_conditional_frames` ({enrich['num_conditional_frames']}). Make it longer."
            )
        ((name, control),) = variant["controls"].items()
        if name != "edge" and not control.get("from_render") and "control_path" not in control:
            raise UserError(
                f"{key}: the engine {self.name} cannot make {name} from the render: give "
                f"`controls.{name}.control_path`."
            )
        return variant

    def vram_needed_gb(self, enrich: Mapping[str, Any], width: int, height: int) -> float:
        """An estimate from weights and shapes, not measured; 0 where no GPU is given."""
        model_width, model_height = model_size(width, height, enrich["resolution"])
        return peak_gb(model_width * model_height, offload=enrich["offload"] != "never") if enrich["gpus"] else 0.0

    def repositories(self, enrich: Mapping[str, Any]) -> list[Repository]:
        """The pipeline, a ControlNet per control, and the guardrails' models."""
        return list(dict.fromkeys(_repositories(enrich)))


def _repositories(enrich: Mapping[str, Any]) -> Iterator[Repository]:
    yield Repository(TRANSFER, enrich["diffusers_revision"], True)
    for entry in enrich["variants"]:
        for name in entry.get("controls", enrich["controls"]):
            yield Repository(TRANSFER, controlnet_revision(enrich, name), True)
    if not enrich["disable_guardrails"]:
        yield from GUARDRAILS
