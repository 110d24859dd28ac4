"""CUDA rasterizer: gsplat's kernels, held to this workflow's conventions.

Cameras go to the GPU in batches, since in the middle of each call gsplat waits for a number from the GPU. Two choices
follow. Colours are evaluated here, camera by camera: asked to do it for several cameras, gsplat copies all coefficients
once per camera. And ``packed`` is off: it saves memory where cameras see little of a scene, but visits the Gaussians
twice and waits once more; a batch is as large as its unpacked arrays may be instead.

gsplat projects for pinholes; for lenses `blueprint.render.projection` does. gsplat draws colour and expected depth; the
median depth is found here, from gsplat's lists of the Gaussians that meet each tile.

While a batch is copied to pinned host memory on a stream of its own, and while the caller works on its frames, the next
one is being rendered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, ClassVar

import numpy as np
import torch
from gsplat import (
    fully_fused_projection,
    isect_offset_encode,
    isect_tiles,
    rasterize_to_pixels,
    spherical_harmonics,
)
from torch import Tensor

from blueprint.lens import Lens
from blueprint.render.interface import Frame, Renderer
from blueprint.render.projection import EPS2D, project
from blueprint.splat import Splat

BATCH_CAMERAS = 8
BATCH_PROJECTED = 32_000_000  # Gaussians times cameras; gsplat and the colours take about 60 bytes for each
TILE = 16  # pixels, across and down
STEP = 32  # Gaussians of a tile's list at a time
ALPHA_MIN = 1 / 255
ALPHA_MAX = 0.999
Camera = tuple[np.ndarray, np.ndarray, Lens | None]


class GsplatRenderer(Renderer):
    """See `Renderer`; needs a CUDA device and the gsplat package. ``threads`` has no effect."""

    name = "gsplat"
    device: ClassVar[str] = "cuda"

    def __init__(self, splat: Splat, width: int, height: int, **options: Any) -> None:
        super().__init__(splat, width, height, **options)
        self._means, self._quats, self._scales, self._opacities, self._sh = (
            torch.from_numpy(array).to(self.device)
            for array in (splat.means, splat.quats, splat.scales, splat.opacities, splat.sh)
        )
        self._across, self._down = -(-width // TILE), -(-height // TILE)
        self._copies = torch.cuda.Stream(self.device) if self.device == "cuda" else None
        self._batch = max(1, min(BATCH_CAMERAS, BATCH_PROJECTED // len(splat)))

    def frame(self, viewmat: np.ndarray, K: np.ndarray, lens: Lens | None = None) -> Frame:
        """Render one view; without a lens, that of a pinhole."""
        return next(self.frames([viewmat], [K], [lens]))

    def frames(
        self, viewmats: Iterable[np.ndarray], Ks: Iterable[np.ndarray], lenses: Iterable[Lens | None] = repeat(None)
    ) -> Iterator[Frame]:
        """Render views [F, 4, 4] with intrinsics [F, 3, 3] and lenses in order, one batch ahead of the caller."""
        posed = zip(viewmats, Ks, strict=True)
        cameras = [(viewmat, K, lens) for (viewmat, K), lens in zip(posed, lenses, strict=False)]
        ahead = None
        for first in range(0, len(cameras), self._batch):
            behind, ahead = ahead, self._start(cameras[first : first + self._batch])
            if behind:
                yield from _finish(*behind)
        if ahead:
            yield from _finish(*ahead)

    def _start(self, cameras: Sequence[Camera]) -> tuple[torch.cuda.Event | None, tuple[Tensor, ...]]:
        """Draw a batch; when the event is done, what `_draw` gives is in the host's memory."""
        results = self._draw(cameras)
        if self._copies is None:
            return None, results
        self._copies.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._copies):
            hosts = tuple(torch.empty(result.shape, dtype=result.dtype, pin_memory=True) for result in results)
            for host, result in zip(hosts, results, strict=True):
                host.copy_(result, non_blocking=True)
                result.record_stream(self._copies)
            return self._copies.record_event(), hosts

    @torch.no_grad()
    def _draw(self, cameras: Sequence[Camera]) -> tuple[Tensor, ...]:
        """Images [C, H, W, 3], expected depths, alphas and median depths [C, H, W] of C cameras."""
        viewmats = np.stack([viewmat for viewmat, _, _ in cameras])  # [C, 4, 4]
        eyes = -np.einsum("cij,ci->cj", viewmats[:, :3, :3], viewmats[:, :3, 3])  # [C, 3]
        colours = torch.stack(
            [spherical_harmonics(self.sh_degree, self._means - eye, self._sh) for eye in self._tensor(eyes)]
        )  # [C, N, 3]
        if any(lens for _, _, lens in cameras):
            projected = [torch.stack(parts) for parts in zip(*map(self._project, cameras), strict=True)]
        else:
            projected = self._project_pinholes(viewmats, np.stack([K for _, K, _ in cameras]))
        radii, centres_px, depths, conics, opacities = projected

        count = len(cameras)
        _, keys, lists = isect_tiles(centres_px, radii, depths, TILE, self._across, self._down, n_images=count)
        starts = isect_offset_encode(keys, count, self._across, self._down)  # [C, tiles down, tiles across]
        features = torch.cat([colours.add_(0.5).clamp_(min=0), depths[..., None]], dim=-1)  # [C, N, 4]
        behind = self._tensor([*self.background, 0]).expand(count, 4)
        size = (self.width, self.height, TILE)
        images, alphas = rasterize_to_pixels(
            centres_px, conics, features, opacities, *size, starts, lists, backgrounds=behind
        )  # [C, H, W, 4], [C, H, W, 1]
        alphas = alphas[..., 0]
        gaussians = (centres_px, conics, opacities, depths)
        medians = self._median_m(starts, lists, *(values.flatten(0, 1) for values in gaussians))
        return images[..., :3].clamp(0, 1), images[..., 3] / alphas.clamp(min=1e-10), alphas.contiguous(), medians

    def _project_pinholes(self, viewmats: np.ndarray, Ks: np.ndarray) -> tuple[Tensor, ...]:
        """Radii [C, N, 2], centres [C, N, 2], depths [C, N], conics [C, N, 3], opacities [C, N], by gsplat."""
        radii, centres_px, depths, conics, compensations = fully_fused_projection(
            self._means,
            None,
            self._quats,
            self._scales,
            self._tensor(viewmats),
            self._tensor(Ks),
            self.width,
            self.height,
            eps2d=EPS2D,
            near_plane=self.near_m,
            far_plane=self.far_m,
            calc_compensations=self.antialiased,
            opacities=self._opacities,
        )
        opacities = self._opacities.expand(len(viewmats), -1)
        if self.antialiased:
            opacities = opacities * compensations
        return radii, centres_px, depths, conics, opacities.contiguous()

    def _project(self, camera: Camera) -> tuple[Tensor, ...]:
        """Radii [N, 2], centres [N, 2], depths [N], conics [N, 3] and opacities [N] as a lens shows them."""
        viewmat, K, lens = camera
        found = project(self._means, self._scales, self._quats, self._tensor(viewmat), K, self.width, self.height, lens)
        opacities = self._opacities * found.compensations if self.antialiased else self._opacities
        drawn = found.drawn & (opacities >= ALPHA_MIN) & (found.depths >= self.near_m) & (found.depths <= self.far_m)
        extents = torch.sqrt(2 * torch.log(opacities.clamp(min=ALPHA_MIN) / ALPHA_MIN)).clamp(max=3.33)
        radii = torch.ceil(extents[:, None] * found.variances.sqrt())
        size = radii.new_tensor([self.width, self.height])
        inside = ((found.centres_px + radii > 0) & (found.centres_px - radii < size)).all(-1)
        radii = torch.where((drawn & inside)[:, None], radii, 0).clamp(max=2**30).to(torch.int32)
        return radii, found.centres_px, found.depths, found.conics, opacities

    def _median_m(
        self, starts: Tensor, lists: Tensor, centres_px: Tensor, conics: Tensor, opacities: Tensor, depths: Tensor
    ) -> Tensor:
        """Depths [C, H, W] at which half of the light is gone, 0 where less is.

        Args:
            starts: where each tile's Gaussians begin in ``lists`` [C, tiles down, tiles across].
            lists: Gaussians, nearest first, by their place in the arrays that follow.
            centres_px, conics, opacities, depths: [C N, 2], [C N, 3], [C N], [C N].
        """
        grid = torch.arange(TILE, device=lists.device)
        offsets = torch.stack([grid.repeat(TILE), grid.repeat_interleave(TILE)], -1) + 0.5  # [P, 2] of a tile's pixels
        medians = []
        ends = torch.cat([starts.flatten()[1:], starts.new_tensor([len(lists)])]).reshape(starts.shape)
        for first, last in zip(starts.flatten(1), ends.flatten(1), strict=True):  # a camera's tiles at a time
            tiles = torch.nonzero(last > first)[:, 0]
            median = depths.new_zeros(len(first), TILE * TILE)
            light = torch.ones_like(median)
            place = first.clone()
            while len(tiles):
                members = place[tiles, None] + torch.arange(STEP, device=lists.device)
                listed = members < last[tiles, None]  # [t, STEP]
                ids = lists[members.clamp(max=len(lists) - 1)].long()
                corner = torch.stack([tiles % self._across, tiles // self._across], -1) * TILE
                pixels = (corner[:, None] + offsets)[:, None]  # [t, 1, P, 2]
                dx, dy = (pixels - centres_px[ids][:, :, None]).unbind(-1)  # [t, STEP, P]
                a, b, c = conics[ids][..., None].unbind(-2)
                sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
                alpha = (opacities[ids][..., None] * torch.exp(-sigma)).clamp(max=ALPHA_MAX)
                alpha = torch.where((sigma >= 0) & (alpha >= ALPHA_MIN) & listed[..., None], alpha, 0.0)
                after = light[tiles, None] * torch.cumprod(1 - alpha, 1)
                passed = (after > 0.5).sum(1)  # [t, P], how many leave more than half
                halved = (light[tiles] > 0.5) & (passed < STEP)
                found = depths[ids].gather(1, passed.clamp(max=STEP - 1))
                median[tiles] = torch.where(halved, found, median[tiles])
                light[tiles] = after[:, -1]
                place[tiles] += STEP
                tiles = tiles[(place[tiles] < last[tiles]) & (light[tiles] > 0.5).any(-1)]
            picture = median.reshape(self._down, self._across, TILE, TILE).transpose(1, 2)
            medians.append(picture.reshape(self._down * TILE, -1)[: self.height, : self.width])
        return torch.stack(medians)

    def _tensor(self, array: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(self.device)


def _finish(copied: torch.cuda.Event | None, hosts: tuple[Tensor, ...]) -> Iterator[Frame]:
    if copied is not None:
        copied.synchronize()
    for rgb, depth_m, alpha, median_m in zip(*(host.numpy() for host in hosts), strict=True):
        yield Frame(rgb, depth_m, alpha, median_m)
