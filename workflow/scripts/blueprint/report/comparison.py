"""The same scores of two runs side by side."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

from blueprint import files
from blueprint.metrics.catalogue import METRICS
from blueprint.report.page import embedded, environment

LEAST_DIFFERENCE = 1e-4
"""The accuracy of the scores."""
CHANGES = ("worse", "better", "same", "only now", "only then", "undefined")
KEY = ("facility", "clip", "variant", "metric")
COLUMNS = (*KEY, "baseline", "current", "difference", "change", "verdict_then", "verdict_now")


def compare(current: list[dict[str, Any]], baseline: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per facility, clip, variant and score that either run has, what got worse first.

    Args:
        current: summaries of this run's facilities.
        baseline: summaries of the other run's.
    """
    now, then = _scores(current), _scores(baseline)
    rows = []
    for key in dict.fromkeys([*now, *then]):
        new, old = now.get(key), then.get(key)
        values = [entry and entry["mean"] for entry in (old, new)]
        difference = None if None in values else round(values[1] - values[0], 6)
        rows.append(
            {
                **dict(zip(KEY, key, strict=True)),
                "baseline": values[0],
                "current": values[1],
                "difference": difference,
                "change": _change(key[3], old, new, difference),
                "verdict_then": old and old["verdict"],
                "verdict_now": new and new["verdict"],
            }
        )
    return sorted(rows, key=lambda row: CHANGES.index(row["change"]))


def _scores(summaries: list[dict[str, Any]]) -> dict[tuple[str, str, str, str], dict[str, Any]]:
    return {
        (summary["facility"], clip, variant, name): score
        for summary in summaries
        for clip, variants in summary["clips"].items()
        for variant, entry in variants.items()
        for name, score in entry["scores"].items()
    }


def _change(name: str, old: dict[str, Any] | None, new: dict[str, Any] | None, difference: float | None) -> str:
    if old is None or new is None:
        return "only now" if old is None else "only then"
    if difference is None:
        return "undefined"
    if abs(difference) < LEAST_DIFFERENCE:
        return "same"
    return "better" if METRICS[name].sign * difference > 0 else "worse"


def as_csv(rows: list[dict[str, Any]]) -> str:
    """The rows as CSV."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def write_comparison(
    page: Path, table: Path, current: list[dict[str, Any]], baseline: list[dict[str, Any]], spec: dict[str, Any]
) -> None:
    """Write page and table; the files appear whole.

    Args:
        page: HTML to write.
        table: CSV to write.
        current: summaries of this run's facilities.
        baseline: summaries of the other run's.
        spec: ``title`` and the folder of the ``baseline``.
    """
    rows = compare(current, baseline)
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row["facility"], Counter())[row["change"]] += 1
    then, now = (
        ", ".join(sorted({commit[:10] for summary in summaries for commit in summary["run"]["commits"]}))
        for summaries in (baseline, current)
    )
    context = {
        "title": f"{spec['title']}: compared",
        "lead": f"This run against the results in {spec['baseline']} (made at commit {then}).",
        "commit": now,
        "facilities": {
            facility: {change: count[change] for change in CHANGES if count[change]}
            for facility, count in counts.items()
        },
        "changes": CHANGES,
        "rows": [{**row, "title": METRICS[row["metric"]].title, "unit": METRICS[row["metric"]].unit} for row in rows],
        "least": LEAST_DIFFERENCE,
        "css": embedded("report.css"),
        "js": embedded("common.js"),
    }
    files.write_text(page, environment().get_template("compare.html").render(context))
    files.write_text(table, as_csv(rows))
