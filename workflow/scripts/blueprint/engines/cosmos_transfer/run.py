"""The engine `cosmos-transfer2.5`: NVIDIA's own repository, run once for all variants of a clip.

The repository is a checkout with its own virtual environment (``enrich.cosmos_root``, or ``$COSMOS_TRANSFER_ROOT``,
which the conda environment `cosmos-transfer` sets). One specification per variant is written, `examples/inference.py`
runs over all of them, and each clip is taken over the moment it is complete: the repository writes ``<name>.txt`` last.

What the model cannot take is handled by the repository and recorded under ``fit``: frames are resized to the nearest
of the model's sizes and back, short clips and last chunks are padded by reflection and cut to length.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blueprint import nvidia
from blueprint.engines.control_videos import refuse_other_lengths
from blueprint.engines.cosmos_model import TRANSFER, fit
from blueprint.engines.cosmos_transfer.limits import DISTILLED, DISTILLED_FRAMES, MAX_FRAMES, VRAM_GB
from blueprint.engines.gpu import Gpu, PeakMemory, held_gpus
from blueprint.engines.task import Clip, Finish, Options, Variant
from blueprint.errors import UserError
from blueprint.files import read_json, write_json
from blueprint.system import commit_of

log = logging.getLogger(__name__)

PROGRAM = "examples/inference.py"
COPIED_SETTINGS = ("guidance", "num_steps", "resolution", "num_conditional_frames", "num_video_frames_per_chunk")


def identity(options: Options) -> dict[str, Any]:
    """The commit of the checkout: other code makes other pixels."""
    return {"commit": commit_of(_root(options))}


def make_variants(clip: Clip, variants: Sequence[Variant], options: Options, finish: Finish) -> None:
    """Run the repository over the variants (see `blueprint.engines.task`).

    Variants with the same controls share one process and one loaded model. Different sets of controls run one after
    the other, since the repository would load its multi-control model for all of them, whose results differ.
    """
    root = _root(options)
    if not 2 <= clip.info.frames <= MAX_FRAMES:
        raise UserError(f"{clip.rgb}: {clip.info.frames} frames; Cosmos-Transfer2.5 makes clips of 2 to {MAX_FRAMES}.")
    if options.settings["model"] == DISTILLED and clip.info.frames > DISTILLED_FRAMES:
        raise UserError(f"{clip.rgb}: {clip.info.frames} frames; the model {DISTILLED} makes up to {DISTILLED_FRAMES}.")
    refuse_other_lengths(clip, variants)
    groups: dict[tuple[str, ...], list[Variant]] = {}
    for variant in variants:
        groups.setdefault(tuple(sorted(variant.controls)), []).append(variant)
    with held_gpus(options.gpus, VRAM_GB) as gpus:
        for number, group in enumerate(groups.values()):
            _run_batch(root, clip, group, options, options.scratch / f"batch-{number}", gpus, finish)


def _root(options: Options) -> Path:
    given = options.machine.get("cosmos_root")
    return nvidia.installation("cosmos-transfer2.5", PROGRAM, "cosmos-transfer", "enrich.cosmos_root", given)


def sample(clip: Clip, variant: Variant, settings: dict[str, Any]) -> dict[str, Any]:
    """The repository's specification of one variant; it knows exactly these keys and refuses others."""
    spec: dict[str, Any] = {
        "name": variant.name,
        "prompt": variant.prompt,
        "video_path": str(clip.rgb.resolve()),
        "seed": variant.seed,
        "keep_input_resolution": True,
        **{key: settings[key] for key in COPIED_SETTINGS},
    }
    if variant.negative_prompt is not None:
        spec["negative_prompt"] = variant.negative_prompt
    for key, control in variant.controls.items():
        spec[key] = {name: value for name, value in control.items() if name != "from_render"}
        for path in {"control_path", "mask_path"} & set(control):
            spec[key][path] = str(Path(control[path]).resolve())
        if control.get("from_render"):
            spec[key]["control_path"] = str(clip.depth.resolve())
    if context := variant.more.get("image_context"):
        spec["image_context_path"] = str(Path(context["image_path"]).resolve())
    if guided := variant.more.get("guided_generation"):
        spec["guided_generation_mask"] = str(Path(guided["mask_path"]).resolve())
        spec["guided_generation_step_threshold"] = guided["step_threshold"]
    return spec


