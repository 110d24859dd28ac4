"""Figures held against thresholds, and what follows from them in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blueprint.fidelity.keys import FIGURES, Figure
from blueprint.metrics.verdicts import ORDER, Verdict, worst

Limits = Mapping[str, Mapping[str, float]]


def judge(figure: Figure, value: float | None, limits: Mapping[str, float]) -> Verdict | None:
    """Verdict of one figure; None where there is no value or no threshold. A value that equals the threshold passes."""
    if value is None or not limits:
        return None
    sign = 1 if figure.better == "lower" else -1
    for verdict in ("fail", "warn"):
        if verdict in limits and sign * value > sign * limits[verdict]:
            return verdict
    return "pass"


def shown(figure: Figure, value: float | None) -> str:
    """A figure as people read it."""
    if value is None:
        return "\N{EN DASH}"
    if figure.percent:
        return f"{100 * value:.1f} %"
    return f"{value:.1f} {figure.unit}" if figure.unit else f"{value:.2f}"


def judged(values: Mapping[str, float | None], limits: Limits) -> list[dict[str, Any]]:
    """The figures with verdicts, the worst first and in the order of `FIGURES` else."""
    entries = [
        {
            "name": name,
            "title": figure.title,
            "value": None if values[name] is None else round(values[name], 6),
            "shown": shown(figure, values[name]),
            "verdict": judge(figure, values[name], limits.get(name, {})),
            **{key: limits.get(name, {}).get(key) for key in ("warn", "fail")},
        }
        for name, figure in FIGURES.items()
        if name in values
    ]
    return sorted(entries, key=lambda entry: -(1 + ORDER.index(entry["verdict"]) if entry["verdict"] else 0))


def scan_verdict(values: Mapping[str, float | None], limits: Limits) -> dict[str, Any]:
    """``verdict``, ``sentence`` and ``figures`` of a scan."""
    entries = judged(values, limits)
    verdict = worst(entry["verdict"] for entry in entries)
    bad = [entry for entry in entries if entry["verdict"] in ("warn", "fail")]
    if bad:
        reasons = "; ".join(f"{FIGURES[entry['name']].tells} ({entry['title']}: {entry['shown']})" for entry in bad)
        lead = "The scan is not worth enriching" if verdict == "fail" else "The scan has weaknesses"
        sentence = f"{lead}: {reasons}."
    elif any(entry["verdict"] for entry in entries if FIGURES[entry["name"]].needs_photos):
        sentence = "The scan holds up against its photos and hangs together."
    else:
        sentence = "The scan hangs together; it was not held against photos."
    return {"verdict": verdict, "sentence": sentence, "figures": entries}
