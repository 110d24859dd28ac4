"""Projection of Gaussians in PyTorch, on any device: for the reference, and for lenses on the GPU.

The 2D Gaussian of a lens is that of a pinhole with the Jacobian of the bent projection. gsplat 1.5.3's own answer for
lenses, an unscented transform, drops Gaussians whose centre lies 10 % outside the picture or where the lens draws in by
more than a fifth, which are the corners of a wide one, and it cuts thin Gaussians short in classic mode.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from blueprint.lens import Lens, bending, slope_bounds

EPS2D = 0.3  # pixels squared, added to the variance of each projected Gaussian

bend = bending(torch.arctan)


class Projected(NamedTuple):
    """N Gaussians in a picture."""

    centres_px: Tensor  # [N, 2]
    depths: Tensor  # [N] metres along the optical axis
    variances: Tensor  # [N, 2] pixels squared, across and down
    conics: Tensor  # [N, 3] inverse covariance: xx, xy, yy
    compensations: Tensor  # [N] what antialiased mode multiplies opacities with, 0-1
    drawn: Tensor  # [N] whether the projection means anything


def rotation_matrices(quats: Tensor) -> Tensor:
    """Rotations [N, 3, 3] of quaternions [N, 4], w first, of any length but zero."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def project(
    means: Tensor,  # [N, 3] metres
    scales: Tensor,  # [N, 3] metres
    quats: Tensor,  # [N, 4]
    viewmat: Tensor,  # [4, 4]
    K: np.ndarray,  # [3, 3]
    width: int,
    height: int,
    lens: Lens | None,
) -> Projected:
    """Project Gaussians; those at or behind the plane of the lens, or beyond its reach, are not to be drawn."""
    rotation, translation = viewmat[:3, :3], viewmat[:3, 3]
    (fx, _, cx), (_, fy, cy), _ = np.asarray(K, dtype=float).tolist()
    x, y, z = (means @ rotation.T + translation).unbind(-1)
    drawn = z > 0
    z = torch.where(drawn, z, 1.0)
    slope_x, slope_y = x / z, y / z
    bent_x, bent_y = slope_x, slope_y
    if lens is not None:
        drawn &= slope_x.square() + slope_y.square() <= lens.reach**2
        bent_x, bent_y, *_ = bend(lens.fisheye, lens.eight, slope_x, slope_y)

    # Outside the view (by 15 % of its width) the Jacobian is that of the margin, as it would explode.
    low_x, high_x, low_y, high_y = slope_bounds(K, width, height, lens)
    slope_x, slope_y = slope_x.clamp(low_x, high_x), slope_y.clamp(low_y, high_y)
    zero, one = torch.zeros_like(z), torch.ones_like(z)
    jacobian = torch.stack([one / z, zero, -slope_x / z, zero, one / z, -slope_y / z], -1).reshape(-1, 2, 3)
    if lens is not None:
        _, _, xx, xy, yy = bend(lens.fisheye, lens.eight, slope_x, slope_y)
        jacobian = torch.stack([xx, xy, xy, yy], -1).reshape(-1, 2, 2) @ jacobian
    jacobian = jacobian * jacobian.new_tensor([[fx], [fy]])
    half = jacobian @ rotation @ rotation_matrices(quats) * scales[:, None, :]  # [N, 2, 3], a root of the covariance
    (xx, xy), (_, yy) = (row.unbind(-1) for row in (half @ half.transpose(1, 2)).unbind(-2))
    sharp = xx * yy - xy * xy
    xx, yy = xx + EPS2D, yy + EPS2D
    determinant = xx * yy - xy * xy
    return Projected(
        centres_px=torch.stack([fx * bent_x + cx, fy * bent_y + cy], -1),
        depths=z,
        variances=torch.stack([xx, yy], -1),
        conics=torch.stack([yy, -xy, xx], -1) / determinant[:, None],
        compensations=(sharp / determinant).clamp(min=0).sqrt(),
        drawn=drawn & (determinant > 0),
    )
