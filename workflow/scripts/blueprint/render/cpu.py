"""CPU rasterizer: the maths of `blueprint.render.reference`, arranged for speed.

A frame is made in four steps, each split over threads:

1. *Project* every Gaussian, keep those that touch the image.
2. *Sort* them by depth (radix sort of the bits of the depth).
3. Take them nearest first in chunks. *Bin* a chunk: colour its Gaussians by their spherical harmonics and list, per
   tile of 16 x 16 pixels, those whose visible ellipse meets it. *Blend* the lists, tile by tile. Tiles whose pixels
   have all become opaque are left out of later chunks, so that what is hidden costs little more than its projection.
4. *Resolve* tiles into an image.

The exponent of a Gaussian is kept as ``-sigma log2(e) = -(u dx + v dy)^2 - (w dy)^2``. This form of the quadratic never
turns positive, loses no digits to cancellation, and costs two fused multiply-adds per pixel. ``2^q`` is the eighth
power of a polynomial for ``2^(q/8)``: below ``q = -log2(255)`` a Gaussian is invisible, so only eight octaves matter.

Threads are Python threads running compiled code that releases the GIL. Work is cut in the same way whatever their
number, and no sum crosses a cut: one thread and many give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from blueprint.render import kernels
from blueprint.render.interface import Frame, Renderer
from blueprint.render.kernels import BIN_PARTS, CHUNK, CHUNK_PAIRS, COLOURED_FIELDS, PROJECTED_FIELDS, STATE, TILE

PROJECT_BLOCK = 16384  # Gaussians


class CpuRenderer(Renderer):
    """See `Renderer`; memory besides the scene: about 100 bytes per Gaussian and 50 per pixel."""

    name = "cpu"

    def __init__(self, splat: Any, width: int, height: int, **options: Any) -> None:
        super().__init__(splat, width, height, **options)
        count = len(splat)
        self._pool = ThreadPoolExecutor(self.threads, "render") if self.threads > 1 else None
        self._covariances = np.empty((count, 6), np.float32)
        self._spreads = np.empty(count, np.float32)
        with np.errstate(divide="ignore"):
            self._peaks = np.log2(splat.opacities)  # -inf where opacity is 0: never visible
        self._run(
            count,
            PROJECT_BLOCK,
            lambda begin, end: kernels.world_covariances(
                begin, end, splat.quats, splat.scales, self._covariances, self._spreads
            ),
        )
        self._splats = np.empty((count, PROJECTED_FIELDS), np.float32)
        self._keys, self._spare_keys = np.empty((2, count), np.uint32)
        self._order, self._spare_order, self._ids, self._areas = np.empty((4, count), np.int32)
        self._across, down = -(-width // TILE), -(-height // TILE)
        self._tiles = self._across * down
        self._states = np.empty((self._tiles, STATE), np.float32)
        self._finished = np.empty(self._tiles, np.bool_)
        self._chunk = np.empty((CHUNK, COLOURED_FIELDS), np.float32)
        pairs = max(CHUNK_PAIRS, self._tiles)
        self._pair_tiles, self._pair_members, self._lists = np.empty((3, pairs), np.int32)
        self._counts = np.empty((BIN_PARTS, self._tiles), np.int32)
        self._starts = np.empty(self._tiles + 1, np.int64)
        self._parts = np.empty(BIN_PARTS + 1, np.int64)
        self._offsets = np.empty(BIN_PARTS, np.int64)

    def _map(self, work: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Call ``work`` on each of the arguments, on all threads; the results in order."""
        return list(self._pool.map(work, *arguments) if self._pool else map(work, *arguments))

    def _run(self, count: int, block: int, work: Callable[[int, int], Any]) -> list[Any]:
        """Call ``work(begin, end)`` on blocks of ``range(count)``; the results in order."""
        begins = range(0, count, block)
        return self._map(work, begins, [min(begin + block, count) for begin in begins])

    def frame(self, viewmat: np.ndarray, K: np.ndarray) -> Frame:
        """Render one view."""
        splat, width, height = self.splat, self.width, self.height
        viewmat, K = np.asarray(viewmat, np.float64), np.asarray(K, np.float64)
        assert viewmat.shape == (4, 4) and K.shape == (3, 3), (viewmat.shape, K.shape)
        eye = -viewmat[:3, :3].T @ viewmat[:3, 3]
        camera = (
            *viewmat[:3, :3].ravel().tolist(),
            *eye.tolist(),
            K[0, 0].item(),
            K[1, 1].item(),
            K[0, 2].item(),
            K[1, 2].item(),
        )
        near, far = float(self.near_m), float(self.far_m)
        used = self._run(
            len(splat),
            PROJECT_BLOCK,
            lambda begin, end: kernels.project(
                begin,
                end,
                splat.means,
                self._covariances,
                self._spreads,
                self._peaks,
                camera,
                width,
                height,
                near,
                far,
                self._splats,
                self._keys,
                self._ids,
                self._areas,
            ),
        )
        order = kernels.sort_by_depth(
            self._keys, np.array(used), PROJECT_BLOCK, self._order, self._spare_keys, self._spare_order
        )
        block = -(-self._tiles // (4 * self.threads))
        self._run(
            self._tiles,
            block,
            lambda begin, end: kernels.clear_tiles(
                begin, end, self._across, width, height, self._states, self._finished
            ),
        )
        first = 0
        while first < len(order) and not self._finished.all():
            last = kernels.plan_chunk(order, self._areas, first, self._parts, self._offsets)
            self._bin_and_blend(order, eye)
            first = last
        rgb, depth, alpha = (
            np.empty((height, width, 3), np.float32),
            np.empty((height, width), np.float32),
            np.empty((height, width), np.float32),
        )
        self._run(
            height,
            TILE,
            lambda begin, end: kernels.resolve_rows(begin, end, self._states, self.background, rgb, depth, alpha),
        )
        return Frame(rgb, depth, alpha)

    def _bin_and_blend(self, order: np.ndarray, eye: np.ndarray) -> None:
        splat = self.splat
        found = self._map(
            lambda part: kernels.bin_chunk(
                part,
                self._parts,
                self._offsets,
                order,
                self._ids,
                self._splats,
                splat.means,
                splat.sh,
                self.sh_degree,
                eye,
                self.width,
                self.height,
                self._finished,
                self._chunk,
                self._pair_tiles,
                self._pair_members,
                self._counts,
            ),
            range(BIN_PARTS),
        )
        kernels.starts_from_counts(self._counts, self._starts)
        self._map(
            lambda part: kernels.fill_lists(
                part,
                self._offsets[part],
                self._offsets[part] + found[part],
                self._pair_tiles,
                self._pair_members,
                self._counts,
                self._lists,
            ),
            range(BIN_PARTS),
        )
        pieces = 8 * self.threads
        cuts = np.searchsorted(self._starts, np.linspace(0, self._starts[-1], pieces + 1)[1:-1]).tolist()
        cuts = [0, *cuts, self._tiles]
        self._map(
            lambda begin, end: kernels.blend_tiles(
                begin, end, self._across, self._starts, self._lists, self._chunk, self._states, self._finished
            ),
            cuts[:-1],
            cuts[1:],
        )
