"""Reference rasterizer in plain PyTorch: short, readable, slow. The fast backends are tested against it.

The maths is gsplat's classic mode (Kerbl et al. 2023, "3D Gaussian Splatting"; Zwicker et al. 2001, "EWA splatting"):

1. A Gaussian with covariance S becomes, through the camera rotation W and the Jacobian J of the perspective
   projection at its centre, the 2D Gaussian J W S W^T J^T + 0.3 I in pixels.
2. At a pixel centre, a displacement d from the projected centre gives sigma = d^T C^-1 d / 2 and
   alpha = min(0.999, opacity exp(-sigma)); an alpha below 1/255 counts as nothing.
3. Sorted by depth of their centres, near to far, Gaussians are blended with weights alpha T, T being the transmittance
   left by those before; the Gaussian that would take T to 1e-4 or below ends the pixel and is not blended.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from blueprint.render.interface import Frame
from blueprint.splat import Splat

EPS2D = 0.3  # pixels squared, added to the variance of each projected Gaussian
ALPHA_MIN = 1 / 255
ALPHA_MAX = 0.999
TRANSMITTANCE_MIN = 1e-4
TILE = 16  # pixels handled at a time, across and down
SLAB = 256  # Gaussians handled at a time


def rotation_matrices(quats: Tensor) -> Tensor:
    """Rotations [N, 3, 3] of quaternions [N, 4], w first, of any length but zero."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def spherical_harmonics(directions: Tensor, degree: int) -> Tensor:
    """Real spherical harmonics [N, (degree + 1)^2] at unit directions [N, 3], with 3DGS's order and signs."""
    x, y, z = directions.unbind(-1)
    basis = [torch.full_like(x, 0.28209479177387814)]
    if degree >= 1:
        basis += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if degree >= 2:
        basis += [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (3 * z * z - 1),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (x * x - y * y),
        ]
    if degree >= 3:
        basis += [
            -0.5900435899266435 * y * (3 * x * x - y * y),
            2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (5 * z * z - 1),
            0.3731763325901154 * z * (5 * z * z - 3),
            -0.4570457994644658 * x * (5 * z * z - 1),
            1.445305721320277 * z * (x * x - y * y),
            -0.5900435899266435 * x * (x * x - 3 * y * y),
        ]
    return torch.stack(basis, dim=-1)


def rasterize(
    splat: Splat,
    viewmat: np.ndarray,  # [4, 4]
    K: np.ndarray,  # [3, 3]
    width: int,
    height: int,
    *,
    sh_degree: int = 3,
    background: Sequence[float] = (0.0, 0.0, 0.0),
    near_m: float = 0.05,
    far_m: float = 100.0,
    dtype: torch.dtype = torch.float64,
) -> Frame:
    """Render one view; see `blueprint.render.interface.Renderer` for the conventions."""
    means, scales, quats, opacities, sh = (
        torch.from_numpy(array).to(dtype)
        for array in (splat.means, splat.scales, splat.quats, splat.opacities, splat.sh)
    )
    viewmat = torch.as_tensor(viewmat, dtype=dtype)
    (fx, _, cx), (_, fy, cy), _ = np.asarray(K, dtype=float).tolist()
    rotation, translation = viewmat[:3, :3], viewmat[:3, 3]

    # Only Gaussians between the clip planes, dense enough to be seen, nearest first.
    centres = means @ rotation.T + translation
    drawn = (centres[:, 2] >= near_m) & (centres[:, 2] <= far_m) & (opacities >= ALPHA_MIN)
    order = torch.nonzero(drawn)[:, 0]
    order = order[torch.argsort(centres[order, 2], stable=True)]
    means, scales, quats, opacities, sh, centres = (
        tensor[order] for tensor in (means, scales, quats, opacities, sh, centres)
    )

    # Projection. Outside the view (by 30 % of its half width) the Jacobian is that of the margin, as it would explode.
    x, y, z = centres.unbind(-1)
    margin_x, margin_y = 0.15 * width / fx, 0.15 * height / fy
    slope_x = (x / z).clamp(-cx / fx - margin_x, (width - cx) / fx + margin_x)
    slope_y = (y / z).clamp(-cy / fy - margin_y, (height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    jacobian = torch.stack([fx / z, zero, -fx * slope_x / z, zero, fy / z, -fy * slope_y / z], -1).reshape(-1, 2, 3)
    half = jacobian @ rotation @ rotation_matrices(quats) * scales[:, None, :]  # [N, 2, 3], a root of the covariance
    covariances = half @ half.transpose(1, 2) + EPS2D * torch.eye(2, dtype=dtype)
    centres_px = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)
    conics = torch.linalg.inv(covariances)
    extents = torch.sqrt(2 * torch.log(opacities / ALPHA_MIN)).clamp(max=3.33)
    radii = torch.ceil(extents[:, None] * covariances.diagonal(dim1=1, dim2=2).sqrt())

    # Colours as seen from the camera, in the world frame.
    degree = min(sh_degree, splat.sh_degree)
    directions = torch.nn.functional.normalize(means + rotation.T @ translation, dim=-1)
    basis = spherical_harmonics(directions, degree)
    colours = (torch.einsum("nk,nkc->nc", basis, sh[:, : basis.shape[1]]) + 0.5).clamp(min=0)
    features = torch.cat([colours, z[:, None], torch.ones_like(z[:, None])], -1)

    image = torch.zeros(height, width, 5, dtype=dtype)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            corner = torch.tensor([left, top], dtype=dtype)
            near = ((centres_px + radii > corner) & (centres_px - radii < corner + TILE)).all(-1).nonzero()[:, 0]
            rows, columns = min(TILE, height - top), min(TILE, width - left)
            grid_y, grid_x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
            pixels = torch.stack([grid_x, grid_y], -1).reshape(-1, 2).to(dtype) + corner + 0.5
            blended = _blend(pixels, centres_px[near], conics[near], opacities[near], features[near])
            image[top : top + rows, left : left + columns] = blended.reshape(rows, columns, 5)

    alpha = image[..., 4]
    rgb = image[..., :3] + (1 - alpha[..., None]) * torch.tensor(background, dtype=dtype)
    depth = image[..., 3] / alpha.clamp(min=1e-10)
    return Frame(*(tensor.to(torch.float32).numpy() for tensor in (rgb.clamp(0, 1), depth, alpha)))


def _blend(pixels: Tensor, centres_px: Tensor, conics: Tensor, opacities: Tensor, features: Tensor) -> Tensor:
    """Features [n, C] of n Gaussians, near to far, summed up at pixel centres [P, 2] with their weights; [P, C]."""
    total = features.new_zeros(len(pixels), features.shape[1])
    light = features.new_ones(len(pixels), 1)  # transmittance; 0 once a pixel has ended
    for some in torch.arange(len(features)).split(SLAB):
        dx, dy = (pixels[:, None] - centres_px[some]).unbind(-1)  # [P, SLAB]
        a, b, c = conics[some, 0, 0], conics[some, 0, 1], conics[some, 1, 1]
        sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
        alpha = (opacities[some] * torch.exp(-sigma)).clamp(max=ALPHA_MAX)
        alpha = torch.where((sigma < 0) | (alpha < ALPHA_MIN), 0.0, alpha)
        after = light * torch.cumprod(1 - alpha, -1)
        before = torch.cat([light, after[:, :-1]], -1)
        total += torch.where(after > TRANSMITTANCE_MIN, alpha * before, 0.0) @ features[some]
        light = torch.where(after[:, -1:] > TRANSMITTANCE_MIN, after[:, -1:], 0.0)
        if not light.any():
            break
    return total
