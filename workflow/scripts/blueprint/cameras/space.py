"""Where matter is and where a camera may be: an occupancy grid of the scene in the level frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from scipy import ndimage

from blueprint.axes import moved
from blueprint.splat import Splat
from blueprint.splat.scene import axes_of

FINEST_VOXEL_M = 0.05
MAX_VOXELS = 6_000_000
MARGIN_M = 0.3
SOLID_COVERAGE = 0.4  # of a voxel's face
LEAST_SOLID_VOXELS = 8  # smaller clumps are floaters, as every scan has them
LEAST_OPACITY = 0.05
BOUNDS_PERCENTILES = (0.2, 99.8)
SPAN_SIGMAS = 1.5
MAX_SAMPLES_PER_AXIS = 33
FAR_M = 1e6
SAMPLE_SIZE = 30_000
DIAGONAL = 3**0.5
DETAIL_SAMPLES = 6000
DETAIL_RANGE_M = 8.0
SH0 = 0.28209479177387814


@dataclass(frozen=True)
class Space:
    """The occupancy grid: voxel (i, j, k) covers ``origin + voxel_m * [i, i + 1]`` and so on, level frame."""

    origin: np.ndarray  # [3] metres
    voxel_m: float
    solid: np.ndarray  # [X, Y, Z] bool
    distance_m: np.ndarray  # [X, Y, Z] float32, from the voxel's centre to the nearest solid voxel's
    sample: np.ndarray  # [N, 3] an even sample of the centres of visible Gaussians within the grid, level frame
    sample_rgb: np.ndarray  # [N, 3] their colours of degree 0, in 0-1
    low: np.ndarray  # [3] robust bounds of the matter, metres
    high: np.ndarray  # [3]

    def clearance_m(self, points: np.ndarray) -> np.ndarray:
        """Distance [...] from points [..., 3] to solid matter, to a voxel; a lower bound outside the grid."""
        index = np.floor((points - self.origin) / self.voxel_m).astype(int)
        inside = np.clip(index, 0, np.array(self.solid.shape) - 1)
        beyond_m = np.linalg.norm((index - inside) * self.voxel_m, axis=-1)
        return np.maximum(self.distance_m[tuple(np.moveaxis(inside, -1, 0))], beyond_m)

    def view_depth_m(self, eyes: np.ndarray, directions: np.ndarray, limit_m: float) -> np.ndarray:
        """Distance [...] from eyes [..., 3] along unit directions [..., 3] to solid matter, at most ``limit_m``.

        A ray that leaves the grid sees nothing more. Rays advance as far as the distance to matter allows (Hart 1996,
        sphere tracing), and by a voxel at least.
        """
        eyes, directions = np.broadcast_arrays(eyes, directions)
        start, heading = eyes.reshape(-1, 3), directions.reshape(-1, 3)
        depth_m = np.full(len(start), limit_m)
        going, gone_m = np.arange(len(start)), np.zeros(len(start))
        while going.size:
            index = np.floor((start[going] + gone_m[going, None] * heading[going] - self.origin) / self.voxel_m).astype(
                int
            )
            inside = ((index >= 0) & (index < self.solid.shape)).all(axis=1)
            going, index = going[inside], index[inside]
            free_m = self.distance_m[tuple(index.T)]
            hit = free_m == 0
            depth_m[going[hit]] = gone_m[going[hit]]
            going, free_m = going[~hit], free_m[~hit]
            gone_m[going] += np.maximum(free_m - DIAGONAL * self.voxel_m, self.voxel_m)
            going = going[gone_m[going] < limit_m]
        return depth_m.reshape(eyes.shape[:-1])

    def detail(self, eyes: np.ndarray, forwards: np.ndarray, fov_x_rad: float) -> np.ndarray:
        """Share [N] of the scene's Gaussians before cameras at ``eyes`` [N, 3] looking along ``forwards`` [N, 3].

        Training puts Gaussians where there is detail, so this tells a furnished corner from a bare wall.
        """
        sample = self.sample[:: max(1, len(self.sample) // DETAIL_SAMPLES)]
        apart = sample[None] - eyes[:, None]
        distance_m = np.linalg.norm(apart, axis=-1)
        ahead = np.einsum("nsk,nk->ns", apart, forwards)
        return ((ahead > np.cos(fov_x_rad / 2) * distance_m) & (distance_m < DETAIL_RANGE_M)).mean(axis=1)


def survey_space(splat: Splat, level: np.ndarray) -> Space:
    """Build the occupancy grid of a scene.

    A Gaussian of opacity o whose largest standard deviations are a and b covers an area of 2 pi a b o. That area is
    spread over the voxels it reaches; a voxel is solid when enough of its face is covered.

    Args:
        splat: the scene.
        level: [4, 4] from the world to the level frame.
    """
    visible = splat.opacities >= LEAST_OPACITY
    means = moved(splat.means[visible], level)
    low, high = np.percentile(means, BOUNDS_PERCENTILES, axis=0)
    margin = np.maximum(MARGIN_M, 0.05 * (high - low))
    origin, end = low - margin, high + margin
    voxel_m = max(FINEST_VOXEL_M, float(np.prod(end - origin) / MAX_VOXELS) ** (1 / 3))
    shape = np.ceil((end - origin) / voxel_m).astype(int)

    within = ((means > origin) & (means < end)).all(axis=1)
    means = means[within]
    chosen = np.flatnonzero(visible)[within]
    axes = principal_axes(splat.quats[chosen], splat.scales[chosen]) @ level[:3, :3].T.astype(np.float32)
    coverage = _coverage(means, axes, splat.opacities[chosen], origin, voxel_m, tuple(shape))
    solid = _without_floaters(coverage >= SOLID_COVERAGE)
    distance_m = _distance_to(solid, voxel_m)
    every = slice(None, None, max(1, len(means) // SAMPLE_SIZE))
    rgb = np.clip(0.5 + SH0 * splat.sh[chosen[every], 0], 0, 1)
    return Space(origin, voxel_m, solid, distance_m, means[every], rgb, low, high)


def principal_axes(quats: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """The two longest principal axes [N, 2, 3] of Gaussians, longest first, as long as their standard deviations."""
    order = np.argsort(-scales, axis=1)[:, :2]
    return np.take_along_axis(axes_of(quats), order[..., None], 1) * np.take_along_axis(scales, order, 1)[..., None]


def _coverage(
    means: np.ndarray,
    axes: np.ndarray,
    opacities: np.ndarray,
    origin: np.ndarray,
    voxel_m: float,
    shape: tuple[int, ...],
) -> np.ndarray:
    """Covered area of each voxel, in voxel faces."""
    lengths = np.linalg.norm(axes, axis=2)
    area = 2 * np.pi * lengths[:, 0] * lengths[:, 1] * opacities / voxel_m**2
    # As many samples along an axis as keep them within a voxel of each other, up to a limit.
    samples = np.clip(np.ceil(2 * SPAN_SIGMAS * lengths[:, 0] / voxel_m), 1, MAX_SAMPLES_PER_AXIS).astype(np.int64)
    coverage = np.zeros(shape, dtype=np.float32)
    _spread(coverage, (means - origin) / voxel_m, axes / voxel_m, area, samples)
    return coverage


@numba.njit(cache=True)
def _spread(coverage: np.ndarray, means: np.ndarray, axes: np.ndarray, areas: np.ndarray, samples: np.ndarray) -> None:
    """Add areas [N] to the voxels that Gaussians reach; means [N, 3] and axes [N, 2, 3] are in voxels."""
    for number in range(len(means)):
        count = samples[number]
        step = 2 * SPAN_SIGMAS / count
        total = 0.0
        for i in range(count):
            total += math.exp(-(((i + 0.5) * step - SPAN_SIGMAS) ** 2) / 2)
        for i in range(count):
            u = (i + 0.5) * step - SPAN_SIGMAS
            for j in range(count):
                v = (j + 0.5) * step - SPAN_SIGMAS
                x = math.floor(means[number, 0] + u * axes[number, 0, 0] + v * axes[number, 1, 0])
                y = math.floor(means[number, 1] + u * axes[number, 0, 1] + v * axes[number, 1, 1])
                z = math.floor(means[number, 2] + u * axes[number, 0, 2] + v * axes[number, 1, 2])
                if 0 <= x < coverage.shape[0] and 0 <= y < coverage.shape[1] and 0 <= z < coverage.shape[2]:
                    coverage[x, y, z] += areas[number] * math.exp(-(u * u + v * v) / 2) / total**2


def _without_floaters(solid: np.ndarray) -> np.ndarray:
    labels, _ = ndimage.label(solid, structure=np.ones((3, 3, 3)))
    large = np.bincount(labels.ravel()) >= LEAST_SOLID_VOXELS
    large[0] = False
    return large[labels]


def _distance_to(solid: np.ndarray, voxel_m: float) -> np.ndarray:
    if not solid.any():
        return np.full(solid.shape, FAR_M, dtype=np.float32)
    return (ndimage.distance_transform_edt(~solid) * voxel_m).astype(np.float32)
