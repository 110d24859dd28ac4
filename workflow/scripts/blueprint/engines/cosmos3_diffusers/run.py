"""The engine `cosmos3-diffusers`: Cosmos 3 through `Cosmos3OmniModularPipeline`.

What the pipeline leaves to its caller is done here: it takes a prompt verbatim (`blueprint.engines.cosmos3.prompts`),
it only warns of an input that it does not know and of a component that it could not load, and its scheduler is set as
its repository says and not as NVIDIA's recipe for transfer.

Controls are stretched to one of the model's sizes and the video is resized back, as with servers; a chunk that is not
full is continued backwards (by the pipeline) and cut to length; both are recorded under ``fit``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from blueprint import torchvision_ops
from blueprint.engines.control_videos import refuse_other_lengths
from blueprint.engines.cosmos3.hints import HINTS
from blueprint.engines.cosmos3.memory import vram_gb
from blueprint.engines.cosmos3.prompts import emphasized, with_metadata
from blueprint.engines.cosmos3.sizes import fit, model_size
from blueprint.engines.diffusers.controls import control_frames
from blueprint.engines.pipelines import (
    choose_offload,
    execution_device,
    facts_of,
    fetch,
    make_guardrails,
    refuse_unsafe,
    resized,
)
from blueprint.engines.task import Clip, Finish, Options, Variant
from blueprint.errors import UserError
from blueprint.video import write_video

torchvision_ops.make_importable()
from diffusers import Cosmos3OmniModularPipeline, ModularPipeline, UniPCMultistepScheduler  # noqa: E402

COMPONENTS = ["transformer", "vae", "scheduler", "text_tokenizer"]
"""What transfer uses; the repository has a model of sounds besides."""
ORDER = ("edge", "vis", "depth", "seg")
"""In which the model takes its controls."""


def identity(_: Options) -> dict[str, Any]:
    """The version of diffusers; model and revision are settings."""
    return {"diffusers": version("diffusers")}


def make_variants(clip: Clip, variants: Sequence[Variant], options: Options, finish: Finish) -> None:
    """Run the pipeline once per variant; the model is loaded once."""
    refuse_other_lengths(clip, variants)
    settings = options.settings
    with execution_device(options.gpus) as device:
        since = time.perf_counter()
        guardrails = make_guardrails(settings["disable_guardrails"])
        refuse_unsafe(guardrails, variants, device)
        folder, commit = fetch(settings["model"], settings["revision"])
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        together_gb, offloaded_gb = (round(vram_gb(settings["model"], None, offload), 1) for offload in (False, True))
        offload = choose_offload(options.machine["offload"], together_gb, offloaded_gb, device)
        pipe = load(folder, settings["shift"], device, dtype, offload)
        size = model_size(clip.info.width, clip.info.height, settings["resolution"])
        for variant in variants:
            controls = {
                name: list(control_frames(clip, name, variant.controls[name], *size)) for name in variant.controls
            }
            made = guardrails.check_video_safety(generate(pipe, controls, variant, round(clip.info.fps), settings))
            target = options.scratch / f"{variant.name}.mp4"
            write_video(target, resized(made, clip.info.width, clip.info.height), round(clip.info.fps))
            now = time.perf_counter()
            provenance = {
                "model": {"name": settings["model"], "commit": commit, "dtype": str(dtype)},
                "fit": fit(clip.info.width, clip.info.height, clip.info.frames, settings),
                "run": {"seconds": now - since, "offload": offload, **facts_of(device)},
            }
            finish(variant, target, provenance)
            since = now


def load(
    folder: Path, shift: float, device: torch.device, dtype: torch.dtype, offload: bool
) -> Cosmos3OmniModularPipeline:
    """The pipeline of a folder, with NVIDIA's noise schedule and without a checker of its own.

    Args:
        folder: the repository. What its index says of other repositories is not followed.
        shift: of the noise schedule.
        device: where the models work.
        dtype: of the models.
        offload: whether the transformer's layers wait in the machine's memory.

    Raises:
        UserError: it is another pipeline's, or a part of it cannot be loaded.
    """
    pipe = ModularPipeline.from_pretrained(str(folder))  # of the class that its index names
    if type(pipe) is not Cosmos3OmniModularPipeline:
        raise UserError(f"{folder}: these are weights of {type(pipe).__name__}, this engine takes Cosmos3-Nano's.")
    pipe.load_components(names=COMPONENTS, dtype=dtype, pretrained_model_name_or_path=str(folder), revision=None)
    if absent := [name for name in COMPONENTS if getattr(pipe, name, None) is None]:
        raise UserError(
            f"{folder}: {', '.join(absent)} cannot be loaded; the reason stands above in this log. Remove the folder "
            "if its download was cut off, and run again."
        )
    schedule = {"flow_shift": shift, "use_karras_sigmas": False}
    pipe.update_components(scheduler=UniPCMultistepScheduler.from_config(pipe.scheduler.config, **schedule))
    pipe.disable_safety_checker()  # asked for by `make_variants`: the pipeline's would leave a blocked clip black
    if offload:
        streams = device.type == "cuda"
        pipe.transformer.enable_group_offload(device, offload_type="leaf_level", use_stream=streams)
        pipe.vae.to(device)
    else:
        pipe.to(device)
    pipe.set_progress_bar_config(mininterval=5)
    return pipe


def generate(
    pipe: Cosmos3OmniModularPipeline,
    controls: dict[str, Sequence[np.ndarray]],
    variant: Variant,
    fps: int,
    settings: dict[str, Any],
) -> np.ndarray:
    """Frames [F, H, W, 3] uint8 of a variant, as many as each control has frames [H, W, 3].

    Raises:
        UserError: this release of diffusers does not know an input.
    """
    names = [name for name in ORDER if name in controls]
    height, width = controls[names[0]][0].shape[:2]
    told = settings["num_video_frames_per_chunk"], fps, width, height
    prompt = with_metadata(variant.prompt, *told)
    inputs = {
        "prompt": emphasized(prompt, [HINTS[name] for name in names]) if settings["emphasize_control"] else prompt,
        "negative_prompt": with_metadata(variant.negative_prompt, *told),
        "control_videos": {HINTS[name]: [Image.fromarray(frame) for frame in controls[name]] for name in names},
        "height": height,
        "width": width,
        "num_video_frames_per_chunk": settings["num_video_frames_per_chunk"],
        "num_conditional_frames": settings["num_conditional_frames"],
        "num_first_chunk_conditional_frames": 0,
        "num_inference_steps": settings["num_steps"],
        "guidance_scale": settings["guidance"],
        "control_guidance": settings["control_guidance"],
        "generator": torch.Generator("cpu").manual_seed(variant.seed),
        "output_type": "np",
    }
    if unknown := sorted(inputs.keys() - set(pipe.blocks.input_names)):
        raise UserError(
            f"diffusers {version('diffusers')} knows no input {', '.join(unknown)} of Cosmos 3; it would ignore it. "
            "Take the release that the environment's lock names."
        )
    return np.rint(np.asarray(pipe(**inputs, output="videos")) * 255).astype(np.uint8)
