"""Metric depth of a clip in one ``depth.npz``, written and read frame by frame.

`numpy.load` opens it: ``depth_m`` float32 ``[F, H, W]``, the expected depth in metres along the optical axis, 0 where
nothing is; ``median_m`` alike, the depth at which half of the light is gone, which is what a depth camera sees, 0 where
less is; ``alpha`` uint8 ``[F, H, W]``, 0-255. A long clip is larger than memory, so nothing here holds more than a few
frames.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Literal

import numpy as np

from blueprint.errors import UserError
from blueprint.files import whole_file

COMPRESSION_LEVEL = 1
COMPRESSION_THREADS = 4
KEPT_MANTISSA_BITS = 15
EPOCH = (1980, 1, 1, 0, 0, 0)


def write_depth(
    path: Path, frames: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], count: int | None = None
) -> int:
    """Write the depths and alpha of a clip; the file appears whole.

    Depth is rounded to 15 bits of mantissa, 1/65536 of itself (0.15 mm at 10 m), which halves the file.

    Args:
        path: target, ``.npz``.
        frames: expected depth and median depth, float32 ``[H, W]`` in metres, and alpha, float32 ``[H, W]`` in 0-1;
            taken one at a time.
        count: number of frames; needed when ``frames`` has no length, since the arrays' headers come first.

    Returns:
        The number of frames.
    """
    expected = len(frames) if count is None else count
    written = 0
    with whole_file(path) as part, ExitStack() as open_files, ThreadPoolExecutor(COMPRESSION_THREADS) as pool:
        depths, medians, alphas = (
            _Column(name, dtype, pool, open_files.enter_context(tempfile.TemporaryFile(dir=path.parent)))
            for name, dtype in (("depth_m", np.float32), ("median_m", np.float32), ("alpha", np.uint8))
        )
        for depth_m, median_m, alpha in frames:
            written += 1
            shape = (expected, *depth_m.shape)
            depths.add(_rounded(depth_m), shape)
            medians.add(_rounded(median_m), shape)
            alphas.add(np.rint(np.clip(alpha, 0, 1) * 255).astype(np.uint8), shape)
        if written != expected or not written:
            raise ValueError(f"{path}: {expected} frames were announced, {written} came.")
        with zipfile.ZipFile(part, "w") as archive:
            for column in (depths, medians, alphas):
                column.store(archive)
    return written


def _rounded(depth_m: np.ndarray) -> np.ndarray:
    dropped = 23 - KEPT_MANTISSA_BITS
    bits = np.ascontiguousarray(depth_m, dtype=np.float32).view(np.uint32)
    return ((bits + np.uint32(1 << (dropped - 1))) >> np.uint32(dropped) << np.uint32(dropped)).view(np.float32)


class _Column:
    """One array of the archive, compressed as its frames come; it waits in a file until it is its turn."""

    def __init__(self, name: str, dtype: type, pool: ThreadPoolExecutor, waiting: IO[bytes]) -> None:
        self._name, self._dtype, self._waiting = name, dtype, waiting
        self._deflate = _ParallelDeflate(pool)
        self._checksum = self._size = 0

    def add(self, frame: np.ndarray, shape: tuple[int, ...]) -> None:
        """Take in a frame of the array, which has ``shape`` in all."""
        assert frame.dtype == self._dtype and frame.shape == shape[1:], (frame.dtype, frame.shape, shape)
        if not self._size:
            header = io.BytesIO()
            _write_header(header, shape, self._dtype)
            self._compress(header.getvalue())
        self._compress(frame.tobytes())

    def _compress(self, data: bytes) -> None:
        self._checksum = zlib.crc32(data, self._checksum)
        self._size += len(data)
        self._waiting.write(self._deflate.compress(data))

    def store(self, archive: zipfile.ZipFile) -> None:
        """Put the array into the archive."""
        self._waiting.write(self._deflate.flush())
        self._waiting.seek(0)
        info = zipfile.ZipInfo(f"{self._name}.npy", date_time=EPOCH)
        info.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(info, "w", force_zip64=True) as member:
            # zipfile offers no way to hand in what is compressed already.
            member._compressor = _AsItIs()
            shutil.copyfileobj(self._waiting, member, 1 << 20)
            member._crc, member._file_size = self._checksum, self._size


class _AsItIs:
    """A compressor of what is compressed."""

    def compress(self, data: bytes) -> bytes:
        """The data."""
        return data

    def flush(self) -> bytes:
        """Nothing is left."""
        return b""


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


def iterate_depth(
    path: Path, kind: Literal["depth_m", "median_m"] = "depth_m"
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read a ``depth.npz`` frame by frame.

    Args:
        path: the archive.
        kind: the expected depth, or the median one.

    Yields:
        depth float32 ``[H, W]`` in metres and alpha float32 ``[H, W]`` in 0-1.

    Raises:
        UserError: absent, damaged, or without the two arrays.
    """
    try:
        with (
            zipfile.ZipFile(path) as archive,
            archive.open(f"{kind}.npy") as depths,
            archive.open("alpha.npy") as alphas,
        ):
            shape = _read_header(depths, np.float32)
            if _read_header(alphas, np.uint8) != shape or len(shape) != 3:
                raise ValueError(f"{kind} and alpha must be [F, H, W] alike, {kind} is {list(shape)}")
            for _ in range(shape[0]):
                depth_m = _read_frame(depths, shape[1:], np.float32)
                alpha = _read_frame(alphas, shape[1:], np.uint8)
                yield depth_m, alpha.astype(np.float32) / 255
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such depth file.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError) as error:
        raise UserError(f"{path}: not a readable depth archive ({error}). Delete it and run again.") from error


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
