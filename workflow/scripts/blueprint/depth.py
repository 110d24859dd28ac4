"""Depth of a clip: the metric archive ``depth.npz``, written and read frame by frame, and the images of depth.mp4.

The archive is NumPy's own (`numpy.load` opens it): ``depth_m`` float32 ``[F, H, W]``, metres along the optical axis, 0
where nothing is; ``alpha`` uint8 ``[F, H, W]``, 0-255. A long clip is larger than memory, so no function holds more
than a frame.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import cv2
import numpy as np

from blueprint.errors import UserError
from blueprint.files import whole_file

COMPRESSION_LEVEL = 1
EPOCH = (1980, 1, 1, 0, 0, 0)
SURFACE_ALPHA = 0.5  # a pixel shows a surface when at least this much of it is covered
RANGE_TAIL = 0.005
MAX_GAP_SHARE = 0.01
DEPTH_BINS_M = np.geomspace(0.01, 10_000, 4097)


def write_depth(path: Path, frames: Iterable[tuple[np.ndarray, np.ndarray]], count: int | None = None) -> int:
    """Write depth and alpha of a clip; the file appears whole.

    Args:
        path: target, ``.npz``.
        frames: pairs of depth float32 ``[H, W]`` in metres and alpha float32 ``[H, W]`` in 0-1; taken one at a time.
        count: number of frames; needed when ``frames`` has no length, since the arrays' headers come first.

    Returns:
        The number of frames.
    """
    expected = len(frames) if count is None else count
    written = 0
    with (
        whole_file(path) as part,
        tempfile.TemporaryFile(dir=path.parent) as spool,
        zipfile.ZipFile(part, "w", compresslevel=COMPRESSION_LEVEL) as archive,
    ):
        # An archive takes one member at a time: alpha waits in a temporary file until depth is complete.
        with _member(archive, "depth_m") as depths, gzip.GzipFile(fileobj=spool, mode="wb", compresslevel=1) as waiting:
            for written, (depth_m, alpha) in enumerate(frames, start=1):
                if written == 1:
                    _write_header(depths, (expected, *depth_m.shape), np.float32)
                    _write_header(waiting, (expected, *alpha.shape), np.uint8)
                depths.write(np.ascontiguousarray(depth_m, dtype=np.float32))
                waiting.write(np.rint(np.clip(alpha, 0, 1) * 255).astype(np.uint8))
        if written != expected:
            raise ValueError(f"{path}: {expected} frames were announced, {written} came.")
        spool.seek(0)
        with _member(archive, "alpha") as target, gzip.GzipFile(fileobj=spool) as source:
            shutil.copyfileobj(source, target, 1 << 20)
    return written


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    info = zipfile.ZipInfo(f"{name}.npy", date_time=EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    return archive.open(info, "w", force_zip64=True)


def _write_header(stream: IO[bytes], shape: tuple[int, ...], dtype: type) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)


def iterate_depth(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read a ``depth.npz`` frame by frame.

    Yields:
        depth float32 ``[H, W]`` in metres and alpha float32 ``[H, W]`` in 0-1.

    Raises:
        UserError: absent, damaged, or without the two arrays.
    """
    try:
        with (
            zipfile.ZipFile(path) as archive,
            archive.open("depth_m.npy") as depths,
            archive.open("alpha.npy") as alphas,
        ):
            shape = _read_header(depths, np.float32)
            if _read_header(alphas, np.uint8) != shape or len(shape) != 3:
                raise ValueError(f"depth_m and alpha must be [F, H, W] alike, depth_m is {list(shape)}")
            for _ in range(shape[0]):
                depth_m = _read_frame(depths, shape[1:], np.float32)
                alpha = _read_frame(alphas, shape[1:], np.uint8)
                yield depth_m, alpha.astype(np.float32) / 255
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such depth file.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError) as error:
        raise UserError(f"{path}: is no readable depth archive ({error}). Delete it and run again.") from error


def _read_header(stream: IO[bytes], dtype: type) -> tuple[int, ...]:
    np.lib.format.read_magic(stream)
    shape, fortran, found = np.lib.format.read_array_header_1_0(stream)
    if fortran or found != np.dtype(dtype):
        raise ValueError(f"expected {np.dtype(dtype)} in C order, found {found}")
    return shape


def _read_frame(stream: IO[bytes], shape: tuple[int, ...], dtype: type) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    data = stream.read(size)
    if len(data) != size:
        raise EOFError("it ends within a frame")
    return np.frombuffer(data, dtype=dtype).reshape(shape)


class InverseDepthRange:
    """The range of inverse depth over a whole clip, collected frame by frame.

    The half percent at either end is left out, so that one stray Gaussian before the lens does not dim the rest.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(len(DEPTH_BINS_M) - 1, dtype=np.int64)

    def add(self, depth_m: np.ndarray, alpha: np.ndarray) -> None:
        """Take in a frame: depth [H, W] in metres and alpha [H, W] in 0-1."""
        self._counts += np.histogram(depth_m[alpha >= SURFACE_ALPHA], DEPTH_BINS_M)[0]

    def bounds_per_m(self) -> tuple[float, float]:
        """Inverse depth, 1/metres, that becomes black and that which becomes white."""
        total = self._counts.sum()
        if total == 0:
            return 0.0, 1.0
        share = np.cumsum(self._counts) / total
        near_m = DEPTH_BINS_M[np.searchsorted(share, RANGE_TAIL)]
        far_m = DEPTH_BINS_M[np.searchsorted(share, 1 - RANGE_TAIL) + 1]
        return float(1 / far_m), float(1 / near_m)


def control_image(depth_m: np.ndarray, alpha: np.ndarray, bounds_per_m: tuple[float, float]) -> np.ndarray:
    """A frame of the depth control video, as depth-conditioned video models are trained on: near bright, far dark.

    Args:
        depth_m: [H, W] metres.
        alpha: [H, W] 0-1.
        bounds_per_m: inverse depths of black and white, one pair for the whole clip.

    Returns:
        uint8 [H, W, 3] grey. Grey is linear in inverse depth. Gaps between Gaussians, up to 1 % of the width from a
        surface, take the depth of the nearest surface; where there is more of nothing, it is as far as can be (black).
    """
    low, high = bounds_per_m
    solid = alpha >= SURFACE_ALPHA
    inverse = np.zeros_like(depth_m)
    np.divide(1, depth_m, out=inverse, where=solid)
    if solid.any() and not solid.all():
        gap_px, nearest = cv2.distanceTransformWithLabels(
            (~solid).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
        )
        of_label = np.zeros(nearest.max() + 1, dtype=inverse.dtype)
        of_label[nearest[solid]] = inverse[solid]
        inverse = np.where(gap_px <= MAX_GAP_SHARE * depth_m.shape[1], of_label[nearest], 0)
    grey = np.rint(np.clip((inverse - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)
