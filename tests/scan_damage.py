"""Scans with damage of known kind."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from blueprint.splat import Splat


def part(scan: Splat, keep: np.ndarray) -> Splat:
    """The Gaussians of a scan for which ``keep`` [N] is true."""
    arrays = {field.name: getattr(scan, field.name) for field in fields(Splat)}
    return replace(scan, **{name: array[keep] for name, array in arrays.items() if isinstance(array, np.ndarray)})


def without_blocks(scan: Splat, share: float = 0.58, block_m: float = 0.8) -> Splat:
    """The scan without a share of its Gaussians, deleted in whole blocks."""
    _, block = np.unique(np.floor(scan.means / block_m).astype(int), axis=0, return_inverse=True)
    block = block.ravel()
    counts = np.bincount(block)
    order = np.random.default_rng(0).permutation(len(counts))
    gone = order[: np.searchsorted(np.cumsum(counts[order]), share * len(scan))]
    return part(scan, ~np.isin(block, gone))


def jittered(scan: Splat, by_m: float = 0.03) -> Splat:
    """The scan with every Gaussian moved at random."""
    moved = scan.means + np.random.default_rng(1).normal(0, by_m, scan.means.shape)
    return replace(scan, means=moved.astype(np.float32))


def shuffled(scan: Splat, share: float = 1 / 3) -> Splat:
    """The scan with the colours of a share of its Gaussians exchanged among them."""
    random = np.random.default_rng(2)
    some = np.flatnonzero(random.random(len(scan)) < share)
    sh = scan.sh.copy()
    sh[some] = scan.sh[random.permutation(some)]
    return replace(scan, sh=sh)


def ruined(scan: Splat) -> Splat:
    """All three."""
    return shuffled(jittered(without_blocks(scan)))


def figure(found: dict, name: str) -> dict:
    """One figure of a judged scan by its name."""
    return next(entry for entry in found["scan"]["figures"] if entry["name"] == name)
