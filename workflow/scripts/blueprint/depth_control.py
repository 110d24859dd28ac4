"""The depth control video, as depth-conditioned video models are trained on: relative inverse depth, near bright."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO

import cv2
import numpy as np

SURFACE_ALPHA = 0.5  # a pixel shows a surface when at least this much of it is covered
RANGE_TAIL = 0.005
MAX_GAP_SHARE = 0.01
CODED_DEPTHS_M = np.concatenate([[0.0], np.geomspace(0.01, 10_000, 65_535)])  # code 0: nothing is there


class DepthControl:
    """The control images of a clip.

    Grey is linear in inverse depth, with one range for the whole clip. The half percent at either end is left out, so
    that one stray Gaussian before the lens does not dim the rest. Gaps between Gaussians, up to 1 % of the width from a
    surface, take the depth of the nearest surface; where there is more of nothing, it is as far as can be (black).

    Args:
        spool: an empty temporary file. The range is known when the last frame is; until then frames wait here, as
            16-bit logarithms of depth.
    """

    def __init__(self, spool: IO[bytes]) -> None:
        self._spool = spool
        self._counts = np.zeros(len(CODED_DEPTHS_M), dtype=np.int64)
        self._shape = (0, 0)

    def add(self, depth_m: np.ndarray, alpha: np.ndarray) -> None:
        """Take in a frame: depth [H, W] in metres and alpha [H, W] in 0-1."""
        self._shape = depth_m.shape
        solid = alpha >= SURFACE_ALPHA
        codes = _encode(np.where(solid, depth_m, 0))
        self._counts += np.bincount(codes.ravel(), minlength=len(self._counts))
        if solid.any() and not solid.all():
            codes = _close_gaps(codes, solid)
        self._spool.write(codes)

    def add_all(self, frames: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """Take in all frames of a clip."""
        for depth_m, alpha in frames:
            self.add(depth_m, alpha)

    def range_m(self) -> tuple[float, float]:
        """Depths in metres that become white (the nearest) and black (the farthest)."""
        share = np.cumsum(self._counts[1:]) / max(self._counts[1:].sum(), 1)
        last = len(CODED_DEPTHS_M) - 1
        near = min(1 + int(np.searchsorted(share, RANGE_TAIL)), last - 1)
        far = min(max(1 + int(np.searchsorted(share, 1 - RANGE_TAIL)), near + 1), last)
        return float(CODED_DEPTHS_M[near]), float(CODED_DEPTHS_M[far])

    def images(self) -> Iterator[np.ndarray]:
        """The frames, uint8 [H, W] grey."""
        near_m, far_m = self.range_m()
        grey = np.zeros(len(CODED_DEPTHS_M), dtype=np.uint8)
        bright = (1 / CODED_DEPTHS_M[1:] - 1 / far_m) / (1 / near_m - 1 / far_m)
        grey[1:] = np.rint(np.clip(bright, 0, 1) * 255)
        self._spool.seek(0)
        while data := self._spool.read(2 * int(np.prod(self._shape))):
            yield grey[np.frombuffer(data, np.uint16).reshape(self._shape)]


def _encode(depth_m: np.ndarray) -> np.ndarray:
    """Depths [H, W] as uint16 numbers of `CODED_DEPTHS_M`; 0 stays 0."""
    nearest, farthest = np.log(CODED_DEPTHS_M[[1, -1]]).astype(np.float32)
    with np.errstate(divide="ignore"):
        place = (np.log(depth_m) - nearest) * np.float32((len(CODED_DEPTHS_M) - 2) / (farthest - nearest))
    return np.where(depth_m > 0, np.rint(np.clip(place, 0, len(CODED_DEPTHS_M) - 2)) + 1, 0).astype(np.uint16)


def _close_gaps(codes: np.ndarray, solid: np.ndarray) -> np.ndarray:
    gap_px, nearest = cv2.distanceTransformWithLabels(
        (~solid).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.zeros(nearest.max() + 1, dtype=codes.dtype)
    of_label[nearest[solid]] = codes[solid]
    return np.where(gap_px <= MAX_GAP_SHARE * codes.shape[1], of_label[nearest], 0).astype(codes.dtype)
