"""Sum up a facility: its scores as one tidy table, its verdicts, and where they come from."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from blueprint import files
from blueprint.metrics.catalogue import METRICS
from blueprint.metrics.provenance import provenance_of
from blueprint.metrics.verdicts import ORDER, cause_of, judge, mean_of, worst, worst_frame

COLUMNS = pa.schema(
    [
        *((name, pa.string()) for name in ("facility", "clip", "variant", "metric")),
        *(("mean", pa.float64()), ("worst", pa.float64()), ("worst_frame", pa.int64())),
        *(("unit", pa.string()), ("better", pa.string())),
        *(("warn", pa.float64()), ("fail", pa.float64()), ("verdict", pa.string())),
    ]
)
"""Of the table, which has one row per clip, variant and metric."""


def summarize(results: Path, spec: dict[str, Any]) -> dict[str, Any]:
    """Verdicts of a facility with everything that led to them.

    Args:
        results: the folder ``results``.
        spec: ``facility``; names of its ``clips``, ``variants`` and scores (``names``); ``thresholds``;
            ``configuration_digest``; ``environment_digests``.

    Raises:
        UserError: a file of the results cannot be read.
    """
    folder = results / spec["facility"]
    thresholds = {name: limits for name, limits in spec["thresholds"].items() if limits}
    clips = {}
    for clip in spec["clips"]:
        clips[clip] = {
            variant: summarize_variant(files.read_json(folder / "metrics" / clip / f"{variant}.json"), thresholds)
            for variant in spec["variants"]
        }
    origin, run = provenance_of(folder, spec["clips"], spec["variants"])
    return {
        "facility": spec["facility"],
        "clips": clips,
        "variants": {variant: _over_clips([clips[clip][variant] for clip in clips]) for variant in spec["variants"]},
        **_over_clips([entry for variants in clips.values() for entry in variants.values()]),
        "thresholds": thresholds,
        "metrics": {name: METRICS[name].description() for name in spec["names"]},
        "diversity": {clip: files.read_json(folder / "diversity" / f"{clip}.json") for clip in spec["clips"]},
        "not_judged": _not_judged(spec["names"], thresholds, clips),
        "provenance": {
            **origin,
            "configuration_digest": spec["configuration_digest"],
            "environment_digests": spec["environment_digests"],
        },
        "run": run,
    }


def summarize_variant(scores: dict[str, Any], thresholds: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Verdict, sentence and cause of a variant, and each score's mean, worst frame and verdict.

    Args:
        scores: as `blueprint.metrics.score.score` returns them.
        thresholds: ``warn`` and ``fail`` by score; those that are absent are not judged.
    """
    entries = {}
    for name in scores["names"]:
        mean = scores["mean"][name]
        values = scores["frames"][name]
        told = scores["details"].get(name, {}).get("worst_frame")
        frame = worst_frame(name, values) if values and told is None else told
        entries[name] = {
            "mean": mean,
            "worst": values[frame] if values and frame is not None else None,
            "worst_frame": frame,
            "verdict": judge(name, mean, thresholds.get(name, {})),
        }
    verdict = worst(entry["verdict"] for entry in entries.values())
    return {"verdict": verdict, **cause_of(entries, scores["details"]), "scores": entries}


def _over_clips(entries: list[dict[str, Any]]) -> dict[str, Any]:
    counts = Counter(entry["verdict"] for entry in entries)
    names = entries[0]["scores"]
    return {
        "verdict": worst(entry["verdict"] for entry in entries),
        "counts": {verdict: counts[verdict] for verdict in ORDER},
        "mean": {name: mean_of([entry["scores"][name]["mean"] for entry in entries]) for name in names},
    }


def _not_judged(names: list[str], thresholds: dict[str, Any], clips: dict[str, Any]) -> list[dict[str, str]]:
    """What took no part in the verdicts, and why: nothing is left out in silence."""
    skipped = [
        {"what": f"threshold of {name}", "why": f"{name} is not among metrics.names"}
        for name in sorted(set(thresholds) - set(names))
    ]
    for clip, variants in clips.items():
        for variant, entry in variants.items():
            skipped += [
                {"what": f"{name} of {clip}/{variant}", "why": "undefined on every frame (see docs/metrics.md)"}
                for name, score in entry["scores"].items()
                if score["mean"] is None
            ]
    return skipped


def rows_of(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The scores as tidy rows: one per clip, variant and metric, with the keys of `COLUMNS`; None where undefined."""
    return [
        {
            "facility": summary["facility"],
            "clip": clip,
            "variant": variant,
            "metric": name,
            **score,
            "unit": METRICS[name].unit or None,
            "better": METRICS[name].better,
            **{key: summary["thresholds"].get(name, {}).get(key) for key in ("warn", "fail")},
        }
        for clip, variants in summary["clips"].items()
        for variant, entry in variants.items()
        for name, score in entry["scores"].items()
    ]


def as_csv(summary: dict[str, Any]) -> str:
    """The table as CSV; empty where a value is undefined."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS.names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows_of(summary))
    return stream.getvalue()


def write_parquet(target: Path, summary: dict[str, Any]) -> None:
    """Write the same table as Parquet, typed; null where a value is undefined. The file appears whole."""
    with files.whole_file(target) as part:
        parquet.write_table(pa.Table.from_pylist(rows_of(summary), schema=COLUMNS), part)
