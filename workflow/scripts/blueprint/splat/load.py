"""Scenes from files: decoded, activated, cleaned of what cannot be drawn.

Axes stay those of the file: in a PLY whatever the capture software chose (INRIA's own: y down), in SPZ y up by its
specification.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.errors import UserError
from blueprint.splat.decode import decode
from blueprint.splat.scene import Splat
from blueprint.splat.tags import antialiased

# A scan may lose this share of its Gaussians to values that cannot be drawn; with more it is refused.
MAX_UNUSABLE_SHARE = 0.01
HUGE_SCALE_M = 1000.0
POINT_SCALE_M = 1e-6
VISIBLE_OPACITY = 1 / 255  # what rasterizers skip
ROBUST_PERCENTILES = (1, 99)


@dataclass(frozen=True)
class Survey:
    """What was found in a scene file; counts are of Gaussians, lengths in metres."""

    format: str
    gaussians: int
    """All that the file holds."""
    usable: int
    sh_degree: int
    not_finite: int
    """With a NaN or an infinite value; dropped."""
    zero_quaternions: int
    """Without a direction; dropped."""
    huge: int
    """Of a kilometre or more; dropped."""
    points: int
    """Thinner than a micrometre in every direction; drawn as dots."""
    invisible: int
    """Of an opacity that no rasterizer draws."""
    lowest_m: tuple[float, float, float]
    highest_m: tuple[float, float, float]
    robust_lowest_m: tuple[float, float, float]
    """1st percentile of the centres; `robust_highest_m` is the 99th."""
    robust_highest_m: tuple[float, float, float]

    def to_json(self) -> dict[str, Any]:
        """The survey as a JSON object."""
        return asdict(self)


def load(path: Path, metres_per_unit: float = 1.0) -> Splat:
    """Read a scene, whose file has units of a length in metres.

    Raises:
        UserError: absent, not a Gaussian splat, damaged, empty, or with too many values that cannot be drawn.
    """
    return survey(path, metres_per_unit)[0]


def survey(path: Path, metres_per_unit: float = 1.0) -> tuple[Splat, Survey]:
    """Read a scene and count what was found in it; lengths are in metres, whatever the units of its file.

    Raises:
        UserError: as `load`.
    """
    data = decode(path)
    means, scales = data.means * np.float32(metres_per_unit), data.scales * np.float32(metres_per_unit)
    quats, opacities, sh = np.array(data.quats), data.opacities, data.sh
    norms = np.linalg.norm(quats, axis=1)
    not_finite = ~(
        np.isfinite(means).all(axis=1)
        & np.isfinite(scales).all(axis=1)
        & np.isfinite(norms)
        & np.isfinite(opacities)
        & np.isfinite(sh).all(axis=(1, 2))
    )
    zero = ~not_finite & (norms < 1e-8)
    huge = ~not_finite & ~zero & (scales.max(axis=1) >= HUGE_SCALE_M)
    keep = ~(not_finite | zero | huge)
    counts = {"not_finite": int(not_finite.sum()), "zero_quaternions": int(zero.sum()), "huge": int(huge.sum())}
    total = len(keep)
    _refuse_unusable(path, total, counts)

    if not keep.all():
        scales, quats, norms, opacities, sh = scales[keep], quats[keep], norms[keep], opacities[keep], sh[keep]
    means = means[keep]
    quats /= norms[:, None]
    splat = Splat(
        *(np.ascontiguousarray(array, dtype=np.float32) for array in (means, scales, quats, opacities, sh)),
        antialiased=antialiased(path),
    )
    invisible = int((opacities < VISIBLE_OPACITY).sum())
    if invisible == len(splat):
        raise UserError(f"{path}: all of its {total} Gaussians are transparent (opacity below 1/255). Train it again.")
    low, high = np.percentile(means, ROBUST_PERCENTILES, axis=0)
    return splat, Survey(
        format=data.format,
        gaussians=total,
        usable=len(splat),
        sh_degree=splat.sh_degree,
        **counts,
        points=int((scales.max(axis=1) < POINT_SCALE_M).sum()),
        invisible=invisible,
        lowest_m=_rounded(means.min(axis=0)),
        highest_m=_rounded(means.max(axis=0)),
        robust_lowest_m=_rounded(low),
        robust_highest_m=_rounded(high),
    )


def _refuse_unusable(path: Path, total: int, counts: dict[str, int]) -> None:
    share = sum(counts.values()) / total
    if share > MAX_UNUSABLE_SHARE:
        raise UserError(
            f"{path}: {share:.1%} of {total} Gaussians cannot be drawn ({counts['not_finite']} with NaN or infinite "
            f"values, {counts['zero_quaternions']} with a zero quaternion, {counts['huge']} of a kilometre or larger; "
            f"{MAX_UNUSABLE_SHARE:.0%} are tolerated). The training diverged or the file is damaged."
        )


def _rounded(vector: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (round(float(value), 4) for value in vector)
    return x, y, z
