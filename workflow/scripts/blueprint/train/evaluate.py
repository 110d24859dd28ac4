"""Before and after: the same held-out windows predicted by the base model and by each post-trained one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from blueprint import video
from blueprint.export.episodes import RENDER, Episode, split
from blueprint.provenance import record
from blueprint.train.interface import Place, Prediction
from blueprint.train.keys import TRAINING_SETS

BASE = "base"
MOST_SHOWN = 12
PANEL_PX = 180
"""Height of a picture that people look at; a tiny model's are enlarged."""
SHOWN_FPS = 8


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


def score(
    parameters: Path | None,
    episodes: Sequence[Episode],
    spec: Mapping[str, Any],
    module: str,
    place: Place,
    shown: Path,
) -> dict[str, Any]:
    """Predict every held-out window and compare it with what the clip shows.

    Args:
        parameters: the model; None is the base model.
        episodes: all episodes of the dataset.
        spec: from `blueprint.plan`.
        module: of the trainer.
        place: where it works.
        shown: video to write: some windows one after the other, the clip on the left, the prediction on the right.

    Returns:
        ``windows``: per window its facility, look, PSNR in dB and SSIM as the trainer measures them;
        ``mean``: per facility the mean of both over its renders and over all its looks.
    """
    held_out = chosen(episodes, spec, None)
    with place.emptied():
        found = list(import_module(module).predict(held_out, spec, parameters, place))
        video.write_video(shown, _frames(found), SHOWN_FPS)
    rows = [
        {
            "window": prediction.window,
            "facility": prediction.facility,
            "look": prediction.look,
            "psnr": round(prediction.psnr, 4),
            "ssim": round(prediction.ssim, 6),
        }
        for prediction in found
    ]
    return {"windows": rows, "mean": {facility: _means(rows, facility) for facility in spec["facilities"]}}


def _frames(found: Sequence[Prediction]) -> Iterator[np.ndarray]:
    step = max(1, len(found) // MOST_SHOWN)
    for prediction in found[::step][:MOST_SHOWN]:
        yield from map(_for_people, prediction.pictures())


def _for_people(picture: np.ndarray) -> np.ndarray:
    """A picture ``[H, W, 3]`` enlarged or reduced by a whole factor towards `PANEL_PX`."""
    if (larger := PANEL_PX // len(picture)) > 1:
        return np.repeat(np.repeat(picture, larger, axis=0), larger, axis=1)
    if (smaller := len(picture) // PANEL_PX) > 1:
        height, width = (length // (2 * smaller) * 2 for length in picture.shape[:2])
        blocks = picture[: height * smaller, : width * smaller].reshape(height, smaller, width, smaller, 3)
        return blocks.mean(axis=(1, 3)).round().astype(np.uint8)
    return picture


def side_by_side(target: Path, shown: Iterable[Path]) -> None:
    """Put the videos of `score` together: the clip, then what each model predicts."""

    def rows() -> Iterator[np.ndarray]:
        for pictures in zip(*map(video.read_video, shown), strict=True):
            half = pictures[0].shape[1] // 2
            yield np.concatenate([pictures[0][:, :half], *(picture[:, half:] for picture in pictures)], axis=1)

    video.write_video(target, rows(), SHOWN_FPS)


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
    place: Place,
    environment: Path | None = None,
) -> dict[str, Any]:
    """Post-train the base model on one training set; returns what the trainer says and who did it when.

    Raises:
        UserError: no clip that passed is left to train on, or what the trainer says.
    """
    started = time.monotonic()
    with place.emptied():
        facts = import_module(module).post_train(chosen(episodes, spec, training_set), spec, target, place)
    return {**facts, "run": record(started, environment, **facts.pop("run", {}))}


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
