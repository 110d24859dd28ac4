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
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from blueprint import torchvision_ops
from blueprint.engines.control_videos import refuse_other_lengths
from blueprint.engines.cosmos_model import TRANSFER, fit, model_size
from blueprint.engines.diffusers.controls import control_frames
from blueprint.engines.diffusers.memory import peak_gb
from blueprint.engines.diffusers.names import controlnet_revision
from blueprint.engines.pipelines import (
    Guardrails,
    choose_offload,
    execution_device,
    facts_of,
    fetch,
    make_guardrails,
    refuse_unsafe,
    resized,
)
from blueprint.engines.task import Clip, Finish, Options, Variant
from blueprint.files import value_digest, whole_file
from blueprint.video import write_video

torchvision_ops.make_importable()
from diffusers import AutoModel, Cosmos2_5_TransferPipeline  # noqa: E402

log = logging.getLogger(__name__)

# Embedding -> (idle) -> transformer -> VAE. The ControlNet runs in turn with the transformer at every step, so it must
# not push it out, as the pipeline's own sequence would.
OFFLOAD_SEQUENCE = "text_encoder->transformer->vae"


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


def _make_group(
    clip: Clip, name: str, variants: Sequence[Variant], options: Options, device: torch.device, finish: Finish
) -> None:
    settings = options.settings
    width, height = model_size(clip.info.width, clip.info.height, settings["resolution"])
    since = time.perf_counter()
    guardrails = make_guardrails(settings["disable_guardrails"])
    refuse_unsafe(guardrails, variants, device)
    base, commit = fetch(TRANSFER, settings["diffusers_revision"])
    controlnet, controlnet_commit = fetch(TRANSFER, controlnet_revision(settings, name))
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    together_gb, offloaded_gb = (peak_gb(width * height, offload) for offload in (False, True))
    offload = choose_offload(options.machine["offload"], together_gb, offloaded_gb, device)
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
        run = {"seconds": now - since, "offload": offload, **facts_of(device)}
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
