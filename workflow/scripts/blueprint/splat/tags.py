"""What exporters say of a scene beside its Gaussians."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

MAX_HEADER_BYTES = 64 * 1024
SPZ_HEADER = struct.Struct("<4sIIBBBB")  # magic, version, Gaussians, SH degree, fractional bits, flags, reserved
SPZ_ANTIALIASED = 1
# Lines of PLY headers, in lower case: Brush, Postshot; Mip-Splatting's filter.
PLY_LINES = {
    "comment splatrendermode: mip": True,
    "comment splatrendermode: default": False,
    "comment antialiased 1": True,
    "comment antialiased 0": False,
    "property float filter_3d": True,
    "property float32 filter_3d": True,
}


def antialiased(path: Path) -> bool | None:
    """Whether a file says that its scene was trained to be drawn antialiased (mip); None where it does not say."""
    with path.open("rb") as stream:
        head = stream.read(MAX_HEADER_BYTES)
    if head.startswith(b"ply"):
        header = head.partition(b"end_header")[0].decode("latin-1")
        found = (PLY_LINES.get(" ".join(line.lower().split())) for line in header.splitlines())
        return next((said for said in found if said is not None), None)
    if head.startswith(b"\x1f\x8b"):
        try:
            head = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(head, SPZ_HEADER.size)
        except zlib.error:
            return None
    if head.startswith(b"NGSP") and len(head) >= SPZ_HEADER.size:
        return bool(SPZ_HEADER.unpack_from(head)[5] & SPZ_ANTIALIASED)
    return None
