"""Where the scores of a facility come from: scene, engine, models, environments, machine, time and money."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from blueprint import files

VOLATILE = ("inputs", "clip", "sha256", "run")
"""What differs between the clips of one variant."""


def provenance_of(folder: Path, clips: Iterable[str], variants: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is the same on every machine, and what is not.

    Args:
        folder: ``results/<facility>``.
        clips: names of its clips.
        variants: names of its variants.

    Returns:
        ``{"preflight", "variants"}``: the preflight marker, and per variant its engine, model and settings; and
        ``{"enrich_s", "metrics_s", "gpus", "vram_peak_gb", "git_commit"}``.

    Raises:
        UserError: a file of the results cannot be read.
    """
    made: dict[str, Any] = {}
    runs: list[dict[str, Any]] = []
    metrics_s = 0.0
    for clip in clips:
        for variant in variants:
            entry = files.read_json(folder / "enriched" / clip / f"{variant}.json")
            runs.append(entry.get("run", {}))
            made.setdefault(variant, {key: value for key, value in entry.items() if key not in VOLATILE})
            metrics_s += files.read_json(folder / "metrics" / clip / f"{variant}.json")["run"]["seconds"]
    peaks = [run["vram_peak_gb"] for run in runs if run.get("vram_peak_gb") is not None]
    return (
        {"preflight": files.read_json(folder / "preflight.json"), "variants": made},
        {
            "enrich_s": round(sum(run.get("seconds") or 0 for run in runs), 3),
            "metrics_s": round(metrics_s, 3),
            "gpus": sorted({gpu for run in runs for gpu in run.get("gpus", [])}),
            "vram_peak_gb": max(peaks, default=None),
            "git_commit": git_commit(),
        },
    )


def git_commit() -> str | None:
    """Commit of this workflow, with ``-dirty`` when its files were changed; None outside a git checkout."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def cost(results: Path) -> dict[str, Any] | None:
    """Cost over all rented machines, from the ledger in ``results/.cloud``; None when none was rented.

    Returns:
        ``cost_usd``, ``seconds`` and the number of ``machines``.
    """
    entries = [files.read_json(path) for path in sorted((results / ".cloud" / "ledger").glob("*.json"))]
    if not entries:
        return None
    return {
        "cost_usd": round(sum(entry["cost_usd"] for entry in entries), 4),
        "seconds": round(sum(entry["seconds"] for entry in entries), 1),
        "machines": len(entries),
    }


def stage_times(benchmarks: Path, facilities: Iterable[str]) -> list[dict[str, Any]]:
    """Time that the jobs of each stage took, from Snakemake's benchmark files.

    Args:
        benchmarks: the folder ``benchmarks/results``.
        facilities: whose stages to count.

    Returns:
        Per stage: ``stage``, ``jobs``, ``seconds`` over all jobs, ``longest_s`` and ``peak_rss_mb`` of one job.
    """
    stages: dict[str, list[dict[str, str]]] = {}
    for facility in facilities:
        for path in sorted((benchmarks / facility).rglob("*.tsv")):
            stage = path.relative_to(benchmarks / facility).parts[0].removesuffix(".tsv")
            with path.open(newline="", encoding="utf-8") as stream:
                stages.setdefault(stage, []).extend(csv.DictReader(stream, delimiter="\t"))
    return [
        {
            "stage": stage,
            "jobs": len(rows),
            "seconds": round(sum(float(row["s"]) for row in rows), 1),
            "longest_s": round(max(float(row["s"]) for row in rows), 1),
            "peak_rss_mb": max((float(row["max_rss"]) for row in rows if _is_number(row["max_rss"])), default=None),
        }
        for stage, rows in stages.items()
    ]


def _is_number(text: str) -> bool:
    """Snakemake writes ``NA`` or ``-`` for jobs that end before it has looked."""
    return text.replace(".", "", 1).isdigit()
