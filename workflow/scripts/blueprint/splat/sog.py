"""PlayCanvas' SOG, version 2: a ZIP of lossless WebP pictures, one pixel a Gaussian, and a meta.json.

https://developer.playcanvas.com/user-manual/gaussian-splatting/formats/sog/
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.splat.decoded import SQRT_HALF, Decoded, counted, exp


def read_sog(path: Path) -> Decoded:
    """Read a bundled .sog file.

    Raises:
        ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile: it is damaged, or of a kind that is not read.
    """
    with zipfile.ZipFile(path) as archive:
        names = {Path(name).name: name for name in archive.namelist()}
        meta = json.loads(_unzipped(archive, names["meta.json"], 4 << 20))
        if meta.get("version") != 2:
            raise ValueError(f"version {meta.get('version')} of SOG; version 2 is read")
        count = counted(meta["count"])

        def pixels(section: str, number: int = 0, least: int = count) -> np.ndarray:
            name = meta[section]["files"][number]
            return _picture(_unzipped(archive, names[name], 65536 + 8 * least), name, least)

        low, high = pixels("means", 0)[:count, :3], pixels("means", 1)[:count, :3]
        bounds = np.array([meta["means"]["mins"], meta["means"]["maxs"]], np.float64)
        logs = bounds[0] + (bounds[1] - bounds[0]) * (low.astype(np.uint16) | high.astype(np.uint16) << 8) / 65535
        colour, turn = pixels("sh0")[:count], pixels("quats")[:count]
        sh = _codebook(meta["sh0"])[colour[:, None, :3]]
        if "shN" in meta:
            sh = np.concatenate([sh, _sog_harmonics(meta["shN"], pixels, count)], axis=1)
        scales = exp(_codebook(meta["scales"])[pixels("scales")[:count, :3]])
    means = (np.sign(logs) * np.expm1(np.abs(logs))).astype(np.float32)
    return Decoded("SOG", means, scales, _sog_quaternions(turn), colour[:, 3] / np.float32(255), sh)


def _unzipped(archive: zipfile.ZipFile, name: str, most_bytes: int) -> bytes:
    with archive.open(name) as stream:
        data = stream.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"{name} unpacks to more than {most_bytes:,} bytes")
    return data


def _picture(data: bytes, name: str, least: int) -> np.ndarray:
    """Pixels [M, 4] of a WebP picture, red first; its size is read before it is unpacked."""
    import cv2  # slow to import

    width, height = _webp_size(data, name)
    if not least <= width * height <= 2 * least + 65536:
        raise ValueError(f"{name} has {width} x {height} pixels for {least} values")
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.shape[:2] != (height, width):
        raise ValueError(f"{name} is damaged")
    return cv2.cvtColor(found, cv2.COLOR_BGRA2RGBA if found.shape[2] == 4 else cv2.COLOR_BGR2RGBA).reshape(-1, 4)


def _webp_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height of a WebP picture (RFC 9649): lossless, or one whose canvas says it."""
    if data[8:16] == b"WEBPVP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if data[8:16] == b"WEBPVP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    raise ValueError(f"{name} is no lossless WebP picture")


def _codebook(section: dict[str, Any]) -> np.ndarray:
    found = np.array(section["codebook"], np.float32)
    if found.shape != (256,):
        raise ValueError(f"a codebook of {found.shape} values, not 256")
    return found


def _sog_harmonics(section: dict[str, Any], pixels: Any, count: int) -> np.ndarray:
    """Higher harmonics [N, K, 3]: every Gaussian names one of a palette, which lies in rows of 64."""
    bands = (int(section["bands"]) + 1) ** 2 - 1
    entries = counted(section["count"])
    if bands not in (3, 8, 15):
        raise ValueError(f"harmonics of {section['bands']} bands")
    palette = pixels("shN", 0, -(-entries // 64) * 64 * bands)
    palette = palette[: len(palette) // bands * bands, :3].reshape(-1, bands, 3)
    labels = pixels("shN", 1)[:count].astype(np.uint32)
    index = labels[:, 0] | labels[:, 1] << 8
    if index.max(initial=0) >= entries:
        raise ValueError(f"harmonics number {index.max()} of {entries}")
    return _codebook(section)[palette[index]]


def _sog_quaternions(turn: np.ndarray) -> np.ndarray:
    """Quaternions [N, 4]: three components of a byte each; the fourth byte says which is left out (252: w)."""
    largest = turn[:, 3].astype(np.int64) - 252
    if (largest < 0).any():
        raise ValueError("a quaternion of an unknown kind")
    three = (turn[:, :3] / np.float32(127.5) - 1) * np.float32(SQRT_HALF)
    quats = np.zeros((len(turn), 4), np.float32)
    for missing in range(4):
        rows = largest == missing
        quats[np.ix_(rows, [axis for axis in range(4) if axis != missing])] = three[rows]
        quats[rows, missing] = np.sqrt(np.maximum(0, 1 - (three[rows] ** 2).sum(axis=1)))
    return quats
