"""Means and verdicts: scores summed up and held against thresholds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

from blueprint.metrics.catalogue import METRICS

Verdict = Literal["pass", "warn", "fail"]
ORDER: tuple[Verdict, ...] = ("pass", "warn", "fail")


def judge(name: str, value: float | None, threshold: dict[str, float]) -> Verdict | None:
    """Verdict of one score; None where there is no threshold or no value to judge.

    A value that equals the threshold passes it.
    """
    if value is None or not threshold:
        return None
    sign = METRICS[name].sign
    for verdict in ("fail", "warn"):
        if verdict in threshold and sign * value < sign * threshold[verdict]:
            return verdict
    return "pass"


def worst(verdicts: Iterable[Verdict | None]) -> Verdict | None:
    """The worst verdict; None when there is none."""
    given = [verdict for verdict in verdicts if verdict]
    return max(given, key=ORDER.index) if given else None


def mean_of(values: list[float | None]) -> float | None:
    """Mean of the values that are defined, or None when none is."""
    defined = [value for value in values if value is not None]
    return round(math.fsum(defined) / len(defined), 6) if defined else None


def worst_frame(name: str, values: list[float | None]) -> int | None:
    """Index of the frame with the worst value of a score; None when no frame has a value."""
    defined = [(value, index) for index, value in enumerate(values) if value is not None]
    if not defined:
        return None
    sign = METRICS[name].sign
    return min(defined, key=lambda pair: (sign * pair[0], pair[1]))[1]


WORDS = {"warn": "warns", "fail": "fails"}


def cause_of(scores: dict[str, dict[str, Any]], details: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What a person is told of a variant: one sentence, and where to look.

    The first score of the worst verdict is the cause: the catalogue lists those first that explain others (a variant
    that lags is displaced too).

    Args:
        scores: per score its ``verdict``, ``mean`` and ``worst_frame``.
        details: what the scores told beside their values (`ClipScore.details`).

    Returns:
        ``sentence``; and ``cause``: None, or the ``metric``, the ``frame`` to look at, the ``window`` (first and last
        frame) and ``where`` in the frame (left, top, right, bottom as shares), each None where it is not known.
    """
    whole = worst(entry["verdict"] for entry in scores.values())
    beyond = [name for name in METRICS if name in scores and scores[name]["verdict"] == whole]
    if whole not in WORDS:
        return {"sentence": "passes" if whole else "not judged", "cause": None}
    first, *others = beyond
    told = details.get(first, {})
    title, unit = METRICS[first].title, METRICS[first].unit
    says = told.get("says") or " ".join(filter(None, (title.lower(), "of", f"{scores[first]['mean']:.3g}", unit)))
    also = f" (also {', '.join(METRICS[name].title.lower() for name in others)})" if others else ""
    cause = {"metric": first, "frame": scores[first]["worst_frame"]}
    cause |= {key: told.get(key) for key in ("window", "where")}
    return {"sentence": f"{WORDS[whole]}: {says}{also}", "cause": cause}
