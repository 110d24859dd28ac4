"""The engine `diffusers`: Cosmos-Transfer2.5 through `Cosmos2_5_TransferPipeline`, for cards of 48 GB and less.

The 7B text encoder is the largest model by far and is needed for seconds: each prompt is embedded once, the embedding
is kept on disk, and the encoder leaves memory before anything else enters the GPU. A job whose prompts are all known
does not load it at all. When the card is still too small to hold transformer, ControlNet and VAE together, the one that
is idle waits in the machine's memory.

The pipeline takes one ControlNet. Frames are resized to the nearest of the model's sizes and back; a chunk that is not
full is padded with its last frame and cut to length (by the pipeline); both are recorded under ``fit``.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from httpx2 import HTTPError
from huggingface_hub import snapshot_download
from PIL import Image
from safetensors.torch import load_file, save_file

from blueprint import torchvision_ops
from blueprint.engines.control_videos import refuse_other_lengths
from blueprint.engines.cosmos_model import TRANSFER, fit, model_size
from blueprint.engines.diffusers.controls import control_frames
from blueprint.engines.diffusers.memory import peak_gb
from blueprint.engines.diffusers.names import controlnet_revision
from blueprint.engines.gpu import Gpu, check_vram, held_gpus
from blueprint.engines.task import Clip, Finish, Options, Variant
from blueprint.errors import UserError
from blueprint.files import value_digest, whole_file
from blueprint.video import write_video

torchvision_ops.make_importable()
from diffusers import AutoModel, Cosmos2_5_TransferPipeline  # noqa: E402

log = logging.getLogger(__name__)
logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line per file otherwise

# Embedding -> (idle) -> transformer -> VAE. The ControlNet runs in turn with the transformer at every step, so it must
# not push it out, as the pipeline's own sequence would.
OFFLOAD_SEQUENCE = "text_encoder->transformer->vae"


class Guardrails:
    """What the pipeline asks about its output; without a checker everything passes, and nothing is downloaded."""

    def __init__(self, checker: Any | None) -> None:
        self.checker = checker

    def to(self, device: torch.device) -> None:
        """Move the checker's models."""
        if self.checker is not None:
            self.checker.to(device)

    def check_text_safety(self, prompt: str) -> bool:
        """Whether the prompt may be used."""
        return self.checker is None or self.checker.check_text_safety(prompt)

    def check_video_safety(self, frames: np.ndarray) -> np.ndarray:
        """The frames [F, H, W, 3] uint8, faces blurred by a checker.

        Raises:
            UserError: the clip is blocked; the pipeline itself would go on with black frames.
        """
        if self.checker is None:
            return frames
        checked = self.checker.check_video_safety(frames)
        if checked is None:
            raise UserError("Cosmos guardrails blocked the clip that was made. Change the prompt.")
        return checked


def identity(options: Options) -> dict[str, Any]:
    """The version of diffusers; the weights' revisions are settings."""
    return {"diffusers": version("diffusers")}


def make_variants(clip: Clip, variants: Sequence[Variant], options: Options, finish: Finish) -> None:
    """Run the pipeline once per variant; variants with one control share the loaded models."""
    refuse_other_lengths(clip, variants)
    groups: dict[str, list[Variant]] = {}
    for variant in variants:
        (name,) = variant.controls
        groups.setdefault(name, []).append(variant)
    with execution_device(options.gpus) as device:
        for name, group in groups.items():
            _make_group(clip, name, group, options, device, finish)


@contextmanager
def execution_device(gpus: int) -> Iterator[torch.device]:
    """The GPU that this job holds; the CPU only where the configuration gives the job no GPU (``gpus: 0``)."""
    if gpus == 0:
        yield torch.device("cpu")
        return
    with held_gpus(1) as (gpu,):
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu.device  # before CUDA starts: the card is then number 0
        if not torch.cuda.is_available():
            raise UserError(f"torch {torch.__version__} cannot use GPU {gpu.index} ({gpu.name}, driver {gpu.driver}).")
        yield torch.device("cuda:0")


