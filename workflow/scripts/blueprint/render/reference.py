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

from blueprint.lens import Lens
from blueprint.render.interface import Frame
from blueprint.render.projection import project
from blueprint.splat import Splat

ALPHA_MIN = 1 / 255
ALPHA_MAX = 0.999
TRANSMITTANCE_MIN = 1e-4
TILE = 16  # pixels handled at a time, across and down
SLAB = 256  # Gaussians handled at a time


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
    antialiased: bool = False,
    lens: Lens | None = None,
    dtype: torch.dtype = torch.float64,
) -> Frame:
    """Render one view; see `blueprint.render.interface.Renderer` for the conventions."""
    means, scales, quats, opacities, sh = (
        torch.from_numpy(array).to(dtype)
        for array in (splat.means, splat.scales, splat.quats, splat.opacities, splat.sh)
    )
    viewmat = torch.as_tensor(viewmat, dtype=dtype)
    rotation, translation = viewmat[:3, :3], viewmat[:3, 3]
    depths = means @ rotation[2] + translation[2]
    ordered = torch.argsort(depths, stable=True)  # nearest first
    ordered = ordered[(depths[ordered] >= near_m) & (depths[ordered] <= far_m)]
    means, scales, quats, opacities, sh = (t[ordered] for t in (means, scales, quats, opacities, sh))
    found = project(means, scales, quats, viewmat, K, width, height, lens)
    if antialiased:
        opacities = opacities * found.compensations
    drawn = found.drawn & (opacities >= ALPHA_MIN)
    means, opacities, sh, z, centres_px, conics, variances = (
        t[drawn] for t in (means, opacities, sh, found.depths, found.centres_px, found.conics, found.variances)
    )
    extents = torch.sqrt(2 * torch.log(opacities / ALPHA_MIN)).clamp(max=3.33)
    radii = torch.ceil(extents[:, None] * variances.sqrt())

    # Colours as seen from the camera, in the world frame.
    degree = min(sh_degree, splat.sh_degree)
    directions = torch.nn.functional.normalize(means + rotation.T @ translation, dim=-1)
    basis = spherical_harmonics(directions, degree)
    colours = (torch.einsum("nk,nkc->nc", basis, sh[:, : basis.shape[1]]) + 0.5).clamp(min=0)
    features = torch.cat([colours, z[:, None], torch.ones_like(z[:, None])], -1)

    image = torch.zeros(height, width, 6, dtype=dtype)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            corner = torch.tensor([left, top], dtype=dtype)
            near = ((centres_px + radii > corner) & (centres_px - radii < corner + TILE)).all(-1).nonzero()[:, 0]
            rows, columns = min(TILE, height - top), min(TILE, width - left)
            grid_y, grid_x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
            pixels = torch.stack([grid_x, grid_y], -1).reshape(-1, 2).to(dtype) + corner + 0.5
            blended = blend(pixels, centres_px[near], conics[near], opacities[near], features[near])
            image[top : top + rows, left : left + columns] = blended.reshape(rows, columns, 6)

    alpha = image[..., 4]
    rgb = image[..., :3] + (1 - alpha[..., None]) * torch.tensor(background, dtype=dtype)
    depth = image[..., 3] / alpha.clamp(min=1e-10)
    return Frame(*(tensor.to(torch.float32).numpy() for tensor in (rgb.clamp(0, 1), depth, alpha, image[..., 5])))


def blend(pixels: Tensor, centres_px: Tensor, conics: Tensor, opacities: Tensor, features: Tensor) -> Tensor:
    """Features [n, 5] of n Gaussians, near to far, summed up at pixel centres [P, 2] with their weights, and in a sixth
    column the depth (feature 3) of the one at which half of the light is gone; [P, 6].
    """
    total, median = features.new_zeros(len(pixels), features.shape[1]), features.new_zeros(len(pixels), 1)
    light = features.new_ones(len(pixels), 1)  # transmittance; 0 once a pixel has ended
    for some in torch.arange(len(features)).split(SLAB):
        dx, dy = (pixels[:, None] - centres_px[some]).unbind(-1)  # [P, SLAB]
        a, b, c = conics[some].unbind(-1)
        sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
        alpha = (opacities[some] * torch.exp(-sigma)).clamp(max=ALPHA_MAX)
        alpha = torch.where((sigma < 0) | (alpha < ALPHA_MIN), 0.0, alpha)
        after = light * torch.cumprod(1 - alpha, -1)
        before = torch.cat([light, after[:, :-1]], -1)
        total += torch.where(after > TRANSMITTANCE_MIN, alpha * before, 0.0) @ features[some]
        halved = (before > 0.5) & (after <= 0.5)
        median += torch.where(halved, features[some, 3], 0.0).sum(-1, keepdim=True)
        light = torch.where(after[:, -1:] > TRANSMITTANCE_MIN, after[:, -1:], 0.0)
        if not light.any():
            break
    return torch.cat([total, median], -1)
