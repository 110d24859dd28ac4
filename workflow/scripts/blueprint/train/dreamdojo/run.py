"""The trainer `dreamdojo`: NVIDIA's own programs, run on windows of the clips (see `blueprint.train.interface`)."""

from __future__ import annotations

import logging
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from blueprint import nvidia, video
from blueprint.digest import SCRIPTS
from blueprint.engines.gpu import Gpu, PeakMemory, held_gpus
from blueprint.errors import UserError
from blueprint.export import windows
from blueprint.export.episodes import Episode
from blueprint.files import file_digest, read_json, value_digest, whole_file
from blueprint.system import commit_of
from blueprint.train.dreamdojo import checkpoint, upstream
from blueprint.train.interface import Place, Prediction, refuse_none
from blueprint.train.trainers import PRETRAINED, TRAINERS

log = logging.getLogger(__name__)

VRAM_GB = TRAINERS["dreamdojo"].vram_gb
WEIGHTS = TRAINERS["dreamdojo"].repositories[0]
MODEL = "model_ema_bf16.pt"
READ = "blueprint.train.dreamdojo.read_windows"
"""Run by upstream's Python as a file, since it does not have this package."""
SUMMARY_DIGITS = 3
COMMIT = re.compile("[0-9a-f]{40}")


def post_train(episodes: Sequence[Episode], spec: Mapping[str, Any], target: Path, place: Place) -> dict[str, Any]:
    """Post-train, from the last checkpoint when an earlier machine was taken away."""
    settings = spec["settings"]
    root = upstream.root_of(place.machine)
    scratch = _scratch(place)
    with held_gpus(settings["gpus"], VRAM_GB) as gpus, PeakMemory(gpus) as memory:
        paths = [path for _, path in _write(episodes, upstream.TRAINED_FRAMES, scratch / "windows")]
        refuse_none(len(paths), upstream.TRAINED_FRAMES + 1, spec, settings["batch_size"] * settings["gpus"])
        commit = commit_of(root)
        weights = _weights(place)
        identity = value_digest([settings, spec["seed"], commit, [file_digest(path) for path in paths]])
        output, kept = scratch / "output", place.kept / checkpoint.NAME
        made = output.joinpath(*upstream.JOB, "checkpoints")
        made.mkdir(parents=True)
        begun = checkpoint.restore(kept, identity, made)
        folder = upstream.working_folder(root, weights, scratch / "work")
        _refuse_unread(root, folder, output, scratch / "windows", gpus)
        every = place.machine["checkpoint_steps"]
        command = upstream.training_command(root, scratch / "windows", settings, spec["seed"], every)
        status = upstream.run(command, folder, output, gpus, _keeper(made, identity, kept, begun))
        name = checkpoint.latest(made)
        if status or name != f"iter_{settings['steps']:09d}":
            raise UserError(
                f"DreamDojo ended with status {status} and {name or 'no checkpoint'}, wanted are {settings['steps']} "
                "steps; what it printed is above. Run again to go on from what is kept."
            )
        _convert(root, folder, output, made / name, gpus)
        _take(made / name / MODEL, target)
    checkpoint.discard(kept)
    run = {"gpus": [gpu.name for gpu in gpus], "vram_peak_gb": round(memory.peak_gb, 2), "resumed_from": begun}
    # The name of the folder of what came from the hub: no commit of it is pinned. Of a user's own nothing is known.
    made_of = {"model_commit": commit, "weights_commit": weights.name if COMMIT.fullmatch(weights.name) else None}
    return {"windows": len(paths), "steps": settings["steps"], **made_of, "run": run}


def predict(
    episodes: Sequence[Episode], spec: Mapping[str, Any], parameters: Path | None, place: Place
) -> Iterator[Prediction]:
    """Predict the windows; PSNR and SSIM are upstream's, over all frames, the given one among them."""
    root, scratch, frames = upstream.root_of(place.machine), _scratch(place), spec["window_frames"]
    with held_gpus(1, VRAM_GB) as gpus:
        written = _write(episodes, frames, scratch / "windows", apart=True)
        if not written:
            raise UserError(
                f"export.held_out_share: no held-out clip has the {frames + 1} frames that one window needs. Render "
                "longer clips, or lower train.window_frames."
            )
        weights = _weights(place)
        folder = upstream.working_folder(root, weights, scratch / "work")
        output = scratch / "output"
        _refuse_unread(root, folder, output, scratch / "windows", gpus)
        model = scratch / "checkpoints" / "iter_000000000" / MODEL
        model.parent.mkdir(parents=True)
        (model.parent.parent / checkpoint.LATEST).write_text(f"{model.parent.name}\n", encoding="utf-8")
        if parameters is not None:
            model.symlink_to(parameters.resolve())
        elif (weights / PRETRAINED / MODEL).exists():
            model.symlink_to((weights / PRETRAINED / MODEL).resolve())
        else:
            (model.parent / "model").symlink_to((weights / PRETRAINED / "model").resolve())
            _convert(root, folder, output, model.parent, gpus)
        model = model.absolute()
        command = upstream.evaluation_command(
            root, [path.parent for _, path in written], frames, model, output.absolute()
        )
        if status := upstream.run(command, folder, output, gpus):
            raise UserError(f"DreamDojo's evaluation ended with status {status}; what it printed is above.")
        yield from _read(output / "made" / model.parent.name, written, frames)


