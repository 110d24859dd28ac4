"""What an enrichment will need: repositories on Hugging Face and access to them, memory on the card.

The host checks and the audit call this before any GPU work; nothing here needs a GPU or torch.
Repositories, files and revisions of the native engine are those that NVIDIA's repository itself names at commit
2ff49d0717af02057ae79bc75c00fbff9da1b4e7 (its `checkpoints*.py`); where it names none, neither is one invented here.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from blueprint.checks import Check
from blueprint.enrich.gpu import Gpu
from blueprint.enrich.model_sizes import model_size
from blueprint.enrich.variants import expand

HUB = "https://huggingface.co"
TRANSFER = "nvidia/Cosmos-Transfer2.5-2B"
PREDICT = "nvidia/Cosmos-Predict2.5-2B"
REASON = "nvidia/Cosmos-Reason1-7B"
GUARDRAIL = "nvidia/Cosmos-Guardrail1"

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
    "edge/distilled": (
        "bbaeedb2b57cc8b14a44653099e2551adb69dcc7",
        "distilled/general/edge/41f07f13-f2e4-4e34-ba4c-86f595acbc20_ema_bf16.pt",
    ),
}
DIFFUSERS_CONTROL = {"edge": "edge", "depth": "depth", "seg": "seg", "vis": "blur"}

# Memory. The native figure is NVIDIA's (docs/inference.md, one GPU, whatever the resolution). Those of diffusers add up
# weights in bf16, counted from the published configurations (transformer 4.83, ControlNet 0.94, VAE 0.25, text encoder
# 16.58 GB), and activations that are an estimate from their shapes, not measured.
NATIVE_GB = 65.4
TEXT_ENCODER_GB = 16.6
DENOISER_GB = 5.8
VAE_GB = 0.3
ACTIVATION_GB_PER_MEGAPIXEL = 12.0  # at 93 frames
OVERHEAD_GB = 1.5  # CUDA context, allocator


@dataclass(frozen=True)
class Repository:
    """A repository on the hub that a configuration needs."""

    id: str
    revision: str  # commit, tag or branch
    licence_url: str  # the page on which access is asked for
    gated: bool
    files: tuple[str, ...] = ("*",)  # patterns of the files that are needed


def repositories_needed(config: dict[str, Any]) -> list[Repository]:
    """The repositories that the enrichment of a completed configuration will download from, without repetition."""
    enrich = config["enrich"]
    controls = [entry.get("controls", enrich["controls"]) for entry in expand(enrich["variants"])]
    if enrich["engine"] == "photometric":
        return []
    needed = (_native if enrich["engine"] == "cosmos-transfer2.5" else _diffusers)(enrich, controls)
    return [
        Repository(id, revision, f"{HUB}/{id}", id.startswith(("nvidia/", "meta-llama/")), files)
        for id, revision, files in dict.fromkeys(needed)
    ]


def _native(enrich: dict[str, Any], controls: Sequence[dict[str, Any]]) -> list[tuple[str, str, tuple[str, ...]]]:
    needed = []
    for chosen in controls:
        if enrich["model"] != "base":
            keys = [enrich["model"]]
        elif len(chosen) == 1:
            keys = list(chosen)
        else:  # the multi-control model is put together from all of them
            keys = ["edge", "vis", "depth", "seg"]
        needed += [(TRANSFER, CHECKPOINTS[key][0], (CHECKPOINTS[key][1],)) for key in keys]
        if any("mask_prompt" in control for control in chosen.values()) or _computed(chosen, "seg"):
            needed += [
                ("facebook/sam2-hiera-large", "main", ("*",)),
                ("IDEA-Research/grounding-dino-base", "main", ("*",)),
            ]
        if _computed(chosen, "depth"):
            needed.append(("depth-anything/Video-Depth-Anything-Small", "main", ("video_depth_anything_vits.pth",)))
    needed.append((PREDICT, "f176dc95b4a70f53ce01c4b302851595e7322b00", ("tokenizer.pth",)))
    needed.append((REASON, "3210bec0495fdc7a8d3dbb8d58da5711eab4b423", ("*",)))
    if not enrich["disable_guardrails"]:
        needed.append((GUARDRAIL, "d6d4bfa899a71454a700907664f3e88f503950cf", ("*",)))
        needed.append(("meta-llama/Llama-Guard-3-8B", "main", ("*",)))
    return needed


def _computed(controls: dict[str, Any], key: str) -> bool:
    """Whether the model has to estimate a control from the colour clip."""
    control = controls.get(key)
    return control is not None and "control_path" not in control and not control.get("from_render", False)


def _diffusers(enrich: dict[str, Any], controls: Sequence[dict[str, Any]]) -> list[tuple[str, str, tuple[str, ...]]]:
    needed = [(TRANSFER, enrich["diffusers_revision"], ("*",))]
    for key in (key for chosen in controls for key in chosen):
        revision = enrich["diffusers_controlnet_revision"].replace("{control}", DIFFUSERS_CONTROL[key])
        needed.append((TRANSFER, revision, ("*",)))
    if not enrich["disable_guardrails"]:
        patterns = ("blocklist/*", "face_blur_filter/Resnet50_Final.pth")
        needed.append(("nvidia/Cosmos-1.0-Guardrail", "main", patterns))
        needed.append(("Qwen/Qwen3Guard-Gen-0.6B", "main", ("*",)))
    return needed


def check_access(
    repositories: Sequence[Repository], token: str | None, endpoint: str | None = None, timeout_s: float = 10.0
) -> list[Check]:
    """Ask the hub, with the user's token, for access to each repository; one check per repository.

    Args:
        repositories: what is needed.
        token: the user's token; None asks anonymously. It appears in no message.
        endpoint: address of the hub (default: huggingface_hub's own, which honours ``HF_ENDPOINT``).
        timeout_s: longest wait for one answer.
    """
    from huggingface_hub.utils import get_session  # only in the environments that talk to the hub

    unique = {repository.id: repository for repository in repositories}.values()
    session = get_session()
    usual_timeout, session.timeout = session.timeout, timeout_s  # `auth_check` on its own waits for ever
    try:
        with ThreadPoolExecutor(max_workers=8) as pool:
            return list(pool.map(lambda repository: _check_one(repository, token, endpoint), unique))
    finally:
        session.timeout = usual_timeout


def _check_one(repository: Repository, token: str | None, endpoint: str | None) -> Check:
    from httpx2 import TimeoutException, TransportError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    page = repository.licence_url
    api = HfApi(endpoint=endpoint, token=token or False)
    try:
        api.auth_check(repository.id)
        problem = None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            problem = (
                "no valid token (401)",
                f"Set HF_TOKEN to a token ({HUB}/settings/tokens) of an account that accepted the licence at {page}.",
            )
        elif isinstance(error, GatedRepoError):
            problem = (
                "gated, and this account has not accepted its licence (403)",
                f"Accept the licence at {page} with the account of this token, then run again.",
            )
        elif status == 404:
            problem = (
                "there is no such repository for this account (404)",
                f"Look at {page}; a private repository needs a token that may read it.",
            )
        else:
            problem = (f"the hub refused ({status})", f"Try again later; see {page}.")
    except TimeoutException:
        problem = (
            f"no answer from {api.endpoint} in time",
            f"Check this machine's network and HF_ENDPOINT, then run again; the licence is at {page}.",
        )
    except TransportError as error:
        problem = (
            f"{api.endpoint} cannot be reached ({error})",
            f"Check this machine's network and HF_ENDPOINT, then run again; the licence is at {page}.",
        )
    name = f"Hugging Face: {repository.id}"
    return Check(name, "ok", "access granted") if problem is None else Check(name, "fail", *problem)


def vram_needed_gb(enrich: dict[str, Any], width: int, height: int) -> float:
    """Gigabytes (10^9) of memory one card needs for the `enrich` settings and clips of a size.

    The native engine's figure is NVIDIA's; that of `diffusers` is an estimate from weights and shapes, for a card that
    holds the models one after the other (offload) or, without offload, side by side.
    """
    if enrich["engine"] == "photometric":
        return 0.0
    if enrich["engine"] == "cosmos-transfer2.5":
        return NATIVE_GB
    model_width, model_height = model_size(width, height, enrich["resolution"])
    return diffusers_gb(model_width * model_height, offload=enrich["offload"] != "never")


def diffusers_gb(pixels: int, offload: bool) -> float:
    """Estimated peak in GB of the diffusers engine at the model's own frame size in pixels."""
    activations = ACTIVATION_GB_PER_MEGAPIXEL * pixels / 1e6
    if offload:
        return round(max(TEXT_ENCODER_GB, DENOISER_GB + activations, VAE_GB + activations) + OVERHEAD_GB, 1)
    return round(max(TEXT_ENCODER_GB, DENOISER_GB + VAE_GB + activations) + OVERHEAD_GB, 1)


def check_vram(needed_gb: float, gpus: Sequence[Gpu]) -> Check:
    """Compare what is needed with the free memory of the fullest of some cards."""
    name = "GPU memory"
    if needed_gb == 0:
        return Check(name, "ok", "the engine needs no GPU")
    if not gpus:
        return Check(name, "fail", f"{needed_gb} GB needed, no NVIDIA GPU found", "Run on a machine with a GPU.")
    least = min(gpus, key=lambda gpu: gpu.free_gb)
    found = f"{least.free_gb:.1f} of {least.total_gb:.1f} GB free on GPU {least.index} ({least.name})"
    evidence = f"{needed_gb} GB needed, {found}"
    if least.free_gb >= needed_gb:
        return Check(name, "ok", evidence)
    return Check(
        name,
        "fail",
        evidence,
        "End what else uses the card, take a larger one, or set `enrich.engine: diffusers`, which fits 48 GB.",
    )
