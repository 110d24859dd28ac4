"""Time and money that a run took, as the report shows them."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from blueprint import files

STAGES = ("preflight", "cameras", "render", "fidelity", "enrich", "metrics", "diversity", "previews", "summary")
"""Whose jobs have benchmark files, in the order of the chain; the rest of the page is made after it is written."""
MIB_GB = 2**20 / 1e9
"""Snakemake's benchmarks count memory in MiB."""


def cost(results: Path) -> dict[str, Any] | None:
    """Cost over all rented machines, from the ledger; None when none was rented.

    Args:
        results: the folder of the configuration; the ledger, of all configurations, is in `.cloud` here or one above.

    Returns:
        ``cost_usd``, ``seconds`` and the number of ``machines``.
    """
    ledgers = [folder / ".cloud" / "ledger" for folder in (results, results.absolute().parent)]
    entries = [files.read_json(path) for folder in ledgers for path in sorted(folder.glob("*.json"))]
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
        Per stage, in the order of the chain: ``stage``, ``jobs``, ``seconds`` over all jobs, ``longest_s`` and
        ``peak_rss_gb`` (10^9 bytes) of one job.
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
            "peak_rss_gb": max(
                (float(row["max_rss"]) * MIB_GB for row in rows if _is_number(row["max_rss"])), default=None
            ),
        }
        for stage, rows in sorted(stages.items(), key=lambda item: _place(item[0]))
    ]


def _place(stage: str) -> tuple[int, str]:
    return STAGES.index(stage) if stage in STAGES else len(STAGES), stage


def _is_number(text: str) -> bool:
    """Snakemake writes ``NA`` or ``-`` for jobs that end before it has looked."""
    return text.replace(".", "", 1).isdigit()