def command(root: Path, specs: Sequence[Path], out: Path, settings: dict[str, Any], gpus: int) -> list[str]:
    """The command line that makes the samples of some specification files."""
    launch = [nvidia.python_of(root)]
    if gpus > 1:
        launch += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={gpus}"]
    guardrails = ["--disable-guardrails"] if settings["disable_guardrails"] else ["--offload-guardrail-models"]
    model = [] if settings["model"] == "base" else ["--model", settings["model"]]
    samples = ["-i", *map(str, specs), "-o", str(out)]
    return [*launch, PROGRAM, *samples, "--no-keep-going", *guardrails, *model]


def _refuse_lost_masks(variant: Variant, out: Path) -> None:
    """The repository goes on without a mask when it finds nothing: then the control would apply everywhere."""
    for name, control in variant.controls.items():
        if "mask_prompt" in control and not (out / f"{variant.name}_mask_{name}.mp4").exists():
            raise UserError(
                f"{variant.name}: controls.{name}.mask_prompt: nothing was found for {control['mask_prompt']!r}, so "
                "there is no mask. Name what can be seen in the clip, or give a `mask_path`."
            )


def _refuse_missing(pending: Sequence[Variant], status: int) -> None:
    if pending:
        names = ", ".join(variant.name for variant in pending)
        reason = "stopped at an error" if status else "skipped them, by its guardrails or at an error"
        raise UserError(
            f"cosmos-transfer2.5 made no clip for {names}: it exited with {status} and {reason}; what it "
            "printed is above. Clips that it completed are kept."
        )


def _run_batch(
    root: Path,
    clip: Clip,
    variants: Sequence[Variant],
    options: Options,
    folder: Path,
    gpus: list[Gpu],
    finish: Finish,
) -> None:
    out = folder / "out"
    out.mkdir(parents=True)
    specs = [folder / f"{variant.name}.json" for variant in variants]
    for path, variant in zip(specs, variants, strict=True):
        write_json(path, sample(clip, variant, options.settings))
    line = command(root, specs, out, options.settings, len(gpus))
    # The checkpoint is registered only then.
    variables = {"COSMOS_EXPERIMENTAL_CHECKPOINTS": "1"} if options.settings["model"] == DISTILLED else {}
    model = {"name": f"{TRANSFER} ({options.settings['model']})", "commit": commit_of(root)}
    fitted = {
        **fit(clip.info.width, clip.info.height, clip.info.frames, options.settings),
        "padding": "reflect",
        "undone": "cut to length, resized back (Lanczos)",
    }
    pending = list(variants)
    since = time.perf_counter()

    def take() -> None:
        nonlocal since
        for variant in [variant for variant in pending if (out / f"{variant.name}.txt").exists()]:
            now = time.perf_counter()
            run = {
                "seconds": now - since,
                "gpus": [gpu.name for gpu in gpus],
                "vram_peak_gb": round(memory.peak_gb, 2),
                "arguments": read_json(out / f"{variant.name}.json"),  # all of them, defaults filled in
            }
            since = now
            _refuse_lost_masks(variant, out)
            finish(variant, out / f"{variant.name}.mp4", {"model": model, "fit": fitted, "run": run})
            pending.remove(variant)

    with PeakMemory(gpus) as memory:
        status = nvidia.run(line, root, gpus, variables, take)
    _refuse_missing(pending, status)
    if status:
        log.warning("cosmos-transfer2.5 exited with %d after all clips were complete", status)
