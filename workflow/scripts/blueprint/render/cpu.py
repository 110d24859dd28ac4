"""CPU rasterizer: the maths of `blueprint.render.reference`, arranged for speed.

A frame is made in four steps, each split over threads:

1. *Project* every Gaussian and keep those that touch the image.
2. *Sort* them by depth (radix sort of the bits of the depth; this one on a single thread).
3. Take them nearest first in chunks. *Bin* a chunk: list, for each tile of 16 x 16 pixels, the Gaussians whose visible
   ellipse meets it, and colour these by their spherical harmonics. *Blend* the lists, tile by tile, in blocks of 4 x 4
   pixels: sixteen Gaussians at a time are looked at for the blocks that they meet, then each block takes in its own.
   Tiles in which every pixel is opaque take no part in later chunks, so what is hidden costs little more than its
   projection.
4. *Resolve* the tiles into an image.

The exponent of a Gaussian is kept as ``-sigma log2(e) = -(u dx + v dy)^2 - (w dy)^2``: it never turns positive, loses
no digits to cancellation and costs two fused multiply-adds per pixel. ``2^q`` is the eighth power of a polynomial for
``2^(q/8)``; eight octaves are enough, since below ``2^q = 1/255`` a Gaussian counts as nothing.

Threads are Python threads running compiled code that has released the GIL. No sum crosses from one thread's share of
the work to another's: one thread and many give the same bits.

Numba keeps the compiled kernels in ``__pycache__`` beside the source, or in the user's cache folder where the checkout
cannot be written (``NUMBA_CACHE_DIR`` overrides both). It tells them by the source's content and the CPU's name, so
that only the first job on a machine compiles, for some seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from blueprint.lens import Lens, slope_bounds
from blueprint.render import kernels
from blueprint.render.interface import Frame, Renderer
from blueprint.render.kernels import (
    BLOCKS,
    CHUNK,
    CHUNK_PAIRS,
    COLOURED_FIELDS,
    FIELDS,
    PARTS,
    PROJECTED_FIELDS,
    TILE,
)
from blueprint.splat import Splat

PROJECT_BLOCK = 16384  # Gaussians
BLEND_PIECES = 8  # per thread, so that no thread waits long for the last one


class CpuRenderer(Renderer):
    """See `Renderer`. Memory besides the scene: 92 bytes per Gaussian, 50 MB of lists, 40 bytes per pixel."""

    name = "cpu"

    def __init__(self, splat: Splat, width: int, height: int, **options: Any) -> None:
        super().__init__(splat, width, height, **options)
        self._pool = ThreadPoolExecutor(self.threads, "render") if self.threads > 1 else None
        count = len(splat)
        self._covariances, self._spreads = np.empty((count, 6), np.float32), np.empty(count, np.float32)
        self._blocks(
            count, PROJECT_BLOCK, kernels.world_covariances, splat.quats, splat.scales, self._covariances, self._spreads
        )
        with np.errstate(divide="ignore"):
            self._peaks = np.log2(splat.opacities)  # -inf where the opacity is 0: never seen
        self._projected = np.empty((count, PROJECTED_FIELDS), np.float32)
        self._keys, self._spare_keys = np.empty((2, count), np.uint32)
        self._order, self._spare_order, self._ids, self._areas = np.empty((4, count), np.int32)

        self._across = -(-width // TILE)
        tiles = self._across * -(-height // TILE)
        self._states = np.empty((tiles, BLOCKS * BLOCKS, FIELDS), np.float32)
        self._finished = np.empty(tiles, np.bool_)
        self._coloured = np.empty((CHUNK, COLOURED_FIELDS), np.float32)
        self._pair_tiles, self._pair_members, self._lists = np.empty((3, max(CHUNK_PAIRS, tiles)), np.int32)
        self._counts, self._starts = np.empty((PARTS, tiles), np.int32), np.empty(tiles + 1, np.int64)

    def frame(self, viewmat: np.ndarray, K: np.ndarray, lens: Lens | None = None) -> Frame:
        """Render one view; without a lens, that of a pinhole."""
        splat, width, height, tiles = self.splat, self.width, self.height, len(self._finished)
        viewmat, K = np.asarray(viewmat, np.float64), np.asarray(K, np.float64)
        assert viewmat.shape == (4, 4) and K.shape == (3, 3), (viewmat.shape, K.shape)
        rotation = viewmat[:3, :3]
        eye = -rotation.T @ viewmat[:3, 3]
        camera = tuple(map(float, (*rotation.flat, *eye, K[0, 0], K[1, 1], K[0, 2], K[1, 2])))

        optics = (_bounds(K, width, height, lens), _coefficients(lens), self.antialiased)
        view = (camera, *optics, width, height, float(self.near_m), float(self.far_m))
        gaussians = (splat.means, self._covariances, self._spreads, self._peaks)
        table = (self._projected, self._keys, self._ids, self._areas)
        used = self._blocks(len(splat), PROJECT_BLOCK, kernels.project, *view, *gaussians, *table)
        order = kernels.sort_by_depth(
            self._keys, np.array(used), PROJECT_BLOCK, self._order, self._spare_keys, self._spare_order
        )

        share = -(-tiles // (BLEND_PIECES * self.threads))
        self._blocks(tiles, share, kernels.clear_tiles, self._across, width, height, self._states, self._finished)
        first = 0
        while first < len(order) and not self._finished.all():
            first = self._draw_chunk(order, first, eye.astype(np.float32))

        rgb = np.empty((height, width, 3), np.float32)
        depth_m, median_m, alpha = np.empty((3, height, width), np.float32)
        self._blocks(height, TILE, kernels.resolve_rows, self._states, self.background, rgb, depth_m, median_m, alpha)
        return Frame(rgb, depth_m, alpha, median_m)

    def _draw_chunk(self, order: np.ndarray, first: int, eye: np.ndarray) -> int:
        """Bin and blend the Gaussians of ``order`` from ``first`` on; return where the next chunk begins."""
        bounds, offsets = np.empty(PARTS + 1, np.int64), np.empty(PARTS, np.int64)
        last = kernels.plan_chunk(order, self._areas, first, bounds, offsets)
        chosen = (bounds, offsets, order, self._ids, self._projected)
        colours = (self.splat.means, self.splat.sh, self.sh_degree, eye, self._coloured)
        pairs = (self._pair_tiles, self._pair_members, self._counts)
        found = self._map(
            kernels.bin_chunk, range(PARTS), *chosen, self.width, self.height, self._finished, *colours, *pairs
        )
        kernels.starts_from_counts(self._counts, self._starts)
        self._map(kernels.fill_lists, range(PARTS), offsets, np.array(found), *pairs, self._lists)
        # Cut so that every piece has about as many pairs.
        pieces = BLEND_PIECES * self.threads
        cuts = np.searchsorted(self._starts, np.linspace(0, self._starts[-1], pieces + 1)[1:-1]).tolist()
        tables = (self._across, self._starts, self._lists, self._coloured, self._states, self._finished)
        self._map(
            lambda begin_end: kernels.blend_tiles(*begin_end, *tables),
            zip([0, *cuts], [*cuts, len(self._finished)], strict=True),
        )
        return last

    def _map(self, kernel: Callable[..., Any], items: Iterable[Any], *arguments: Any) -> list[Any]:
        """``kernel(item, *arguments)`` of all items, on all threads; the results in order."""
        mapper = self._pool.map if self._pool else map
        return list(mapper(lambda item: kernel(item, *arguments), items))

    def _blocks(self, count: int, block: int, kernel: Callable[..., Any], *arguments: Any) -> list[Any]:
        """``kernel(begin, end, *arguments)`` of blocks of ``range(count)``, on all threads; the results in order."""
        return self._map(lambda begin: kernel(begin, min(begin + block, count), *arguments), range(0, count, block))


def _coefficients(lens: Lens | None) -> tuple[float, ...]:
    """A lens as `kernels.project` takes it."""
    return (0.0,) * 10 if lens is None else (*lens.eight, lens.reach**2, 2.0 if lens.fisheye else 1.0)


def _bounds(K: np.ndarray, width: int, height: int, lens: Lens | None) -> tuple[float, ...]:
    """The slopes that a picture shows and bounds of its Jacobian, as `kernels.project` takes them."""
    low_x, high_x, low_y, high_y = bounds = slope_bounds(K, width, height, lens)
    if lens is None:
        steep_x, steep_y = np.sqrt(1 + max(low_x**2, high_x**2)), np.sqrt(1 + max(low_y**2, high_y**2))
    else:
        angles = [np.arctan(np.array(ends)) for ends in ((low_x, high_x), (low_y, high_y))]
        x, y = np.meshgrid(*(np.tan(np.linspace(*ends, 65)) for ends in angles))
        x, y = x[x**2 + y**2 <= lens.reach**2], y[x**2 + y**2 <= lens.reach**2]
        _, _, xx, xy, yy = lens.bend(x, y)
        # A tenth more, for what lies between the samples.
        steep_x = 1.1 * np.sqrt(xx**2 + xy**2 + (xx * x + xy * y) ** 2).max()
        steep_y = 1.1 * np.sqrt(xy**2 + yy**2 + (xy * x + yy * y) ** 2).max()
    return (*bounds, float(K[0, 0] * steep_x), float(K[1, 1] * steep_y))
