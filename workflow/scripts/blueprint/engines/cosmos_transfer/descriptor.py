"""What planning knows of the engine `cosmos-transfer2.5`.

Repositories, files and revisions are those that NVIDIA's repository itself names at commit
2ff49d0717af02057ae79bc75c00fbff9da1b4e7 (its `checkpoints*.py`); where it names none, neither is one invented here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import model_validator

from blueprint.engines.base import PlannedClip, Repository
from blueprint.engines.cosmos import (
    BlurStrength,
    ChunkFrames,
    Control,
    Cosmos,
    CosmosKeys,
    CosmosVariantKeys,
    EdgeStrength,
    filled,
)
from blueprint.engines.cosmos_model import TRANSFER
from blueprint.engines.cosmos_transfer.limits import DISTILLED, DISTILLED_FRAMES, MAX_FRAMES, VRAM_GB
from blueprint.environments.needs import Needs, Upstream
from blueprint.errors import UserError
from blueprint.section import Section, key

PICTURE = r"\.(png|jpg|jpeg|PNG|JPG|JPEG)$"
RESERVED = re.compile(r"_(control|mask)_(edge|vis|depth|seg)$")
KEYS = ("edge", "vis", "depth", "seg")
MORE = ("image_context", "guided_generation")

# control or model -> revision and file in the repository TRANSFER
CHECKPOINTS = {
    "edge": (
        "b67b64abda3801a9aceddbff2bdb86126c06db74",
        "general/edge/61f5694b-0ad5-4ecd-8ad7-c8545627d125_ema_bf16.pt",
    ),
    "depth": (
        "dea7737ca29dd8d9086413c6dc5724b8250a0bb4",
        "general/depth/626e6618-bfcd-4d9a-a077-1409e2ce353f_ema_bf16.pt",
    ),
    "vis": (
        "eb5325b77d358944da58a690157dd2b8071bbf85",
        "general/blur/ba2f44f2-c726-4fe7-949f-597069d9b91c_ema_bf16.pt",
    ),
    "seg": (
        "23057a4167b89de89a4a397fdbf3887994d115eb",
        "general/seg/5136ef49-6d8d-42e8-8abf-7dac722a304a_ema_bf16.pt",
    ),
    DISTILLED: (
        "bbaeedb2b57cc8b14a44653099e2551adb69dcc7",
        "distilled/general/edge/41f07f13-f2e4-4e34-ba4c-86f595acbc20_ema_bf16.pt",
    ),
}


class MaskedControl(Control):
    """Keys of every control of this engine."""

    mask_path: str | None = key(
        "Video, as long as the clip, that is white where the control applies; `{facility}` and `{clip}` are filled in.",
        None,
        min_length=1,
    )
    mask_prompt: str | None = key("What the control applies to; Grounding DINO and SAM 2 find it.", None, min_length=1)


class Depth(MaskedControl):
    """Depth."""

    from_render: bool = key("Use the rendered depth; `false` has the model estimate it from the colour clip.", True)


class Edge(MaskedControl, EdgeStrength):
    """Canny edges of the render."""


class Vis(MaskedControl, BlurStrength):
    """The render, blurred."""


class Seg(MaskedControl):
    """Segmentation; without `control_path` Grounding DINO and SAM 2 make it."""

    control_prompt: str | None = key("What to segment (default the first words of the prompt).", None, min_length=1)


class Controls(Section):
    """What holds Cosmos to the geometry of the render."""

    depth: Depth | None = key("Depth, from the render unless told otherwise.", None)
    edge: Edge | None = key("Canny edges of the render.", None)
    vis: Vis | None = key("The render, blurred.", None)
    seg: Seg | None = key("Segmentation; without `control_path` Grounding DINO and SAM 2 make it.", None)

    @model_validator(mode="after")
    def _one_at_least(self) -> Controls:
        if not self.model_fields_set:
            raise ValueError("no control: give one at least (depth, edge, vis, seg)")
        return self


class Keys(CosmosKeys):
    """Keys of `enrich`."""

    model: Literal["base", "edge/distilled"] = key(
        "Cosmos model; `edge/distilled` (control `edge` only, up to 93 frames) takes 4 steps.", "base"
    )
    controls: Controls = key(
        "What holds Cosmos to the geometry of the render: `depth`, `edge`, `vis` (blurred colour), `seg`.",
        {"depth": {}},
    )
    num_video_frames_per_chunk: ChunkFrames = key(
        "Frames that Cosmos makes at a time, 4k+1; the models are trained for 93.", 93, ge=5
    )
    gpus: int = key("GPUs per clip.", 1, ge=1)
    cosmos_root: str | None = key(
        "Checkout of NVIDIA's cosmos-transfer2.5 with its virtual environment in `.venv` (default "
        "`$COSMOS_TRANSFER_ROOT`, which the conda environment sets).",
        None,
        min_length=1,
    )


class ImageContext(Section):
    """A picture whose style the variant takes."""

    image_path: str = key("PNG or JPEG; `{facility}` and `{clip}` are filled in.", pattern=PICTURE)


class GuidedGeneration(Section):
    """What stays as it is rendered."""

    mask_path: str = key(
        "Video (.mp4), as long as the clip, that is white where the render is to stay; `{facility}` and `{clip}` are "
        "filled in.",
        pattern=r"\.mp4$",
    )
    step_threshold: int = key("Sampling steps that are held to it; more hold it harder.", 25, ge=1)


class VariantKeys(CosmosVariantKeys):
    """Keys of a variant."""

    controls: Controls | None = key("Controls of this variant (default `enrich.controls`).", None)
    image_context: ImageContext | None = key(
        "Style from a picture; for a variant of one control, which is not `vis` (that one carries the render's).", None
    )
    guided_generation: GuidedGeneration | None = key("Parts of the picture stay as rendered.", None)


class CosmosTransfer(Cosmos):
    """NVIDIA's own repository, run by its own Python."""

    name = "cosmos-transfer2.5"
    summary = "NVIDIA's own repository, run by its own Python: 65.4 GB on one GPU."
    environment = "cosmos-transfer"
    needs = Needs(
        ("numpy", "av", "huggingface_hub"),
        Upstream(
            "COSMOS_TRANSFER_ROOT",
            (
                *("torch", "natsort", "sam2", "cv2", "transformer_engine.pytorch", "flash_attn"),
                "natten.libnatten",  # `import natten` hides its failure
                "cosmos_transfer2.inference",
            ),
            "570.124.06",
        ),
        disk_gb=22.0,
    )
    module = "blueprint.engines.cosmos_transfer.run"
    keys = Keys
    variant_keys = VariantKeys
    weights_gb = 60.0

    def settings(self, enrich: Mapping[str, Any]) -> dict[str, Any]:
        """Those of every Cosmos engine, and the model."""
        steps = enrich.get("num_steps", 4 if enrich["model"] == DISTILLED else 35)
        return {**super().settings(enrich), "model": enrich["model"], "num_steps": steps}

    def upstream(self, enrich: Mapping[str, Any]) -> str:
        """The checkout."""
        return enrich.get("cosmos_root", "")

    def machine(self, enrich: Mapping[str, Any]) -> dict[str, Any]:
        """Where the checkout is."""
        return {"cosmos_root": self.upstream(enrich)}

    def complete_variant(
        self, entry: Mapping[str, Any], enrich: Mapping[str, Any], clip: PlannedClip, key: str
    ) -> dict[str, Any]:
        """Prompts and controls, with what NVIDIA's program would refuse or ignore refused."""
        variant = super().complete_variant(entry, enrich, clip, key)
        if not 2 <= clip.frames <= MAX_FRAMES:
            raise UserError(f"{key}: the clip {clip.name!r} has {clip.frames} frames; 2 to {MAX_FRAMES} can be made.")
        if RESERVED.search(entry["name"]):
            raise UserError(f"{key}: the repository writes its controls under such names. Rename the variant.")
        for name, control in variant["controls"].items():
            if "mask_path" in control and "mask_prompt" in control:
                raise UserError(f"{key}: controls.{name} has both `mask_path` and `mask_prompt`. Keep one.")
        if more := {name: filled(entry[name], clip) for name in MORE if name in entry}:
            variant["more"] = more
        if "image_context" in entry and (len(variant["controls"]) > 1 or "vis" in variant["controls"]):
            found = ", ".join(variant["controls"])
            raise UserError(
                f"{key}: `image_context` goes with one of the controls depth, edge, seg, found {found}: the model of "
                "several controls takes no picture and would say nothing, and vis carries the style of the render. "
                "Keep one."
            )
        if enrich["model"] == DISTILLED:
            _check_distilled(variant, entry, clip, key)
            del variant["negative_prompt"]
        return variant

    def files(self, variant: Mapping[str, Any]) -> list[str]:
        """Control and mask videos, and the picture of a style."""
        more = variant.get("more", {}).values()
        return [*super().files(variant), *(part[key] for part in more for key in part if key.endswith("_path"))]

    def vram_needed_gb(self, enrich: Mapping[str, Any], width: int, height: int) -> float:
        """NVIDIA's figure, whatever the resolution."""
        return VRAM_GB

    def repositories(self, enrich: Mapping[str, Any]) -> list[Repository]:
        """Checkpoints, tokenizer, text encoder, and the models that controls, masks and guardrails need."""
        return list(dict.fromkeys(_repositories(enrich)))

    def seconds(self, enrich: Mapping[str, Any], clip: PlannedClip) -> tuple[float, str]:
        """By the chunks that are made."""
        if enrich["model"] == DISTILLED:
            return 64.5, "NVIDIA: 93 frames, 720p, edge/distilled, H100 NVL"
        return super().seconds(enrich, clip)


