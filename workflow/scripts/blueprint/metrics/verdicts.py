"""Means and verdicts: scores summed up and held against thresholds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

from blueprint.metrics.catalogue import METRICS

Verdict = Literal["pass", "warn", "fail"]
ORDER: tuple[Verdict, ...] = ("pass", "warn", "fail")


def judge(name: str, value: float | None, threshold: dict[str, float]) -> Verdict | None:
    """Verdict of one score; None where there is no threshold or no value to judge.

    A value that equals the threshold passes it.
    """
    if value is None or not threshold:
        return None
    sign = 1 if METRICS[name].better == "higher" else -1
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
    sign = 1 if METRICS[name].better == "higher" else -1
    return min(defined, key=lambda pair: (sign * pair[0], pair[1]))[1]
