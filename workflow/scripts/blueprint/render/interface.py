"""What every rasterizer takes and gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import ClassVar

import numpy as np

from blueprint.errors import UserError
from blueprint.lens import Lens
from blueprint.splat import Splat


@dataclass(frozen=True)
class Frame:
    """One rendered view."""

    rgb: np.ndarray  # [H, W, 3] float32, 0-1, over the background
    depth_m: np.ndarray  # [H, W] float32, expected depth along the optical axis; 0 where alpha is 0
    alpha: np.ndarray  # [H, W] float32, 0-1
    median_m: np.ndarray  # [H, W] float32, depth at which half of the light is gone; 0 where alpha stays below 0.5


class Renderer(ABC):
    """A scene prepared for rendering views of one size.

    Cameras are OpenCV cameras (x right, y down, z forward): ``viewmat`` [4, 4] maps world to camera in metres and
    ``K`` [3, 3] maps camera to pixels, pixel (row, column) having its centre at (column + 0.5, row + 0.5).

    Args:
        splat: the scene.
        width, height: of the images, in pixels.
        sh_degree: highest degree of spherical harmonics to evaluate; the scene's own if that is lower.
        background: red, green, blue in 0-1 behind everything.
        antialiased: make Gaussians fainter by as much as the blur of 0.3 pixels squared enlarges them (Yu et al. 2023,
            "Mip-Splatting"), for scenes that were trained so.
        near_m, far_m: Gaussians whose centre lies nearer or farther along the optical axis are not drawn.
        threads: CPU threads to use; the image does not depend on it.

    Raises:
        UserError: the scene is empty or holds values that are not finite.
    """

    name: ClassVar[str]

    def __init__(
        self,
        splat: Splat,
        width: int,
        height: int,
        *,
        sh_degree: int = 3,
        background: Sequence[float] = (0.0, 0.0, 0.0),
        near_m: float = 0.05,
        far_m: float = 100.0,
        antialiased: bool = False,
        threads: int = 1,
    ) -> None:
        count = len(splat)
        assert splat.means.shape == (count, 3), splat.means.shape
        assert splat.scales.shape == (count, 3), splat.scales.shape
        assert splat.quats.shape == (count, 4), splat.quats.shape
        assert splat.opacities.shape == (count,), splat.opacities.shape
        assert splat.sh.shape[0] == count and splat.sh.shape[1] in (1, 4, 9, 16), splat.sh.shape
        assert width > 0 and height > 0 and threads > 0 and 0 < near_m < far_m and 0 <= sh_degree <= 3
        if count == 0:
            raise UserError("The scene has no Gaussians; there is nothing to render.")
        for field in ("means", "scales", "quats", "opacities", "sh"):
            # The sum is finite exactly if all values are, short of overflow, which float64 rules out.
            if not np.isfinite(getattr(splat, field).sum(dtype=np.float64)):
                raise UserError(f"The scene's {field} hold values that are not finite; clean the scan and try again.")
        self.splat = splat
        self.width = width
        self.height = height
        self.sh_degree = min(sh_degree, splat.sh_degree)
        self.background = np.asarray(background, dtype=np.float32)
        self.near_m = near_m
        self.far_m = far_m
        self.antialiased = antialiased
        self.threads = threads

    @abstractmethod
    def frame(self, viewmat: np.ndarray, K: np.ndarray, lens: Lens | None = None) -> Frame:
        """Render one view; without a lens, that of a pinhole."""

    def frames(
        self, viewmats: Iterable[np.ndarray], Ks: Iterable[np.ndarray], lenses: Iterable[Lens | None] = repeat(None)
    ) -> Iterator[Frame]:
        """Render views [F, 4, 4] with intrinsics [F, 3, 3] and lenses in order, holding only a few at a time."""
        for (viewmat, K), lens in zip(zip(viewmats, Ks, strict=True), lenses, strict=False):
            yield self.frame(viewmat, K, lens)