def _make_group(
    clip: Clip, name: str, variants: Sequence[Variant], options: Options, device: torch.device, finish: Finish
) -> None:
    settings = options.settings
    width, height = model_size(clip.info.width, clip.info.height, settings["resolution"])
    since = time.perf_counter()
    guardrails = make_guardrails(settings["disable_guardrails"])
    refuse_unsafe(guardrails, variants, device)
    base, commit = fetch(settings["diffusers_revision"])
    controlnet, controlnet_commit = fetch(controlnet_revision(settings, name))
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    offload = choose_offload(options.machine["offload"], width * height, device)
    pipe, embeddings = load(base, controlnet, prompts_of(variants), options.cache, commit, guardrails, device, dtype)
    if offload:
        pipe.model_cpu_offload_seq = OFFLOAD_SEQUENCE
        pipe.enable_model_cpu_offload(device=device)
    else:
        pipe.to(device)
    for variant in variants:
        target = options.scratch / f"{variant.name}.mp4"
        control = variant.controls[name]
        frames = list(control_frames(clip, name, control, width, height))
        made = generate(pipe, frames, variant, control["control_weight"], settings, embeddings)
        write_video(target, resized(made, clip.info.width, clip.info.height), round(clip.info.fps))
        now = time.perf_counter()
        run = {"seconds": now - since, "device": str(device), "offload": offload}
        if device.type == "cuda":
            run["gpus"] = [torch.cuda.get_device_name(device)]
            run["vram_peak_gb"] = round(torch.cuda.max_memory_reserved(device) / 1e9, 2)
        model = {"name": TRANSFER, "commit": commit, "controlnet_commit": controlnet_commit, "dtype": str(dtype)}
        provenance = {
            "model": model,
            "fit": {
                **fit(clip.info.width, clip.info.height, clip.info.frames, settings),
                "padding": "last frame repeated",
                "undone": "cut to length, resized back",
            },
        }
        finish(variant, target, {**provenance, "run": run})
        since = now


def prompts_of(variants: Sequence[Variant]) -> list[str]:
    """All texts that need an embedding, without repetition."""
    return list(dict.fromkeys(text for variant in variants for text in (variant.prompt, variant.negative_prompt)))


def fetch(revision: str) -> tuple[Path, str]:
    """Folder and commit of the weights at a revision: downloaded, or what `snakemake fetch_weights` fetched before.

    Raises:
        UserError: they are not here and cannot be downloaded.
    """
    try:
        folder = Path(snapshot_download(TRANSFER, revision=revision))
    except (OSError, ValueError, HTTPError) as error:
        raise UserError(
            f"{TRANSFER} at {revision} cannot be fetched: {error} Licence: https://huggingface.co/{TRANSFER}."
        ) from error
    return folder, folder.name


def make_guardrails(disabled: bool) -> Guardrails:
    """The real checker of the package `cosmos_guardrail`, or none.

    Raises:
        UserError: the guardrails are wanted and the package is absent.
    """
    if disabled:
        return Guardrails(None)
    try:
        from cosmos_guardrail import CosmosSafetyChecker
    except ImportError as error:
        raise UserError(
            f"enrich.disable_guardrails is false, and the guardrails cannot be loaded ({error}). Install "
            "cosmos_guardrail into this environment (docs/environments.md, one more package), or set it to true."
        ) from error
    return Guardrails(CosmosSafetyChecker())


def refuse_unsafe(guardrails: Guardrails, variants: Sequence[Variant], device: torch.device) -> None:
    """Ask the guardrails about each prompt (the pipeline does not when it is given embeddings).

    Raises:
        UserError: a prompt is blocked, naming the variant.
    """
    guardrails.to(device)
    for variant in variants:
        if not guardrails.check_text_safety(variant.prompt):
            raise UserError(f"{variant.name}: Cosmos guardrails blocked the prompt {variant.prompt!r}. Change it.")