def _check_distilled(variant: Mapping[str, Any], entry: Mapping[str, Any], clip: PlannedClip, key: str) -> None:
    if set(variant["controls"]) != {"edge"}:
        found = ", ".join(variant["controls"])
        raise UserError(f"{key}: the model {DISTILLED} takes the control `edge` alone, found {found}.")
    if "more" in variant:
        raise UserError(f"{key}: the model {DISTILLED} has no {' and no '.join(variant['more'])}. Remove it.")
    if "negative_prompt" in entry:
        raise UserError(f"{key}: the model {DISTILLED} has no negative prompt. Remove it.")
    if clip.frames > DISTILLED_FRAMES:
        raise UserError(
            f"{key}: the clip {clip.name!r} has {clip.frames} frames; the model {DISTILLED} makes up to "
            f"{DISTILLED_FRAMES}. Shorten the clip, or set `enrich.model: base`."
        )


def _repositories(enrich: Mapping[str, Any]) -> Iterator[Repository]:
    for chosen in [entry.get("controls", enrich["controls"]) for entry in enrich["variants"]]:
        if enrich["model"] != "base":
            keys: tuple[str, ...] = (enrich["model"],)
        else:  # the multi-control model is put together from all of them
            keys = tuple(chosen) if len(chosen) == 1 else KEYS
        if len(keys) == 1 and keys != (DISTILLED,):  # its conditioner takes pictures too, and is built in any case
            yield Repository("google/siglip2-so400m-patch16-naflex", "main")
        for revision, file in (CHECKPOINTS[name] for name in keys):
            yield Repository(TRANSFER, revision, True, (file,))
        if any("mask_prompt" in control for control in chosen.values()) or _computed(chosen, "seg"):
            yield Repository("facebook/sam2-hiera-large", "main")
            yield Repository("IDEA-Research/grounding-dino-base", "main")
        if _computed(chosen, "depth"):
            yield Repository(
                "depth-anything/Video-Depth-Anything-Small", "main", files=("video_depth_anything_vits.pth",)
            )
    tokenizer = "f176dc95b4a70f53ce01c4b302851595e7322b00"
    yield Repository("nvidia/Cosmos-Predict2.5-2B", tokenizer, True, ("tokenizer.pth",))
    yield Repository("nvidia/Cosmos-Reason1-7B", "3210bec0495fdc7a8d3dbb8d58da5711eab4b423", True)
    if not enrich["disable_guardrails"]:
        yield Repository("nvidia/Cosmos-Guardrail1", "d6d4bfa899a71454a700907664f3e88f503950cf", True)
        yield Repository("Qwen/Qwen3Guard-Gen-0.6B", "main")
        yield Repository("google/siglip-so400m-patch14-384", "main")


def _computed(controls: Mapping[str, Any], key: str) -> bool:
    """Whether the model has to estimate a control from the colour clip."""
    control = controls.get(key)
    return control is not None and "control_path" not in control and not control.get("from_render", False)
