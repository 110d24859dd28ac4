"""What the engines that run Cosmos have in common for planning: keys, prompts, chunks, seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from blueprint.engines.base import Engine, PlannedClip
from blueprint.engines.cosmos_model import chunk_starts
from blueprint.engines.prompts import PromptKeys, fill_in, prompt_of
from blueprint.section import Section, key

TRAINED_FRAMES = 93
"""Frames of a chunk that the models are trained for."""
NEGATIVE_PROMPT = (
    "Computer game graphics, a cartoon, simple shapes and raw textures under unreal light; blurred, grainy, pixelated, "
    "over-saturated, flickering or shaky footage with subtitles and jump cuts. Poor quality."
)
"""What to keep out when a variant does not say: one text, so that the engines are comparable (NVIDIA's repository and
diffusers each have their own)."""

Strength = Literal["very_low", "low", "medium", "high", "very_high"]


def _whole_latents(frames: int) -> int:
    if frames % 4 != 1:
        below = frames - (frames - 1) % 4
        raise ValueError(
            f"the video codec of the model makes 4k+1 frames, and the frames after such a chunk would be shifted. "
            f"Take {below} or {below + 4}"
        )
    return frames


ChunkFrames = Annotated[int, AfterValidator(_whole_latents)]


class ControlVideo(Section):
    """The key of a control that may be given."""

    control_path: str | None = key(
        "A ready control video, as long as the clip; `{facility}` and `{clip}` are filled in.", None, min_length=1
    )


class Control(ControlVideo):
    """Keys of every control."""

    control_weight: float = key("Weight of this control.", 1.0, ge=0, le=1)


class EdgeStrength(Section):
    """The key of edges that are made of the render."""

    preset_edge_threshold: Strength = key("Lower keeps more of the render.", "medium")


class BlurStrength(Section):
    """The key of the render, blurred."""

    preset_blur_strength: Strength = key("Lower keeps more of the render.", "medium")


class CosmosKeys(Section):
    """Keys of `enrich` for Cosmos-Transfer2.5, whichever program runs it."""

    disable_guardrails: bool = key(
        "Run Cosmos without its guardrail models (and without needing access to their gated repository). NVIDIA's Open "
        "Model License ends your rights to the weights when you switch its guardrails off without a substantially "
        "similar guardrail that suits your use; see docs/enrichment.md.",
        True,
    )
    guidance: int = key("How closely the prompt is followed; 0 leaves the negative prompt out.", 3, ge=0, le=7)
    num_steps: int | None = key("Sampling steps (when absent 35, or 4 for the distilled model).", None, ge=1)
    resolution: Literal["720", "480", "256"] = key("Size class at which Cosmos works.", "720")
    num_conditional_frames: Literal[0, 1, 2] = key("Frames of a chunk that the next chunk of a long clip continues.", 1)


class CosmosVariantKeys(PromptKeys):
    """Keys of a variant for Cosmos."""

    negative_prompt: str | None = key(
        "What to keep out; the same words for every engine when absent. `guidance: 0` leaves it out.",
        None,
        min_length=1,
    )


class Cosmos(Engine):
    """Descriptor of an engine that runs Cosmos; settings, GPUs and seconds are those of Transfer2.5."""

    ram_gb = 32.0
    seconds_per_chunk: tuple[float, str] = (502.6, "NVIDIA: 93 frames, 720p, base model, H100 NVL")
    """Published for 93 frames at 720p on one H100 NVL; the slower of two figures where there are two."""

    def settings(self, enrich: Mapping[str, Any]) -> dict[str, Any]:
        """The keys that decide the pixels."""
        names = ("disable_guardrails", "guidance", "resolution", "num_conditional_frames", "num_video_frames_per_chunk")
        return {**{name: enrich[name] for name in names}, "num_steps": enrich.get("num_steps", 35)}

    def complete_variant(
        self, entry: Mapping[str, Any], enrich: Mapping[str, Any], clip: PlannedClip, key: str
    ) -> dict[str, Any]:
        """Prompts and controls."""
        return {
            "prompt": prompt_of(entry, clip.facility, key),
            "negative_prompt": fill_in(
                entry.get("negative_prompt", NEGATIVE_PROMPT), clip.facility, f"{key}.negative_prompt"
            ),
            "controls": {
                name: filled(control, clip) for name, control in entry.get("controls", enrich["controls"]).items()
            },
        }

    def files(self, variant: Mapping[str, Any]) -> list[str]:
        """The user's control and mask videos."""
        controls = variant["controls"].values()
        return [control[key] for control in controls for key in ("control_path", "mask_path") if key in control]

    def gpus(self, enrich: Mapping[str, Any]) -> int:
        """As configured."""
        return enrich["gpus"]

    def seconds(self, enrich: Mapping[str, Any], clip: PlannedClip) -> tuple[float, str]:
        """By the chunks that the engine makes, each in proportion to its frames."""
        length = enrich["num_video_frames_per_chunk"]
        chunks = len(chunk_starts(clip.frames, length, enrich["num_conditional_frames"]))
        seconds, source = self.seconds_per_chunk
        return chunks * length / TRAINED_FRAMES * seconds, source


def filled(control: Mapping[str, Any], clip: PlannedClip) -> dict[str, Any]:
    """A section of a variant whose paths name facility and clip."""
    facility = clip.facility["name"]
    complete = {
        key: value.replace("{facility}", facility).replace("{clip}", clip.name) if key.endswith("_path") else value
        for key, value in control.items()
    }
    if "control_path" in complete:
        complete.pop("from_render", None)
    return complete
