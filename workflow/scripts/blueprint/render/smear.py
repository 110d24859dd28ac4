"""Cameras that see nothing but smear: inside matter, or in a scene whose units are far longer than a metre."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from blueprint.errors import UserError
from blueprint.files import whole_file
from blueprint.poses import Cameras
from blueprint.render import rasterize
from blueprint.splat import Splat
from blueprint.splat.standing import COARSEST_M, grain_m

LOOKED_AT = 3  # frames of a clip
WIDTH_PX = 96
LARGE = 0.05  # a Gaussian's standard deviation, as a share of the picture's width
MOST_SMEAR = 0.9  # of what is solid in the picture
MOST_SMEAR_WHEN_COARSE = 0.3
SH0 = 0.28209479177387814


@dataclass(frozen=True)
class View:
    """How a frame looks."""

    smear: float
    """Share of the solid pixels that are made of Gaussians large on the screen."""
    rgb: np.ndarray  # [H, W, 3] in 0-1


def refuse_smear(splat: Splat, cameras: Cameras, picture: Path) -> None:
    """Refuse cameras that see nothing but smear, and leave a picture that shows it.

    Sharp matter is made of Gaussians that are small on the screen. Where most of a picture is made of large ones, the
    camera stands inside matter, or the scene is so large that a step takes it through a surface.

    Args:
        splat: the scene, in metres.
        cameras: a placed path.
        picture: JPEG to write if they are refused.

    Raises:
        UserError: they are.
    """
    picture.unlink(missing_ok=True)
    frames = np.unique(np.linspace(0, len(cameras.viewmats) - 1, LOOKED_AT).astype(int))
    # Not even drawn on top of each other do large Gaussians fill a share of a sharp picture: nothing is rendered then.
    if all(_large_cover(splat, cameras, frame) < MOST_SMEAR_WHEN_COARSE for frame in frames):
        return
    views = [look(splat, cameras, frame) for frame in frames]
    smear, coarse_m = float(np.mean([view.smear for view in views])), grain_m(splat)
    if smear < (MOST_SMEAR_WHEN_COARSE if coarse_m > COARSEST_M else MOST_SMEAR):
        return
    with whole_file(picture) as part:
        side_by_side = np.concatenate([view.rgb for view in views], axis=1)
        cv2.imwrite(str(part), np.rint(side_by_side[..., ::-1] * 255).astype(np.uint8))
    why = (
        f"its Gaussians are {1000 * coarse_m:.0f} mm wide, a scan's are below {1000 * COARSEST_M:.0f} mm: the units of "
        "the scene are hardly metres. Set metres_per_unit or scale of the facility"
        if coarse_m > COARSEST_M
        else "the cameras stand inside matter. Change target_m, height_m, radius_m or side, or clean the scan"
    )
    raise UserError(
        f"path {cameras.path}: the clip would show nothing but smear ({smear:.0%} of what is solid in frames "
        f"{', '.join(map(str, frames))}; {picture} shows them): {why}."
    )


def look(splat: Splat, cameras: Cameras, frame: int) -> View:
    """Render a frame small, and tell how much of it is smear."""
    share = WIDTH_PX / cameras.width
    height = max(1, round(cameras.height * share))
    K = cameras.Ks[frame] * np.array([[share], [share], [1.0]])
    rgb = rasterize(splat, cameras.viewmats[frame], K, WIDTH_PX, height).rgb
    _, size = _sizes(splat, cameras, frame)
    grey = (np.minimum(size / (2 * LARGE), 1)[:, None, None] - 0.5) / SH0
    sizes = replace(splat, sh=np.repeat(grey, 3, axis=2).astype(np.float32))
    seen = rasterize(sizes, cameras.viewmats[frame], K, WIDTH_PX, height)
    solid = seen.alpha > 0.5
    large = seen.rgb[..., 0] > 0.5 * seen.alpha
    return View(float(large[solid].mean()) if solid.any() else 0.0, rgb)


def _sizes(splat: Splat, cameras: Cameras, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Depth [N] of Gaussians before a camera, and their standard deviation [N] as a share of the picture's width."""
    viewmat, K = cameras.viewmats[frame], cameras.Ks[frame]
    depth_m = splat.means @ viewmat[2, :3].astype(np.float32) + np.float32(viewmat[2, 3])
    broad_m = np.sqrt(np.prod(np.sort(splat.scales, axis=1)[:, 1:], axis=1))
    return depth_m, broad_m / np.maximum(depth_m, 0.05) * np.float32(K[0, 0] / cameras.width)


def _large_cover(splat: Splat, cameras: Cameras, frame: int) -> float:
    """How many times over the large Gaussians in view would cover a picture."""
    depth_m, size = _sizes(splat, cameras, frame)
    large = (depth_m > 0) & (size > LARGE)
    if not large.any():
        return 0.0
    viewmat, K = cameras.viewmats[frame], cameras.Ks[frame]
    points = splat.means[large] @ viewmat[:3, :3].T + viewmat[:3, 3]
    across = (K[0, 0] * points[:, 0] / points[:, 2] + K[0, 2]) / cameras.width
    down = (K[1, 1] * points[:, 1] / points[:, 2] + K[1, 2]) / cameras.height
    reach = 2 * size[large]
    shape = cameras.width / cameras.height
    inside = (np.abs(across - 0.5) < 0.5 + reach) & (np.abs(down - 0.5) < 0.5 + reach * shape)
    return float((np.minimum(2 * np.pi * size[large] ** 2 * shape, 1) * splat.opacities[large])[inside].sum())