def choose_offload(wish: str, pixels: int, device: torch.device) -> bool:
    """Whether idle models leave the device.

    Raises:
        UserError: the card is too small either way.
    """
    if device.type != "cuda":
        return wish == "always"
    free, total = (size / 1e9 for size in torch.cuda.mem_get_info(device))
    card = Gpu(device.index, torch.cuda.get_device_name(device), "", total, total - free)
    together_gb = peak_gb(pixels, offload=False)
    offload = wish == "always" or (wish == "auto" and free < together_gb)
    check = check_vram(peak_gb(pixels, offload), [card])
    if check.result == "fail":
        raise UserError(f"{check.evidence}. Take a larger card, or lower `enrich.resolution`.")
    log.info("%s; %.1f GB would hold all models: offload %s", check.evidence, together_gb, "on" if offload else "off")
    return offload


def load(
    base: Path,
    controlnet: Path,
    prompts: Sequence[str],
    cache: Path,
    commit: str,
    guardrails: Guardrails,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Cosmos2_5_TransferPipeline, dict[str, torch.Tensor]]:
    """The pipeline, on the CPU and without its text encoder, and the embedding [1, tokens, channels] of each prompt.

    Embeddings come from the cache; the text encoder is loaded, used and dropped only for those that are not in it.
    """
    files = {prompt: cache / f"{embedding_key(prompt, commit, dtype)}.safetensors" for prompt in prompts}
    unknown = [prompt for prompt, path in files.items() if not path.exists()]
    log.info("%d of %d prompts have an embedding already", len(prompts) - len(unknown), len(prompts))
    without = {} if unknown else {"text_encoder": None, "tokenizer": None}
    pipe = Cosmos2_5_TransferPipeline.from_pretrained(
        str(base),
        controlnet=AutoModel.from_pretrained(str(controlnet), dtype=dtype),
        safety_checker=guardrails,
        dtype=dtype,
        **without,
    )
    pipe.set_progress_bar_config(mininterval=5)
    if unknown:
        pipe.text_encoder.to(device)
        for prompt in unknown:
            with torch.no_grad():
                embedding, _ = pipe.encode_prompt(prompt, do_classifier_free_guidance=False, device=device)
            with whole_file(files[prompt]) as part:
                save_file({"embedding": embedding.contiguous().cpu()}, part)
        pipe.register_modules(text_encoder=None, tokenizer=None)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return pipe, {prompt: load_file(path)["embedding"] for prompt, path in files.items()}


def embedding_key(prompt: str, commit: str, dtype: torch.dtype) -> str:
    """Digest of all that an embedding depends on."""
    return value_digest({"prompt": prompt, "commit": commit, "dtype": str(dtype), "diffusers": version("diffusers")})


def generate(
    pipe: Cosmos2_5_TransferPipeline,
    controls: Sequence[np.ndarray],
    variant: Variant,
    control_weight: float,
    settings: dict[str, Any],
    embeddings: dict[str, torch.Tensor],
) -> np.ndarray:
    """Frames [F, H, W, 3] uint8 of a variant, as many as there are control frames [H, W, 3]."""
    device = pipe._execution_device
    height, width = controls[0].shape[:2]
    made = pipe(
        controls=[Image.fromarray(frame) for frame in controls],
        controls_conditioning_scale=control_weight,
        prompt_embeds=embeddings[variant.prompt].to(device),
        negative_prompt_embeds=embeddings[variant.negative_prompt].to(device),
        height=height,
        width=width,
        num_frames_per_chunk=settings["num_video_frames_per_chunk"],
        num_ar_conditional_frames=settings["num_conditional_frames"],
        num_inference_steps=settings["num_steps"],
        # The pipeline takes 1 for none; NVIDIA's program, whose formula is the same, does not.
        guidance_scale=max(float(settings["guidance"]), math.nextafter(1, 2)) if settings["guidance"] else 0.0,
        generator=torch.Generator("cpu").manual_seed(variant.seed),
        output_type="np",
    )
    return np.rint(made.frames[0] * 255).astype(np.uint8)


def resized(frames: Iterable[np.ndarray], width: int, height: int) -> Iterator[np.ndarray]:
    """Frames [H, W, 3] uint8 at another size in pixels."""
    for frame in frames:
        shrinks = width * height < frame.shape[0] * frame.shape[1]
        yield cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4)
