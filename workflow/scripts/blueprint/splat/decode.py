"""Gaussians out of files, whatever the format: activated, uncleaned, in the file's own axes and units.

=================  ====================================================================================================
3DGS PLY           the layout of the paper's code (INRIA), which nerfstudio, gsplat, Brush, Postshot and others share
compressed PLY     PlayCanvas / SuperSplat; decoded by gsply
SPZ                Niantic, versions 1 to 4: https://github.com/nianticlabs/spz
.splat             antimatter15's viewer: 32 bytes a Gaussian, no header
.sog               PlayCanvas: a ZIP of WebP pictures with a meta.json, version 2
=================  ====================================================================================================

Nothing is allocated or unpacked beyond what a header's count explains, and a count is bounded.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from blueprint.errors import UserError
from blueprint.ply import COLOUR, PLACE, SHAPE, check_layout, read_columns, read_header
from blueprint.splat.decoded import Decoded, counted, exp, sigmoid
from blueprint.splat.sog import read_sog
from blueprint.splat.spz import read_spz

SH0 = 0.28209479177387814  # the spherical harmonic of degree 0
SPLAT_RECORD = np.dtype([("place", "<f4", 3), ("scale", "<f4", 3), ("colour", "u1", 4), ("turn", "u1", 4)])
CONVERT = "Convert it to PLY or SPZ, with SuperSplat (https://superspl.at) or `npx @playcanvas/splat-transform`."
OTHERS = {".ksplat": "a .ksplat file", ".lcc": "an LCC scene", ".glb": "a glTF file", ".gltf": "a glTF file"}


def decode(path: Path) -> Decoded:
    """Read the Gaussians of a file; its first bytes tell the format.

    Raises:
        UserError: absent, not Gaussians, damaged, empty, or in a format that is not read.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
    except OSError as error:
        raise UserError(
            f"{path}: the scene cannot be read ({error.strerror}). Correct `scene` or copy the file there."
        ) from error
    if head[:4].strip() == b"ply":
        return _read_ply(path)
    if head.startswith((b"\x1f\x8b", b"NGSP")):
        return _checked(path, "SPZ", read_spz)
    if head.startswith(b"PK\x03\x04"):
        return _checked(path, "SOG", read_sog)
    if path.suffix.lower() == ".splat":
        return _checked(path, ".splat", _read_splat)
    if path.suffix.lower() in OTHERS or head.startswith(b"glTF"):
        raise UserError(
            f"{path}: {OTHERS.get(path.suffix.lower(), 'a glTF file')}, a format that is not read. {CONVERT}"
        )
    raise UserError(
        f"{path}: is neither a PLY nor an SPZ, .sog or .splat file: it starts with {head[:24]!r}."
        + (" It is a Git LFS pointer: run `git lfs pull`." if b"git-lfs" in head else "")
    )


def _checked(path: Path, kind: str, read: Callable[[Path], Decoded]) -> Decoded:
    """What a reader makes of a file, its complaints in a message."""
    try:
        found = read(path)
    except (ValueError, KeyError, TypeError, OSError, EOFError, struct.error, zlib.error, zipfile.BadZipFile) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path}: not a readable {kind} file ({said}). Copy or export it again.") from error
    if len(found.means) == 0:
        raise UserError(f"{path}: holds no Gaussians.")
    return found


def _read_ply(path: Path) -> Decoded:
    layout = check_layout(path)
    if layout == "compressed PLY":
        return _read_compressed(path)
    header = read_header(path)
    names = header.element("vertex").names  # type: ignore[union-attr] - check_layout found it
    rest = [f"f_rest_{number}" for number in range(sum(name.startswith("f_rest_") for name in names))]
    smoothed = ["filter_3D"] if "filter_3D" in names else []
    table = read_columns(path, header, "vertex", [*PLACE, *COLOUR, *SHAPE, *rest, *smoothed])
    scales, opacities = exp(table[:, 7:10]), sigmoid(table[:, 6])
    if smoothed:
        scales, opacities = _smoothed(scales, opacities, table[:, -1])
    # All coefficients of red stand first, then those of green, then those of blue.
    higher = table[:, 14 : 14 + len(rest)].reshape(len(table), 3, -1).transpose(0, 2, 1)
    sh = np.concatenate([table[:, None, 3:6], higher], axis=1)
    return Decoded(layout, table[:, :3], scales, table[:, 10:14], opacities, sh)


def _smoothed(scales: np.ndarray, opacities: np.ndarray, filter_3d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scales and opacities under the 3D filter of Mip-Splatting (Yu et al. 2023, equation 7).

    Its exporter writes both without the filter, and its width beside them: each Gaussian is widened by it, and fainter
    by as much as its volume grew.
    """
    wider = np.sqrt(scales**2 + filter_3d[:, None] ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return wider, opacities * np.prod(scales / wider, axis=1)


def _read_compressed(path: Path) -> Decoded:
    import gsply  # slow to import

    try:
        data = gsply.plyread(path)
    except ValueError as error:
        raise UserError(f"{path}: a compressed PLY that cannot be decoded ({error}).") from error
    colours = [data.sh0[:, None]] if data.shN is None else [data.sh0[:, None], data.shN]
    opacities = sigmoid(data.opacities.reshape(-1))
    return Decoded(
        "compressed PLY", data.means, exp(data.scales), data.quats, opacities, np.concatenate(colours, axis=1)
    )


def _read_splat(path: Path) -> Decoded:
    size = path.stat().st_size
    if size % SPLAT_RECORD.itemsize:
        raise ValueError(f"{size} bytes, no multiple of {SPLAT_RECORD.itemsize}")
    records = np.fromfile(path, SPLAT_RECORD, counted(size // SPLAT_RECORD.itemsize))
    return Decoded(
        ".splat",
        records["place"],
        records["scale"],
        (records["turn"].astype(np.float32) - 128) / 128,
        records["colour"][:, 3] / np.float32(255),
        (records["colour"][:, None, :3] / np.float32(255) - 0.5) / np.float32(SH0),
    )
