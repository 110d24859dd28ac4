"""How far each pixel of a view can be trusted, told from the scan alone (and, with photos, from what they saw).

A second rendering blends properties of the Gaussians in place of colours, with the same weights as the picture: how
large they smear, whether they float, whether photos saw them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np
from scipy import ndimage

from blueprint.fidelity.gaussians import SH0, Coherence
from blueprint.lens import Lens
from blueprint.render import Frame, Renderer
from blueprint.splat import Splat

COVERED_ALPHA = 0.1  # below, a pixel of an open scene shows the background
HOLE_ALPHA = 0.5
SOLID_ALPHA = 0.9
MUSH_SHARE = 0.1  # by which expected and median depth may differ
SMEAR_RAD = 0.03  # angle under which the smear of a pixel's Gaussians is seen
FLOATER_WEIGHT = 0.3
UNSEEN_WEIGHT = 0.5
LEAST_COVERED_SHARE = 0.02  # of the pixels, or there is nothing to judge
CAUSES = ("hole", "mush", "smear", "floater", "unseen")


@dataclass(frozen=True)
class Trust:
    """One view, judged; the pixels that show the background of an open scene count in no share."""

    rgb: np.ndarray  # [H, W, 3] float32
    median_m: np.ndarray  # [H, W] float32
    covered: np.ndarray  # [H, W] bool, shows the scene or ought to
    causes: dict[str, np.ndarray]  # of each of CAUSES [H, W] bool

    @property
    def untrusted(self) -> np.ndarray:
        """Pixels [H, W] that some cause speaks against."""
        return np.any(list(self.causes.values()), axis=0)

    @property
    def is_empty(self) -> bool:
        """Whether there is next to nothing in view."""
        return bool(self.covered.mean() < LEAST_COVERED_SHARE)

    def shares(self) -> dict[str, float]:
        """Share of the covered pixels that each cause takes, and that any does (``untrusted``); 0 where all is void."""
        if self.is_empty:
            return dict.fromkeys((*CAUSES, "untrusted"), 0.0)
        parts = {**self.causes, "untrusted": self.untrusted}
        return {name: float(mask.sum() / self.covered.sum()) for name, mask in parts.items()}


class TrustRenderer:
    """Renders views of a scene and says of each pixel what speaks against it.

    Args:
        make_renderer: the backend.
        splat: the scene.
        coherence: what was found about its Gaussians.
        closed: whether there is matter in every direction, so that emptiness is a hole.
        size: width and height of the views in pixels.
        photo_views: by how many photos [N] each Gaussian was seen; None without photos.
        least_photos: fewer are too few.
        options: of the renderer (``near_m``, ``far_m``, ...).
    """

    def __init__(
        self,
        make_renderer: type[Renderer],
        splat: Splat,
        coherence: Coherence,
        closed: bool,
        size: tuple[int, int],
        photo_views: np.ndarray | None = None,
        least_photos: int = 3,
        **options: Any,
    ) -> None:
        self.closed = closed
        self.longest_m = max(float(coherence.smear_m.max()), 1e-9)
        unseen = np.zeros(len(splat)) if photo_views is None else photo_views < least_photos
        # The square root keeps digits where smears are short.
        features = np.stack([np.sqrt(coherence.smear_m / self.longest_m), coherence.floater, unseen], axis=1)
        self.colours = make_renderer(splat, *size, **options)
        self.features = make_renderer(
            replace(splat, sh=((features - 0.5) / SH0)[:, None].astype(np.float32)),
            *size,
            **{**options, "sh_degree": 0, "background": (0, 0, 0)},
        )

    def views(
        self, viewmats: np.ndarray, Ks: np.ndarray, lenses: Iterable[Lens | None] | None = None
    ) -> Iterator[Trust]:
        """Judge views [F, 4, 4] with intrinsics [F, 3, 3] and lenses in order."""
        lenses = None if lenses is None else list(lenses)
        frames: Iterable[tuple[Frame, Frame]] = zip(
            *(made.frames(viewmats, Ks, lenses or repeat(None)) for made in (self.colours, self.features)), strict=True
        )
        for frame, blended in frames:
            yield self._judge(frame, blended.rgb)

    def _judge(self, frame: Frame, features: np.ndarray) -> Trust:
        alpha, depth_m = frame.alpha, frame.depth_m
        solid = np.maximum(alpha, 1e-6)
        smear_m = (features[..., 0] / solid) ** 2 * self.longest_m
        mush = (alpha < SOLID_ALPHA) | (np.abs(depth_m - frame.median_m) > MUSH_SHARE * depth_m)
        covered = np.ones(alpha.shape, bool)
        if not self.closed:
            # What is empty within the outline counts; what is beside it does not, nor does the outline itself.
            covered = ndimage.binary_fill_holes(alpha >= COVERED_ALPHA)
            mush = ndimage.binary_opening(mush & covered, np.ones((3, 3)))
        hole = covered & (alpha < HOLE_ALPHA)
        if not self.closed:
            hole &= mush
        causes = {
            "hole": hole,
            "mush": mush & ~hole & _not_an_edge(depth_m),
            "smear": smear_m > SMEAR_RAD * depth_m,
            "floater": features[..., 1] > FLOATER_WEIGHT * solid,
            "unseen": features[..., 2] > UNSEEN_WEIGHT * solid,
        }
        seen = covered & (alpha >= HOLE_ALPHA)
        limited = {name: mask & (covered if name == "hole" else seen) for name, mask in causes.items()}
        return Trust(frame.rgb, frame.median_m, covered, limited)


def _not_an_edge(depth_m: np.ndarray) -> np.ndarray:
    """Pixels [H, W] away from depth discontinuities, at which every rasterizer mixes two surfaces."""
    low, high = ndimage.minimum_filter(depth_m, 3), ndimage.maximum_filter(depth_m, 3)
    edge = high > 1.2 * np.maximum(low, 1e-6)
    # A wide band of disagreement is mush; a thin one is an edge.
    return ~edge | ndimage.binary_opening(edge, np.ones((5, 5)))
