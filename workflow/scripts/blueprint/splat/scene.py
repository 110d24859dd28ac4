"""The scene as every stage holds it: activated Gaussians in metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Splat:
    """N Gaussians, activated (no logarithms, no logits), in the scene's own axes and in metres.

    All arrays are float32 and C-contiguous.
    """

    means: np.ndarray  # [N, 3] metres
    scales: np.ndarray  # [N, 3] standard deviations, metres
    quats: np.ndarray  # [N, 4] unit quaternions, w first
    opacities: np.ndarray  # [N] in 0-1
    sh: np.ndarray  # [N, K, 3] coefficients of red, green, blue; K = (SH degree + 1) ** 2
    antialiased: bool | None = None
    """Whether it was trained to be drawn antialiased, where the file says."""

    @property
    def sh_degree(self) -> int:
        """Degree of the spherical harmonics, 0 to 3."""
        return round(self.sh.shape[1] ** 0.5) - 1

    def __len__(self) -> int:
        return len(self.means)


def axes_of(quats: np.ndarray) -> np.ndarray:
    """The axes of Gaussians: unit vectors [N, 3, 3], the first index after N being that of the scale."""
    w, x, y, z = quats.T
    return np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], axis=-1),
            np.stack([2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)], axis=-1),
            np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], axis=-1),
        ],
        axis=1,
    )