def _scratch(place: Place) -> Path:
    """The folder to work in, whose path upstream reads rightly."""
    windows.refuse_dropped(place.scratch, "working directory")
    return place.scratch.resolve()


def _write(
    episodes: Sequence[Episode], frames: int, folder: Path, apart: bool = False
) -> list[tuple[tuple[Episode, int], Path]]:
    """Write every window of ``frames`` + 1 frames, of which the last makes the start certain; each with its source.

    Args:
        episodes: what the windows are of.
        frames: that upstream reads.
        folder: where they go, named by number.
        apart: each in a folder of its own.
    """
    written: list[tuple[tuple[Episode, int], Path]] = []
    for episode in episodes:
        for index, window in enumerate(windows.windows_of(episode.video, frames + 1)):
            name = f"w{len(written):06d}"
            path = (folder / name if apart else folder) / f"{name}.mp4"
            windows.write_window(path, window, episode.video)
            written.append(((episode, index * (frames + 1)), path))
    return written


def _weights(place: Place) -> Path:
    """The folder with the files of nvidia/DreamDojo.

    Raises:
        UserError: they are not there and cannot be fetched.
    """
    folder = Path(place.machine.get("weights") or _fetched())
    if not (folder / "LAM_400k.ckpt").is_file() or not (folder / PRETRAINED).is_dir():
        raise UserError(f"train.weights: {folder} holds no LAM_400k.ckpt and {PRETRAINED}/ of {WEIGHTS.id}.")
    return folder


def _fetched() -> str:
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download

    token = os.environ.get("HF_TOKEN") or False
    try:
        return snapshot_download(WEIGHTS.id, revision=WEIGHTS.revision, allow_patterns=list(WEIGHTS.files), token=token)
    except (OSError, ValueError, HTTPError) as error:
        raise UserError(
            f"{WEIGHTS.id} cannot be fetched: {error}. Set HF_TOKEN, or name a folder with its files as train.weights."
        ) from error


def _refuse_unread(root: Path, folder: Path, output: Path, data: Path, gpus: Sequence[Gpu]) -> None:
    """Have upstream's Python decode every window: its loader would try others for ever instead of failing."""
    program = SCRIPTS.joinpath(*READ.split(".")).with_suffix(".py")
    if upstream.run([nvidia.python_of(root), str(program), str(data)], folder, output, gpus):
        raise UserError(
            "DreamDojo's Python cannot read the windows (see above): it would try for ever. Recreate the environment "
            "`dreamdojo` (docs/environments.md)."
        )


def _keeper(made: Path, identity: str, kept: Path, begun: str | None) -> Callable[[], None]:
    """A function that keeps each new checkpoint and removes the one before from the scratch folder."""
    last = begun

    def keep() -> None:
        nonlocal last
        name = checkpoint.latest(made)
        if name is not None and name != last:
            checkpoint.keep(made, name, identity, kept)
            if last is not None:
                shutil.rmtree(made / last)
            last = name

    return keep


def _convert(root: Path, folder: Path, output: Path, iteration: Path, gpus: Sequence[Gpu]) -> None:
    """Make one file of a checkpoint's folder; its evaluation would do so as root (``sudo chmod``)."""
    command = [nvidia.python_of(root), "scripts/convert_distcp_to_pt.py", str(iteration / "model"), str(iteration)]
    status = upstream.run(command, folder, output, gpus)
    if status or not (iteration / MODEL).is_file() or not (iteration / MODEL).stat().st_size:
        raise UserError(f"{iteration}: DreamDojo's converter ended with status {status} and made no {MODEL}.")


def _take(made: Path, target: Path) -> None:
    with whole_file(target) as part:
        shutil.copyfile(made, part)


def _read(folder: Path, written: Sequence[tuple[tuple[Episode, int], Path]], frames: int) -> Iterator[Prediction]:
    """What upstream wrote, if it is all there and agrees with its own summary.

    Raises:
        UserError: it is not.
    """
    rows = [read_json(folder / f"{index:04d}_metrics.json") for index in range(len(written))]
    summary = read_json(folder / "all_summary.json")
    for name in ("psnr", "ssim", "lpips"):
        values = [row[name] for row in rows]
        mean = sum(values) / len(values)
        if not math.isfinite(mean) or abs(mean - float(summary[name])) > 10**-SUMMARY_DIGITS:
            raise UserError(
                f"{folder}: the mean {name} of {len(rows)} windows is {mean:.4f}, all_summary.json says "
                f"{summary[name]}: they are not of the same windows."
            )
    for index, (((episode, start), _), row) in enumerate(zip(written, rows, strict=True)):
        merged = folder / f"{index:04d}_merged.mp4"
        found = video.probe(merged).frames
        if found != frames:
            raise UserError(f"{merged}: {found} frames, wanted are {frames}.")
        yield Prediction(
            *(f"{episode.name}@{start}", episode.facility, episode.look),
            *(row["psnr"], row["ssim"]),
            partial(_pictures, merged),
        )


def _pictures(merged: Path) -> np.ndarray:
    return np.stack(list(video.read_video(merged))[1:])
