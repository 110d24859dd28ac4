"""Choosing among many candidate paths at once."""

from __future__ import annotations

import numpy as np

from blueprint.cameras.base import Offset

SAMPLES = 33  # places at which a candidate path is tried
ENDS = [0, SAMPLES // 2, -1]  # of these, the places at which it is looked around
SHORTLIST = 120


def along(count: int, closed: bool = False) -> np.ndarray:
    """Positions [count] of frames along a path, 0 to 1; a closed path does not repeat its first frame."""
    return np.linspace(0, 1, count, endpoint=not closed) if count > 1 else np.full(1, 0.0 if closed else 0.5)


def combinations(*choices: np.ndarray) -> tuple[np.ndarray, ...]:
    """All combinations of choices [A, ...], [B, ...]: one array [A * B * ..., ...] for each."""
    grids = np.meshgrid(*(np.arange(len(choice)) for choice in choices), indexing="ij")
    return tuple(choice[grid.ravel()] for choice, grid in zip(choices, grids, strict=True))


def shortlist(
    free: np.ndarray, worth: np.ndarray, headings: np.ndarray, offset: Offset
) -> tuple[np.ndarray, np.ndarray]:
    """The most promising free candidates: their numbers [M] and worth [M], 0 to 1.

    Args:
        free: whether a candidate [N] can be flown at all; at least one can.
        worth: preference [N], higher is better.
        headings: direction [N] of each candidate, radians: later clips of a path prefer different ones.
        offset: what sets this clip apart.
    """
    members = np.flatnonzero(free)
    span = max(float(np.ptp(worth[members])), 1e-9)
    value = (worth[members] - worth[members].min()) / span
    if offset.random is not None:
        value = value * offset.random.uniform(0.6, 1.0, len(value)) + 0.5 * np.cos(headings[members] - offset.turn_rad)
    best = np.argsort(-value, kind="stable")[:SHORTLIST]
    return members[best], value[best]


def scaled(values: np.ndarray) -> np.ndarray:
    """Values [N] from 0 up, scaled so that the highest is 1."""
    return values / max(float(values.max()), 1e-9)
