"""The page that says whether a world model got better for having seen the clips."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from blueprint import files, video
from blueprint.report.page import embedded, environment
from blueprint.train.clips import Window
from blueprint.train.evaluate import BASE
from blueprint.train.trainers import TRAINING_SETS

PANEL_SCALE = 3
"""A tiny model's frames are enlarged for people."""
MOST_WINDOWS = 12


def write_rollouts(target: Path, windows: Sequence[Window], parameters: Mapping[str, Path], module: str) -> None:
    """Write truth, base model and post-trained models side by side, some held-out windows one after the other."""
    rollout = import_module(module).rollout
    models = {BASE: None, **parameters}
    step = max(1, len(windows) // MOST_WINDOWS)
    frames = []
    for window in windows[::step][:MOST_WINDOWS]:
        rows = [window.frames[1:], *(rollout(model, window) for model in models.values())]
        frames += [_enlarged(np.concatenate(panels, axis=1)) for panels in zip(*rows, strict=True)]
    video.write_video(target, frames, 8)


def _enlarged(frame: np.ndarray) -> np.ndarray:
    return np.repeat(np.repeat(frame, PANEL_SCALE, axis=0), PANEL_SCALE, axis=1)


def write_page(
    target: Path,
    rollouts: Path,
    found: Mapping[str, Any],
    scores: Mapping[str, Any],
    trainings: Mapping[str, Any],
    spec: Mapping[str, Any],
) -> None:
    """Write the page; it appears whole and needs no network.

    Args:
        target: HTML to write.
        rollouts: the side-by-side video.
        found, scores, trainings, spec: as `blueprint.train.evaluate.verdict` takes and gives them.
    """
    models = {BASE: "base model", **{name: f"after {words}" for name, words in TRAINING_SETS.items()}}
    rows = [
        {
            "facility": facility,
            "trained": facility in spec["trained_facilities"],
            "looks": looks,
            "model": words,
            "gain": None if name == BASE else means["psnr"] - scores[BASE]["mean"][facility][looks]["psnr"],
            **means,
        }
        for facility in spec["facilities"]
        for looks in scores[BASE]["mean"][facility]
        for name, words in models.items()
        for means in (scores[name]["mean"][facility][looks],)
    ]
    context = {
        "title": f"{spec['title']}: post-training",
        "lead": f"Is a world model better at a place for having seen its clips? Model: {spec['trainer']}.",
        "found": found,
        "rows": rows,
        "columns": ["the clip", *models.values()],
        "trainings": trainings,
        "sets": TRAINING_SETS,
        "spec": spec,
        "commit": trainings["render"]["run"]["commit"],
        "video": base64.b64encode(rollouts.read_bytes()).decode(),
        "width": video.probe(rollouts).width,
        "css": embedded("report.css"),
        "js": embedded("common.js"),
    }
    files.write_text(target, environment().get_template("training.html").render(context))
