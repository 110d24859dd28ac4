"""The page that says whether a world model got better for having seen the clips."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blueprint import files, video
from blueprint.report.page import embedded, environment
from blueprint.train.evaluate import BASE
from blueprint.train.keys import TRAINING_SETS


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
