"""Before and after: the same held-out windows predicted by the base model and by each post-trained one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blueprint import torchvision_ops
from blueprint.errors import UserError
from blueprint.export.episodes import RENDER, Episode, split
from blueprint.provenance import record
from blueprint.train.clips import Window, windows
from blueprint.train.trainers import TRAINING_SETS

BASE = "base"


def chosen(episodes: Sequence[Episode], spec: Mapping[str, Any], training_set: str | None) -> list[Episode]:
    """The episodes of a training set, or (None) those that are held out, of every facility."""
    sides = split(episodes, spec["held_out_share"], spec["held_out_facilities"])
    if training_set is None:
        return [episode for episode in episodes if sides[episode.trajectory] == "test"]
    return [
        episode
        for episode in episodes
        if sides[episode.trajectory] == "train"
        and episode.facility in spec["trained_facilities"]
        and (training_set == "variants" or episode.look == RENDER)
    ]


def score(parameters: Path | None, episodes: Sequence[Episode], spec: Mapping[str, Any], module: str) -> dict[str, Any]:
    """Predict every held-out window and compare it with what the clip shows.

    Args:
        parameters: the model; None is the base model.
        episodes: all episodes of the dataset.
        spec: from `blueprint.plan`.
        module: of the trainer.

    Returns:
        ``windows``: per window its facility, look, PSNR in dB and SSIM over the predicted frames (piq);
        ``mean``: per facility the mean of both over its renders and over all its looks.
    """
    torchvision_ops.make_importable()
    import piq

    rollout: Callable[[Path | None, Window], np.ndarray] = import_module(module).rollout
    rows = []
    for window in held_out(episodes, spec, module):
        predicted, truth = _tensor(rollout(parameters, window)), _tensor(window.frames[1:])
        rows.append(
            {
                "window": window.episode,
                "facility": window.facility,
                "look": window.look,
                "psnr": round(float(piq.psnr(predicted, truth)), 4),
                "ssim": round(float(piq.ssim(predicted, truth)), 6),
            }
        )
    return {"windows": rows, "mean": {facility: _means(rows, facility) for facility in spec["facilities"]}}


def held_out(episodes: Sequence[Episode], spec: Mapping[str, Any], module: str) -> list[Window]:
    """The windows that no model was trained on."""
    size = import_module(module)
    return list(windows(chosen(episodes, spec, None), spec["window_frames"], size.WIDTH, size.HEIGHT))


def _tensor(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))).float().div_(255)


def _means(rows: Sequence[Mapping[str, Any]], facility: str) -> dict[str, Any]:
    of_facility = [row for row in rows if row["facility"] == facility]
    groups = {"renders": [row for row in of_facility if row["look"] == RENDER], "all looks": of_facility}
    return {
        name: {key: round(float(np.mean([row[key] for row in group])), 4) for key in ("psnr", "ssim")}
        | {"windows": len(group)}
        for name, group in groups.items()
        if group
    }


def train(
    episodes: Sequence[Episode],
    spec: Mapping[str, Any],
    training_set: str,
    module: str,
    target: Path,
    environment: Path | None = None,
) -> dict[str, Any]:
    """Post-train the base model on one training set; returns what the trainer says and who did it when.

    Raises:
        UserError: no clip that passed is left to train on.
    """
    trainer = import_module(module)
    chosen_windows = list(
        windows(chosen(episodes, spec, training_set), spec["window_frames"], trainer.WIDTH, trainer.HEIGHT)
    )
    if not chosen_windows:
        raise UserError(
            f"train.facilities: no window of {spec['window_frames']} frames is left to train on in "
            f"{', '.join(spec['trained_facilities'])}. Render longer or more clips, or lower train.window_frames."
        )
    started = time.monotonic()
    facts = trainer.train(chosen_windows, **spec["settings"], seed=spec["seed"], start=None, target=target)
    return {**facts, "windows": len(chosen_windows), "run": record(started, environment)}


def verdict(scores: Mapping[str, Any], trainings: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """Is the world model better at the facility for having seen its clips, and at what price?

    Args:
        scores: per model (`BASE` and `TRAINING_SETS`) the result of `score`.
        trainings: per training set the result of `train`.
        spec: from `blueprint.plan`.

    Returns:
        ``verdict`` with its ``sentence``, and ``gains``: per facility and training set, over all looks, the gain in dB
        and SSIM against the base model and the seconds of training per dB.
    """
    gains = {
        facility: {
            name: _gain(scores[BASE]["mean"][facility], scores[name]["mean"][facility], trainings[name])
            for name in TRAINING_SETS
        }
        for facility in spec["facilities"]
        if scores[BASE]["mean"][facility]
    }
    trained = [facility for facility in gains if facility in spec["trained_facilities"]]
    others = [facility for facility in gains if facility not in spec["trained_facilities"]]
    best = {facility: max(gain["psnr"] for gain in gains[facility].values()) for facility in trained}
    worst = {facility: min(gain["psnr"] for gain in gains[facility].values()) for facility in others}
    result = "pass"
    if not best or min(best.values()) < spec["least_gain_db"]:
        result = "fail"
    elif worst and min(worst.values()) < -spec["most_loss_db"]:
        result = "warn"
    return {"verdict": result, "sentence": _sentence(gains, trained, others), "gains": gains}


def _gain(base: Mapping[str, Any], after: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    psnr = round(after["all looks"]["psnr"] - base["all looks"]["psnr"], 4)
    seconds = training["run"]["seconds"]
    return {
        "psnr": psnr,
        "ssim": round(after["all looks"]["ssim"] - base["all looks"]["ssim"], 4),
        "seconds_per_db": round(seconds / psnr, 1) if psnr > 0 else None,
    }


def _sentence(gains: Mapping[str, Any], trained: Sequence[str], others: Sequence[str]) -> str:
    parts = [
        f"on held-out trajectories of {facility} the prediction changes by "
        + " and ".join(
            f"{gains[facility][name]['psnr']:+.2f} dB after {words}" for name, words in TRAINING_SETS.items()
        )
        for facility in trained
    ]
    parts += [
        f"on {facility}, which it was not trained on, by {gains[facility]['variants']['psnr']:+.2f} dB"
        for facility in others
    ]
    return "; ".join(parts)[:1].upper() + "; ".join(parts)[1:] + "."
