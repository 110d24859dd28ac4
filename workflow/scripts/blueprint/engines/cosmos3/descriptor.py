"""What planning knows of the engine `cosmos3`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, model_validator

from blueprint.checks import Check
from blueprint.engines.base import PlannedClip, Repository
from blueprint.engines.cosmos import BlurStrength, ChunkFrames, Control, Cosmos, CosmosVariantKeys, EdgeStrength
from blueprint.engines.cosmos3 import serving, serving_keys
from blueprint.engines.cosmos3.hints import is_loopback, uploads
from blueprint.engines.cosmos3.memory import FIGURES, vram_gb
from blueprint.engines.cosmos3.serving_keys import ServingKeys, is_managed
from blueprint.engines.cosmos3.sizes import MAX_FRAMES, fit, model_size
from blueprint.engines.presets import PRESET_SETS
from blueprint.environments.needs import Needs
from blueprint.errors import UserError
from blueprint.section import Section, key

SECONDS = (540.0, 121, 50, 1280 * 720)
"""Of one variant: seconds, frames, steps, pixels. An estimate, 8 to 10 minutes on one H100: text to video is published
(189 frames, 720p, 35 steps: 208 to 311 s), and transfer has twice the tokens and three passes a step instead of two."""
SECONDS_SOURCE = (
    "an estimate from text to video on one H100 (no timing of transfer is published): 8 to 10 min for 121 frames of "
    "720p in 50 steps"
)
SUPER_FACTOR = 4.0
"""Parameters of Super to those of Nano; an assumption, there is no figure."""

SETTINGS = (
    *("model", "guidance", "control_guidance", "shift", "num_steps", "resolution", "disable_guardrails"),
    *("num_video_frames_per_chunk", "num_conditional_frames", "emphasize_control"),
)
"""Keys of `enrich` that decide pixels."""
LACKING = {
    "mask_path": "Cosmos 3 has no masks; remove it, or take the engine cosmos-transfer2.5",
    "mask_prompt": "Cosmos 3 has no masks; remove it, or take the engine cosmos-transfer2.5",
    "control_prompt": "Cosmos 3 makes no segmentation; give `control_path`",
    "from_render": "Cosmos 3 estimates no depth: depth is the render's, or your `control_path`. Remove the key",
    "sigma_max": "Cosmos 3 has no such setting; remove it",
}
"""Keys of Cosmos-Transfer2.5 that mean nothing here, and what to do."""


class Spoken(Section):
    """Refuses what Cosmos-Transfer2.5 has and Cosmos 3 has not with its reason."""

    lacking: ClassVar[Mapping[str, str]] = LACKING

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_is_lacking(cls, value: Any) -> Any:
        for name in cls.lacking:
            if isinstance(value, Mapping) and name in value:
                raise ValueError(f"`{name}`: {cls.lacking[name]}")
        return value


class Cosmos3Control(Spoken, Control):
    """Keys of every control."""

    control_weight: float = key(
        "Weight of this control beside the others; the model takes them in proportion.", 1.0, ge=0
    )


class Edge(Cosmos3Control, EdgeStrength):
    """Canny edges of the render."""


class Vis(Cosmos3Control, BlurStrength):
    """The render, blurred."""


class Controls(Section):
    """What holds Cosmos to the geometry of the render."""

    depth: Cosmos3Control | None = key("Depth, the render's unless `control_path` is given.", None)
    edge: Edge | None = key("Canny edges of the render.", None)
    vis: Vis | None = key("The render, blurred.", None)
    seg: Cosmos3Control | None = key("Segmentation, one colour per object on black: needs a `control_path`.", None)

    @model_validator(mode="after")
    def _weigh(self) -> Controls:
        given = [control for control in (self.depth, self.edge, self.vis, self.seg) if control is not None]
        if not given:
            raise ValueError("no control: give one at least (depth, edge, vis, seg)")
        if not any(control.control_weight for control in given):
            raise ValueError("every control_weight is 0: nothing would hold the model. Give one of them a weight")
        return self


def _is_server(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("write http://<host>:<port>")
    if parts.username or parts.password:
        raise ValueError("a user or password stands in the address, and would stand in records. Remove it")
    return url.rstrip("/")


class TransferKeys(Spoken):
    """Keys of `enrich` that are the same for servers and for the pipeline of diffusers."""

    guidance: float = key("How closely the prompt is followed.", 3.0, ge=0, le=7)
    control_guidance: float = key("How closely the controls are followed; NVIDIA takes 2 for `seg`.", 1.5, ge=0, le=10)
    shift: float = key("Shift of the noise schedule towards its noisy end.", 10.0, gt=0)
    num_steps: int = key("Sampling steps.", 50, ge=1)
    resolution: Literal["720", "480", "256"] = key("Size class at which Cosmos works.", "720")
    num_video_frames_per_chunk: ChunkFrames = key(
        "Frames that Cosmos makes at a time, 4k+1; the models are trained for 93.", 93, ge=5
    )
    num_conditional_frames: Literal[0, 1, 5, 9] = key(
        "Frames of a chunk that the next chunk of a long clip continues.", 1
    )
    emphasize_control: bool = key("End the prompt with NVIDIA's sentence that the controls are to be followed.", True)

    @model_validator(mode="after")
    def _add_frames(self) -> TransferKeys:
        if self.num_conditional_frames >= self.num_video_frames_per_chunk:
            raise ValueError(
                f"num_conditional_frames ({self.num_conditional_frames}) is not below num_video_frames_per_chunk "
                f"({self.num_video_frames_per_chunk}), so no chunk would add a frame"
            )
        return self


class Keys(TransferKeys, ServingKeys):
    """Keys of `enrich`."""

    backend: Literal["server"] = key(
        "What makes the variants: `server`, vLLM-Omni servers that keep the model loaded (docs/enrichment.md).",
        "server",
    )
    server_urls: list[Annotated[str, AfterValidator(_is_server), key("Such as http://127.0.0.1:8000.")]] = key(
        "Addresses of the servers, one for each GPU; the variants are spread over them.",
        ["http://127.0.0.1:8000"],
        min_length=1,
    )
    model: Literal["nvidia/Cosmos3-Nano", "nvidia/Cosmos3-Super"] = key(
        "The model that the servers were started with; a server that runs another refuses. NVIDIA's figures for each "
        "GPU: Nano 64 GiB (FP8 50, layer offload 35), Super 160 GiB (FP8 103, layer offload 50).",
        "nvidia/Cosmos3-Nano",
    )
    revision: str | None = key(
        "Commit of the weights that the servers were started with (`--revision`). A server does not tell it: it is "
        "recorded as you say, and another one makes the variants again.",
        None,
        pattern=r"^[0-9a-f]{40}$",
    )
    controls: Controls = key(
        "What holds Cosmos to the geometry of the render: `depth`, `edge`, `vis` (blurred colour), `seg`.",
        {"depth": {}},
    )
    disable_guardrails: bool = key(
        "Have the servers skip their guardrail models. `false` asks for them, which only a server that was started "
        "without `--no-guardrails` obeys; a server does not tell. The licence of Cosmos 3 is OpenMDW-1.1, that of the "
        "guardrails another; see docs/enrichment.md.",
        True,
    )
    start_min: float = key("Minutes that a server may take until its model is loaded.", 30, gt=0)
    deadline_min: float = key("Minutes that a server may take for one variant, its queue included.", 180, gt=0)

    @model_validator(mode="after")
    def _agree(self) -> Keys:
        if len(set(self.server_urls)) < len(self.server_urls):
            raise ValueError(f"server_urls names a server twice ({', '.join(self.server_urls)}). Name each once")
        return self


class VariantKeys(Spoken, CosmosVariantKeys):
    """Keys of a variant."""

    controls: Controls | None = key("Controls of this variant (default `enrich.controls`).", None)


def refuse_impossible(variant: Mapping[str, Any], clip: PlannedClip, key: str) -> None:
    """Refuse what the model cannot make, whoever runs it.

    Raises:
        UserError: naming the variant's key and what to do.
    """
    if not 2 <= clip.frames <= MAX_FRAMES:
        raise UserError(f"{key}: the clip {clip.name!r} has {clip.frames} frames; 2 to {MAX_FRAMES} can be made.")
    if "seg" in variant["controls"] and "control_path" not in variant["controls"]["seg"]:
        raise UserError(f"{key}: Cosmos 3 makes no segmentation: give `controls.seg.control_path`.")


def transfer_seconds(enrich: Mapping[str, Any], clip: PlannedClip) -> float:
    """Of a variant on one GPU, in proportion to `SECONDS`."""
    seconds, frames, steps, pixels = SECONDS
    made = fit(clip.width, clip.height, clip.frames, enrich)
    width, height = model_size(clip.width, clip.height, enrich["resolution"])
    share = (made["chunks"] * enrich["num_video_frames_per_chunk"] / frames * enrich["num_steps"] / steps) * (
        width * height / pixels
    )
    return share * seconds * (SUPER_FACTOR if enrich["model"].endswith("Super") else 1.0)


class Cosmos3(Cosmos):
    """NVIDIA Cosmos 3 through vLLM-Omni servers that the user runs."""

    name = "cosmos3"
    summary = "NVIDIA Cosmos 3 on vLLM-Omni servers, one for each GPU, that keep the model loaded."
    environment = "cosmos3"
    needs = Needs(("httpx2", "numpy", "av", "cv2"), disk_gb=0.6)
    module = "blueprint.engines.cosmos3.run"
    keys = Keys
    variant_keys = VariantKeys
    ram_gb = 4.0

    def settings(self, enrich: Mapping[str, Any]) -> dict[str, Any]:
        """All keys that a server is told, and the revision."""
        quantized = {"quantization": enrich["quantization"]} if enrich.get("quantization") else {}
        return {**{name: enrich[name] for name in SETTINGS}, "revision": enrich.get("revision"), **quantized}

    def machine(self, enrich: Mapping[str, Any]) -> dict[str, Any]:
        """Where the servers are or how they are started, and how long they are waited for."""
        names = ("server", "server_urls", "start_min", "deadline_min", "offload")
        return {**{name: enrich[name] for name in names}, "vllm": enrich.get("vllm")}

    def complete_variant(
        self, entry: Mapping[str, Any], enrich: Mapping[str, Any], clip: PlannedClip, key: str
    ) -> dict[str, Any]:
        """Prompts and controls; what no server could be given is refused."""
        variant = super().complete_variant(entry, enrich, clip, key)
        refuse_impossible(variant, clip, key)
        uploaded = uploads(variant["controls"])
        far = [url for url in enrich["server_urls"] if not is_loopback(url)]
        if len(uploaded) > 1 and far:
            raise UserError(
                f"{key}: a server takes one control video by upload, found {', '.join(uploaded)}; only a server on "
                f"this machine can read more from its disk, and {far[0]} is not. Keep one of them (edge and vis "
                "without `control_path` count for none), or name servers at 127.0.0.1."
            )
        return variant

    def gpus(self, enrich: Mapping[str, Any]) -> int:
        """Those of the servers that the workflow starts."""
        return enrich["gpus"] if is_managed(enrich) else 0

    def vram_needed_gb(self, enrich: Mapping[str, Any], width: int, height: int) -> float:
        """NVIDIA's figures, of the servers that the workflow starts."""
        if not is_managed(enrich):
            return 0.0
        return vram_gb(enrich["model"], enrich.get("quantization"), offload=enrich["offload"] != "never")

    def repositories(self, enrich: Mapping[str, Any]) -> list[Repository]:
        """What the servers load that the workflow starts; others have their weights."""
        return serving_keys.repositories(enrich) if is_managed(enrich) else []

    def downloads_gb(self, enrich: Mapping[str, Any]) -> float:
        """The weights of the servers that the workflow starts."""
        return FIGURES[enrich["model"]]["weights_gb"] if is_managed(enrich) else 0.0

    def fills_gb(self, enrich: Mapping[str, Any]) -> float:
        """Memory of the servers that the workflow starts, and of the client."""
        return self.ram_gb + (serving_keys.ram_gb(enrich) if is_managed(enrich) else 0.0)

    def host_checks(self, enrich: Mapping[str, Any]) -> list[Check]:
        """Whether the program is here that the workflow starts."""
        return [serving.check(enrich)] if is_managed(enrich) else []

    def seconds(self, enrich: Mapping[str, Any], clip: PlannedClip) -> tuple[float, str]:
        """Estimated from what is published of text to video; servers work side by side."""
        variants = sum(
            len(PRESET_SETS[entry["preset_set"]]) if "preset_set" in entry else 1 for entry in enrich["variants"]
        )
        servers = min(self.gpus(enrich) or len(enrich["server_urls"]), variants)
        return transfer_seconds(enrich, clip) / servers, f"{SECONDS_SOURCE}; {servers} server(s) side by side"
