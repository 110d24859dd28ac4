"""What exporters say of antialiasing is read from the file and decides how the scene is drawn."""

import gzip
import struct

import numpy as np
import pytest

from blueprint.splat import load
from blueprint.splat.tags import antialiased
from rooms import room, write_ply


def spz(version, flags):
    return struct.pack("<4sIIBBBB", b"NGSP", version, 1, 0, 12, flags, 0) + bytes(20)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"ply\nformat binary_little_endian 1.0\ncomment SplatRenderMode: mip\nelement vertex 1\nend_header\n", True),
        (b"ply\r\nformat ascii 1.0\r\ncomment antialiased 1\r\nend_header\r\n", True),
        (b"ply\nformat ascii 1.0\ncomment antialiased 0\nend_header\n", False),
        (b"ply\nformat ascii 1.0\ncomment made by hand\nend_header\ncomment antialiased 1\n", None),
        (gzip.compress(spz(2, 1), mtime=0), True),
        (gzip.compress(spz(3, 0), mtime=0), False),
        (spz(4, 1), True),
        (b"\x1f\x8bdamaged", None),
        (b"something else", None),
    ],
)
def test_tags(tmp_path, content, expected):
    (tmp_path / "scene").write_bytes(content)
    assert antialiased(tmp_path / "scene") is expected


def test_a_loaded_scene_knows(tmp_path):
    path = tmp_path / "scene.ply"
    write_ply(path, room())
    assert load(path).antialiased is None
    plain = path.read_bytes()
    path.write_bytes(plain.replace(b"\nelement", b"\ncomment SplatRenderMode: mip\nelement", 1))
    tagged = load(path)
    assert tagged.antialiased is True and np.array_equal(tagged.means, room().means)
