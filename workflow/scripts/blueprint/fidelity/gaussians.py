"""What the Gaussians of a scan tell by themselves: whether they lie on surfaces, agree in colour and hang together.

All lengths are held against the Gaussians' own sizes, so that no figure depends on the unit of the scene.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from blueprint.splat import Splat

VISIBLE_OPACITY = 0.3
NEIGHBOURS = 8
SAMPLE_SIZE = 20_000
TOUCHING_SIZES = 2.0  # sums of sizes up to which two Gaussians hang together
FLOATER_SHARE = 0.002  # of the visible Gaussians: smaller groups may be floaters
FLOATING_SIZES = 6.0  # sums of sizes that a floater keeps to everything larger
NEEDLE_ASPECT = 8.0
SH0 = 0.28209479177387814


@dataclass(frozen=True)
class Coherence:
    """What was found; N counts the Gaussians of the scene."""

    scatter: float
    """Median distance from a Gaussian to the nearest other, in its own sizes. Where training has laid a surface,
    Gaussians overlap: below 1."""
    colour_noise: float
    """Mean colour difference of neighbours over that of any two Gaussians: 1 when colours are put at random."""
    floater: np.ndarray  # [N] bool, in a small group that touches nothing else
    smear_m: np.ndarray  # [N] float32, length by which a Gaussian smears what is seen through it

    @property
    def floaters(self) -> float:
        """Share of the Gaussians that are floaters."""
        return float(self.floater.mean())


def coherence(splat: Splat, seed: int = 0) -> Coherence:
    """Look at every Gaussian's neighbours."""
    longest, middle, shortest = np.sort(splat.scales, axis=1).T[::-1]
    size = np.sqrt(longest * middle)
    visible = np.flatnonzero(splat.opacities >= VISIBLE_OPACITY)
    needle = longest > NEEDLE_ASPECT * middle
    smear_m = np.where(needle, longest, shortest)
    floater = np.zeros(len(splat), bool)
    if len(visible) <= NEIGHBOURS:
        return Coherence(0.0, 0.0, floater, smear_m)

    away, near = cKDTree(splat.means[visible]).query(splat.means[visible], k=NEIGHBOURS + 1)
    away, near = away[:, 1:], visible[near[:, 1:]]
    random = np.random.default_rng(seed)
    some = random.permutation(len(visible))[:SAMPLE_SIZE]
    colours = splat.sh[:, 0] * SH0
    apart = np.abs(colours[near[some]] - colours[visible[some], None]).mean()
    at_random = np.abs(colours[random.permutation(visible)[: len(some)]] - colours[visible[some]]).mean()
    floater[visible] = _floating(splat.means[visible], away, near, size, visible)
    return Coherence(
        scatter=float(np.median(away[some, 0] / size[visible[some]])),
        colour_noise=float(apart / max(at_random, 1e-9)),
        floater=floater,
        smear_m=smear_m.astype(np.float32),
    )


def _floating(
    centres: np.ndarray, away: np.ndarray, near: np.ndarray, size: np.ndarray, visible: np.ndarray
) -> np.ndarray:
    """Whether visible Gaussians [V] belong to a small group that hangs in the air.

    Args:
        centres: [V, 3].
        away, near: distances to the nearest neighbours and their numbers among all N Gaussians, [V, 8].
        size: [N].
        visible: numbers [V].
    """
    count = len(visible)
    number = np.full(len(size), -1)
    number[visible] = np.arange(count)
    touching = away < TOUCHING_SIZES * (size[visible, None] + size[near])
    links = coo_array(
        (np.ones(touching.sum(), bool), (np.nonzero(touching)[0], number[near[touching]])), shape=(count, count)
    )
    _, group = connected_components(links, directed=False)
    small = np.bincount(group)[group] < max(2, FLOATER_SHARE * count)
    if small.all() or not small.any():
        return np.zeros(count, bool)
    # A crumb on a table is no floater: it is near to something large.
    gap, larger = cKDTree(centres[~small]).query(centres[small])
    gap = gap / (size[visible[small]] + size[visible[~small][larger]])
    least = np.full(group.max() + 1, np.inf)
    np.minimum.at(least, group[small], gap)
    return small & (least[group] > FLOATING_SIZES)
