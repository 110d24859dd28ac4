"""Metric depth of a clip in one ``depth.npz``, written and read frame by frame.

`numpy.load` opens it: ``depth_m`` float32 ``[F, H, W]``, metres along the optical axis, 0 where nothing is; ``alpha``
uint8 ``[F, H, W]``, 0-255. A long clip is larger than memory, so nothing here holds more than a few frames.
"""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np

from blueprint.errors import UserError
from blueprint.files import whole_file

COMPRESSION_LEVEL = 1
COMPRESSION_THREADS = 4
KEPT_MANTISSA_BITS = 15
EPOCH = (1980, 1, 1, 0, 0, 0)


def write_depth(path: Path, frames: Iterable[tuple[np.ndarray, np.ndarray]], count: int | None = None) -> int:
    """Write depth and alpha of a clip; the file appears whole.

    Depth is rounded to 15 bits of mantissa, 1/65536 of itself (0.15 mm at 10 m), which halves the file.

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
        tempfile.TemporaryFile(dir=path.parent) as waiting,
        ThreadPoolExecutor(COMPRESSION_THREADS) as pool,
        zipfile.ZipFile(part, "w") as archive,
    ):
        # An archive takes one member at a time: alpha waits in a temporary file until depth is complete.
        with _member(archive, "depth_m", pool) as depths:
            for written, (depth_m, alpha) in enumerate(frames, start=1):
                if written == 1:
                    _write_header(depths, (expected, *depth_m.shape), np.float32)
                depths.write(_rounded(depth_m).tobytes())
                waiting.write(np.rint(np.clip(alpha, 0, 1) * 255).astype(np.uint8))
        if written != expected or not written:
            raise ValueError(f"{path}: {expected} frames were announced, {written} came.")
        with _member(archive, "alpha", pool) as alphas:
            _write_header(alphas, (expected, *depth_m.shape), np.uint8)
            waiting.seek(0)
            while data := waiting.read(depth_m.size):
                alphas.write(data)
    return written


def _rounded(depth_m: np.ndarray) -> np.ndarray:
    dropped = 23 - KEPT_MANTISSA_BITS
    bits = np.ascontiguousarray(depth_m, dtype=np.float32).view(np.uint32)
    return ((bits + np.uint32(1 << (dropped - 1))) >> np.uint32(dropped) << np.uint32(dropped)).view(np.float32)


def _member(archive: zipfile.ZipFile, name: str, pool: ThreadPoolExecutor) -> IO[bytes]:
    info = zipfile.ZipInfo(f"{name}.npy", date_time=EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    member = archive.open(info, "w", force_zip64=True)
    # zipfile offers no way to hand in a compressor; one thread of zlib would be slower than the video encoder.
    member._compressor = _ParallelDeflate(pool)
    return member


class _ParallelDeflate:
    """Deflate write by write on several threads, joined into one stream as pigz does."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._pending: deque[Future[bytes]] = deque()

    def compress(self, data: bytes) -> bytes:
        """Take in data; give what is ready and next in order."""
        self._pending.append(self._pool.submit(self._block, bytes(data)))
        return self._pending.popleft().result() if len(self._pending) > COMPRESSION_THREADS else b""

    def flush(self) -> bytes:
        """The rest, and the empty block that ends a stream."""
        return b"".join(block.result() for block in self._pending) + b"\x03\x00"

    @staticmethod
    def _block(data: bytes) -> bytes:
        compressor = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        return compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)


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
