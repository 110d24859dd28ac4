"""Scenes from files: 3DGS PLY, compressed PLY and SPZ, decoded by gsply, activated, cleaned of what cannot be drawn.

Axes stay those of the file: in a PLY whatever the capture software chose (INRIA's own: y down), in SPZ y up by its
specification.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gsply
import numpy as np
from gsply.spz import read_spz

from blueprint.errors import UserError
from blueprint.ply import check_layout
from blueprint.splat.scene import Splat

# A scan may lose this share of its Gaussians to values that cannot be drawn; with more it is refused.
MAX_UNUSABLE_SHARE = 0.01
HUGE_SCALE_M = 1000.0
POINT_SCALE_M = 1e-6
VISIBLE_OPACITY = 1 / 255  # what rasterizers skip
ROBUST_PERCENTILES = (1, 99)
SPZ_MAGIC = (b"\x1f\x8b", b"NGSP")


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


def load(path: Path) -> Splat:
    """Read a scene.

    Raises:
        UserError: absent, not a Gaussian splat, damaged, empty, or with too many values that cannot be drawn.
    """
    return survey(path)[0]


def survey(path: Path) -> tuple[Splat, Survey]:
    """Read a scene and count what was found in it.

    Raises:
        UserError: as `load`.
    """
    kind, data = _decode(path)
    with np.errstate(over="ignore"):  # an overflow becomes infinite and is counted below
        scales = np.exp(data.scales)
        opacities = 1 / (1 + np.exp(-data.opacities.reshape(-1)))
    quats = np.array(data.quats)
    colours = [data.sh0[:, None, :]] if data.shN is None else [data.sh0[:, None, :], data.shN]
    sh = np.concatenate(colours, axis=1)

    norms = np.linalg.norm(quats, axis=1)
    not_finite = ~(
        np.isfinite(data.means).all(axis=1)
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
    means = data.means[keep]
    quats /= norms[:, None]
    splat = Splat(*(np.ascontiguousarray(array, dtype=np.float32) for array in (means, scales, quats, opacities, sh)))
    invisible = int((opacities < VISIBLE_OPACITY).sum())
    if invisible == len(splat):
        raise UserError(f"{path}: all of its {total} Gaussians are transparent (opacity below 1/255). Train it again.")
    low, high = np.percentile(means, ROBUST_PERCENTILES, axis=0)
    return splat, Survey(
        format=kind,
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


def _decode(path: Path) -> tuple[str, gsply.GSData]:
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
    except OSError as error:
        raise UserError(
            f"{path}: the scene cannot be read ({error.strerror}). Correct `scene` or bring the file."
        ) from error
    if head.startswith(SPZ_MAGIC):
        try:
            data = read_spz(path)
        except (ValueError, OSError, EOFError) as error:
            raise UserError(f"{path}: is no readable SPZ file ({error}).") from error
        if len(data) == 0:
            raise UserError(f"{path}: holds no Gaussians.")
        return "SPZ", data
    if head[:4].strip() != b"ply":
        raise UserError(
            f"{path}: is neither a PLY nor an SPZ file: it starts with {head[:24]!r}."
            + (" It is a Git LFS pointer: run `git lfs pull`." if b"git-lfs" in head else "")
        )
    layout = check_layout(path)
    try:
        return layout, gsply.plyread(path)
    except ValueError as error:
        raise UserError(f"{path}: a {layout} that cannot be decoded ({error}).") from error


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
