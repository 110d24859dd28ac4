"""Niantic's SPZ, versions 1 to 4: https://github.com/nianticlabs/spz.

Versions 1 to 3 are one gzip stream; version 4 has a plain header and a Zstandard stream for each kind of value. Read
here and not by gsply, which takes version 1 for version 2 and unpacks whatever a file holds.
"""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np

from blueprint.splat.decoded import SQRT_HALF, Decoded, counted, exp

SPZ_HEADER = struct.Struct("<4sIIBBBB")  # magic, version, Gaussians, SH degree, fractional bits, flags, streams


def read_spz(path: Path) -> Decoded:
    """Read an SPZ file.

    Raises:
        ValueError, EOFError, OSError, struct.error, zlib.error: it is damaged, or of a kind that is not read.
    """
    raw = path.read_bytes()
    unpack = None
    if raw.startswith(b"\x1f\x8b"):
        unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
        head = unpack.decompress(raw, SPZ_HEADER.size)
    else:
        head = raw[: SPZ_HEADER.size]
    magic, version, count, degree, bits, _, streams = SPZ_HEADER.unpack(head)
    if magic != b"NGSP":
        raise ValueError(f"gzip of something else, which starts with {magic!r}")
    if (version not in (1, 2, 3)) if unpack else version != 4:
        raise ValueError(
            f"version {version} {'in' if unpack else 'without'} gzip; versions 1 to 3 in gzip and 4 are read"
        )
    if degree > 3:
        raise ValueError(f"SH degree {degree}; up to 3 is read")
    count, bands = counted(count), (degree + 1) ** 2 - 1
    sizes = [count * width for width in (6 if version == 1 else 9, 1, 3, 3, 4 if version >= 3 else 3, 3 * bands)]
    if unpack:
        data = unpack.decompress(unpack.unconsumed_tail, sum(sizes) or 1)
        if len(data) < sum(sizes):
            raise EOFError(f"truncated: {count} Gaussians need {sum(sizes)} bytes, {len(data)} are there")
        ends = np.cumsum([0, *sizes])
        sections = [data[start:end] for start, end in pairwise(ends)]
    else:
        sections = _zstandard_sections(raw, streams, [size for size in sizes if size] if count else [])
    place, alpha, colour, scale, turn, rest = [np.frombuffer(part, np.uint8) for part in [*sections, b""][:6]]
    return Decoded(
        "SPZ",
        _spz_means(place, version, bits),
        exp(scale.reshape(-1, 3) / np.float32(16) - 10),
        _smallest_three(turn) if version >= 3 else _first_three(turn),
        alpha / np.float32(255),
        np.concatenate(
            [
                ((colour.reshape(-1, 1, 3) / np.float32(255)) - 0.5) / np.float32(0.15),
                (rest.reshape(count, bands, 3).astype(np.float32) - 128) / 128,
            ],
            axis=1,
        ),
    )


def _zstandard_sections(raw: bytes, streams: int, sizes: list[int]) -> list[bytes]:
    import zstandard

    if streams != len(sizes):
        raise ValueError(f"{streams} streams, {len(sizes)} are needed")
    (table,) = struct.unpack_from("<I", raw, SPZ_HEADER.size)
    at, sections = table + 16 * streams, []
    for number, size in enumerate(sizes):
        packed, unpacked = struct.unpack_from("<QQ", raw, table + 16 * number)
        if unpacked != size:
            raise ValueError(f"stream {number} of {unpacked} bytes, {size} are needed")
        try:
            reader = zstandard.ZstdDecompressor().stream_reader(raw[at : at + packed])
            sections.append(reader.read(size))  # no more, whatever the frame announces
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error
        if len(sections[-1]) != size:
            raise EOFError(f"truncated: stream {number} has {len(sections[-1])} bytes, {size} are needed")
        at += packed
    return sections


def _spz_means(place: np.ndarray, version: int, bits: int) -> np.ndarray:
    if version == 1:
        return place.view("<f2").reshape(-1, 3).astype(np.float32)
    if not 1 <= bits <= 24:
        raise ValueError(f"{bits} fractional bits")
    octets = place.reshape(-1, 3, 3).astype(np.int32)
    fixed = octets[..., 0] | octets[..., 1] << 8 | octets[..., 2] << 16
    return ((fixed ^ 0x800000) - 0x800000).astype(np.float32) / np.float32(1 << bits)


def _first_three(turn: np.ndarray) -> np.ndarray:
    """Quaternions [N, 4] of which x, y, z are kept and w is what makes them unit."""
    vector = turn.reshape(-1, 3) / np.float32(127.5) - 1
    return np.concatenate([np.sqrt(np.maximum(0, 1 - (vector**2).sum(axis=1, keepdims=True))), vector], axis=1)


def _smallest_three(turn: np.ndarray) -> np.ndarray:
    """Quaternions [N, 4] of 32 bits: which of x, y, z, w is largest, and the others, 9 bits and a sign each."""
    packed = turn.view("<u4").astype(np.int64)
    largest = packed >> 30
    xyzw = np.zeros((len(packed), 4), np.float32)
    for axis in (3, 2, 1, 0):
        kept = largest != axis
        value = (packed & 511) * np.float32(SQRT_HALF / 511) * np.where(packed & 512, -1, 1)
        xyzw[kept, axis] = value[kept]
        packed = np.where(kept, packed >> 10, packed)
    rows = np.arange(len(xyzw))
    xyzw[rows, largest] = np.sqrt(np.maximum(0, 1 - (xyzw**2).sum(axis=1)))
    return np.roll(xyzw, 1, axis=1)
