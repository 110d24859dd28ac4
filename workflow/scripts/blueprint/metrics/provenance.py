"""Where the scores of a facility come from, out of the records that were made with each clip, variant and score."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from blueprint import files
from blueprint.errors import UserError

VOLATILE = ("inputs", "clip", "sha256", "run")
"""What is of one video and not of how it was made."""


def provenance_of(folder: Path, clips: Iterable[str], variants: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is the same on every machine, and what is not.

    Args:
        folder: ``results/<facility>``.
        clips: names of its clips.
        variants: names of its variants.

    Returns:
        ``{"preflight", "variants", "engines"}``: the preflight marker, per variant a list of how it was made (engine,
        model, settings), each with the ``clips`` that it holds for, and the engines of all; and ``{"render_s",
        "enrich_s", "metrics_s", "rasterizers", "gpus", "vram_peak_gb", "commits"}`` over all clips: more than one
        commit says that results are mixed.

    Raises:
        UserError: a file of the results cannot be read.
    """
    made: dict[str, list[dict[str, Any]]] = {variant: [] for variant in variants}
    rendered, enriched, scored = [], [], []
    for clip in clips:
        rendered.append(files.read_json(folder / "clips" / clip / "provenance.json")["run"])
        for variant in made:
            entry = files.read_json(folder / "enriched" / clip / f"{variant}.json")
            enriched.append(entry["run"])
            _add(made[variant], {key: value for key, value in entry.items() if key not in VOLATILE}, clip)
            scores = files.read_json(folder / "metrics" / clip / f"{variant}.json")
            _check_same(folder / "metrics" / clip / f"{variant}.json", scores, entry)
            scored += scores["run"]["made"]
    runs = [*rendered, *enriched, *scored]
    return (
        {
            "preflight": files.read_json(folder / "preflight.json"),
            "variants": made,
            "engines": sorted({entry["engine"] for entries in made.values() for entry in entries}),
        },
        {
            **{
                f"{stage}_s": round(sum(run["seconds"] for run in part), 3)
                for stage, part in (("render", rendered), ("enrich", enriched), ("metrics", scored))
            },
            "rasterizers": sorted({run["rasterizer"] for run in rendered}),
            "gpus": sorted({gpu for run in runs for gpu in run.get("gpus", [])}),
            "vram_peak_gb": max((run["vram_peak_gb"] for run in enriched if run.get("vram_peak_gb")), default=None),
            "commits": sorted({run["commit"] or "unknown" for run in runs}),
        },
    )


def _check_same(path: Path, scores: dict[str, Any], made: dict[str, Any]) -> None:
    """Refuse scores of another video than the one that is there."""
    seen, now = scores.get("inputs", {}).get("variant"), made.get("sha256")
    if None not in (seen, now) and seen != now:
        raise UserError(
            f"{path}: scores a video with SHA-256 {seen[:16]}, the present one has {now[:16]}. Delete {path}."
        )


def _add(known: list[dict[str, Any]], made: dict[str, Any], clip: str) -> None:
    for entry in known:
        if {**entry, "clips": None} == {**made, "clips": None}:
            entry["clips"].append(clip)
            return
    known.append({**made, "clips": [clip]})
