"""What every reader of scene files hands over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_GAUSSIANS = 40_000_000
SQRT_HALF = 0.5**0.5


@dataclass(frozen=True)
class Decoded:
    """N Gaussians as a file holds them, activated; values may be not finite and quaternions of any length."""

    format: str
    means: np.ndarray  # [N, 3]
    scales: np.ndarray  # [N, 3] standard deviations
    quats: np.ndarray  # [N, 4] w first
    opacities: np.ndarray  # [N] in 0-1
    sh: np.ndarray  # [N, K, 3] coefficients of red, green, blue


def counted(count: int) -> int:
    """The number of Gaussians that a header announces.

    Raises:
        ValueError: more than any renderer takes: the header is damaged or made to exhaust the memory.
    """
    if not 0 <= count <= MOST_GAUSSIANS:
        raise ValueError(f"its header announces {count:,} Gaussians; {MOST_GAUSSIANS:,} are read at most")
    return count


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Opacities of logits."""
    with np.errstate(over="ignore"):  # an overflow becomes opacity 0, as it should
        return 1 / (1 + np.exp(-logits))


def exp(logarithms: np.ndarray) -> np.ndarray:
    """Standard deviations of their logarithms."""
    with np.errstate(over="ignore"):  # an overflow becomes infinite and is counted as such
        return np.exp(logarithms)
