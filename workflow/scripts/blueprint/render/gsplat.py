"""CUDA rasterizer: gsplat's, held to this workflow's conventions.

Cameras go to the GPU in batches, since in the middle of each call gsplat waits for a number from the GPU. Two choices
follow. Colours are evaluated here, camera by camera: asked to do it for several cameras, gsplat copies all coefficients
once per camera. And ``packed`` is off: it saves memory where cameras see little of a scene, but visits the Gaussians
twice and waits once more; a batch is as large as its unpacked arrays may be instead.

While a batch is copied to pinned host memory on a stream of its own, and while the caller works on its frames, the next
one is being rendered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from gsplat import rasterization, spherical_harmonics

from blueprint.render.interface import Frame, Renderer
from blueprint.splat import Splat

BATCH_CAMERAS = 8
BATCH_PROJECTED = 32_000_000  # Gaussians times cameras; gsplat and the colours take about 60 bytes for each


class GsplatRenderer(Renderer):
    """See `Renderer`; needs a CUDA device and the gsplat package. ``threads`` has no effect."""

    name = "gsplat"

    def __init__(self, splat: Splat, width: int, height: int, **options: Any) -> None:
        super().__init__(splat, width, height, **options)
        self._device = torch.device("cuda")
        self._means, self._quats, self._scales, self._opacities, self._sh = (
            torch.from_numpy(array).to(self._device)
            for array in (splat.means, splat.quats, splat.scales, splat.opacities, splat.sh)
        )
        self._copies = torch.cuda.Stream(self._device)
        self._batch = max(1, min(BATCH_CAMERAS, BATCH_PROJECTED // len(splat)))

    def frame(self, viewmat: np.ndarray, K: np.ndarray) -> Frame:
        """Render one view."""
        return next(self.frames([viewmat], [K]))

    def frames(self, viewmats: Iterable[np.ndarray], Ks: Iterable[np.ndarray]) -> Iterator[Frame]:
        """Render views [F, 4, 4] with intrinsics [F, 3, 3] in order, one batch ahead of the caller."""
        cameras = list(zip(viewmats, Ks, strict=True))
        ahead = None
        for first in range(0, len(cameras), self._batch):
            behind, ahead = ahead, self._start(cameras[first : first + self._batch])
            if behind:
                yield from _finish(*behind)
        if ahead:
            yield from _finish(*ahead)

    @torch.no_grad()
    def _start(
        self, cameras: Sequence[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[torch.cuda.Event, tuple[torch.Tensor, ...]]:
        """Render a batch; the event is done when its images [C, H, W, 3], depths and alphas [C, H, W] are in memory."""
        viewmats = np.stack([viewmat for viewmat, _ in cameras])  # [C, 4, 4]
        eyes = -np.einsum("cij,ci->cj", viewmats[:, :3, :3], viewmats[:, :3, 3])  # [C, 3]
        colours = torch.stack(
            [spherical_harmonics(self.sh_degree, self._means - eye, self._sh) for eye in self._tensor(eyes)]
        )  # [C, N, 3]
        images, alphas, _ = rasterization(
            self._means,
            self._quats,
            self._scales,
            self._opacities,
            colours.add_(0.5).clamp_(min=0),
            self._tensor(viewmats),
            self._tensor(np.stack([K for _, K in cameras])),
            self.width,
            self.height,
            near_plane=self.near_m,
            far_plane=self.far_m,
            eps2d=0.3,
            packed=False,
            backgrounds=self._tensor(self.background).expand(len(cameras), 3),
            render_mode="RGB+ED",
            rasterize_mode="classic",
        )  # [C, H, W, 4], [C, H, W, 1]
        results = images[..., :3].clamp(0, 1), images[..., 3].contiguous(), alphas[..., 0].contiguous()
        self._copies.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._copies):
            hosts = tuple(torch.empty(result.shape, dtype=result.dtype, pin_memory=True) for result in results)
            for host, result in zip(hosts, results, strict=True):
                host.copy_(result, non_blocking=True)
                result.record_stream(self._copies)
            return self._copies.record_event(), hosts

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(self._device)


def _finish(copied: torch.cuda.Event, hosts: tuple[torch.Tensor, ...]) -> Iterator[Frame]:
    copied.synchronize()
    for rgb, depth_m, alpha in zip(*(host.numpy() for host in hosts), strict=True):
        yield Frame(rgb, depth_m, alpha)
