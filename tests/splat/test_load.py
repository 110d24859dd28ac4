"""Scenes from real files: every format decoded to the same Gaussians, everything else refused with what was found."""

import gzip
import struct
from pathlib import Path

import gsply
import numpy as np
import pytest
from gsply.spz import write_spz

from blueprint.errors import UserError
from blueprint.splat import load, survey
from scene_files import COUNT, gaussians, gsdata, write_inria, write_ply


def rotations(quats):
    """Rotation matrices, so that q and -q compare equal."""
    w, x, y, z = np.moveaxis(np.asarray(quats, float), -1, 0)
    return np.stack(
        [
            *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
        ],
        axis=-1,
    )


def assert_same(splat, raw, *, position_m=1e-6, log_scale=1e-5, rotation=1e-5, opacity=1e-5, dc=1e-5, rest=1e-5):
    unit = raw["quats"] / np.linalg.norm(raw["quats"], axis=1, keepdims=True)
    assert np.abs(splat.means - raw["means"]).max() <= position_m
    assert np.abs(np.log(splat.scales) - raw["log_scales"]).max() <= log_scale
    assert np.abs(np.linalg.norm(splat.quats, axis=1) - 1).max() < 1e-5
    assert np.abs(rotations(splat.quats) - rotations(unit)).max() <= rotation
    assert np.abs(splat.opacities - 1 / (1 + np.exp(-raw["logits"]))).max() <= opacity
    assert np.abs(splat.sh[:, 0] - raw["dc"]).max() <= dc
    if raw["rest"].shape[1]:
        assert np.abs(splat.sh[:, 1:] - raw["rest"]).max() <= rest


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("normals", [False, True])
def test_inria_ply(tmp_path, degree, normals):
    raw = gaussians(degree)
    splat, found = survey(write_inria(tmp_path / "scene.ply", raw, normals))
    assert (found.format, found.gaussians, found.usable, found.sh_degree) == ("3DGS PLY", COUNT, COUNT, degree)
    assert splat.sh_degree == degree and len(splat) == COUNT
    assert_same(splat, raw)
    for array in (splat.means, splat.scales, splat.quats, splat.opacities, splat.sh):
        assert array.dtype == np.float32 and array.flags.c_contiguous and array.flags.owndata


@pytest.mark.parametrize("degree", [0, 3])
def test_compressed_ply(tmp_path, degree):
    raw = gaussians(degree)
    path = tmp_path / "scene.compressed.ply"
    path.write_bytes(gsply.compress_to_bytes(gsdata(raw)))
    splat, found = survey(path)
    assert (found.format, found.sh_degree, len(splat)) == ("compressed PLY", degree, COUNT)
    # The writer sorts Gaussians along a space-filling curve: pair them by position.
    order = np.array([np.abs(splat.means - mean).sum(axis=1).argmin() for mean in raw["means"]])
    assert len(set(order)) == COUNT
    sorted_splat = type(splat)(*(a[order] for a in (splat.means, splat.scales, splat.quats, splat.opacities, splat.sh)))
    tolerances = {"position_m": 0.01, "log_scale": 0.01, "rotation": 0.01, "opacity": 0.01, "dc": 0.03, "rest": 0.02}
    assert_same(sorted_splat, raw, **tolerances)


def test_compressed_ply_by_hand(tmp_path):
    """One Gaussian packed here by the format's definition (PlayCanvas: 11-10-11, 2-10-10-10 and 8-8-8-8 bits)."""
    chunk = np.array([0, 0, 0, 2, 4, 8, -4, -4, -4, -2, -2, -2, 0, 0, 0, 1, 1, 1], "<f4")
    position = (2047 << 21) | (512 << 11) | 0
    rotation = (0 << 30) | (1023 << 20) | (512 << 10) | 512  # w largest; x = 1/sqrt(2)
    scale = (0 << 21) | (1023 << 11) | 1024
    colour = (255 << 24) | (128 << 16) | (0 << 8) | 51
    names = [f"{end}_{axis}" for end in ("min", "max") for axis in "xyz"]
    names += [f"{end}_scale_{axis}" for end in ("min", "max") for axis in "xyz"]
    names += [f"{end}_{axis}" for end in ("min", "max") for axis in "rgb"]
    header = "ply\nformat binary_little_endian 1.0\nelement chunk 1\n" + "".join(f"property float {n}\n" for n in names)
    header += "element vertex 1\n"
    header += "".join(f"property uint packed_{n}\n" for n in ("position", "rotation", "scale", "color"))
    header += "element sh 1\n" + "".join(f"property uchar f_rest_{i}\n" for i in range(9)) + "end_header\n"
    rest = bytes([160, 128, 128, 128, 96, 128, 128, 128, 192])
    path = tmp_path / "one.ply"
    path.write_bytes(header.encode() + chunk.tobytes() + struct.pack("<4I", position, rotation, scale, colour) + rest)
    splat = load(path)
    assert np.allclose(splat.means, [[2, 4 * 512 / 1023, 0]], atol=1e-5)
    assert np.allclose(np.log(splat.scales), [[-4, -2, -4 + 2 * 1024 / 2047]], atol=1e-4)
    assert np.allclose(splat.quats, [[np.sqrt(0.5), np.sqrt(0.5), 0, 0]], atol=2e-3)
    assert np.allclose(splat.opacities, [0.2], atol=1e-4)
    c0 = 0.28209479177387814
    assert np.allclose(splat.sh[0, 0], [(1 - 0.5) / c0, (128 / 255 - 0.5) / c0, -0.5 / c0], atol=1e-4)
    # Bytes run through the coefficients of red, green, blue; (byte - 127.5) / 32.
    assert np.allclose(splat.sh[0, 1:, 0], np.array([32.5, 0.5, 0.5]) / 32, atol=1e-5)
    assert np.allclose(splat.sh[0, 1:, 1], np.array([0.5, -31.5, 0.5]) / 32, atol=1e-5)
    assert np.allclose(splat.sh[0, 1:, 2], np.array([0.5, 0.5, 64.5]) / 32, atol=1e-5)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_spz(tmp_path, degree):
    raw = gaussians(degree)
    path = tmp_path / "scene.spz"
    write_spz(path, gsdata(raw))
    splat, found = survey(path)
    assert (found.format, found.sh_degree, len(splat)) == ("SPZ", degree, COUNT)
    steps = {"position_m": 2e-4, "log_scale": 0.04, "rotation": 0.02, "opacity": 0.003, "dc": 0.03, "rest": 0.005}
    raw["dc"] = np.clip(raw["dc"], -3.3, 3.3)  # SPZ holds no stronger colours
    assert_same(splat, raw, **steps)


def test_the_guitar_capture():
    path = Path("../shared/data/guitar.compressed.ply")
    if not path.exists():
        pytest.skip(f"{path} (a capture that the repository does not carry) is not there")
    splat, found = survey(path)
    assert (found.gaussians, found.usable, found.sh_degree) == (90854, 90854, 0)
    assert 4 < np.ptp(splat.means[:, 1]) < 5


def test_infinite_logits_and_log_scales_are_meant(tmp_path):
    """Some exporters write opacity 1 as +inf and a flat Gaussian as -inf."""
    raw = gaussians(0)
    raw["logits"][:300], raw["log_scales"][:300, 2] = np.inf, -np.inf
    splat = load(write_inria(tmp_path / "flat.ply", raw))
    assert len(splat) == COUNT
    assert (splat.opacities[:300] == 1).all() and (splat.scales[:300, 2] == 0).all()


def broken(column, value, rows):
    raw = gaussians(1)
    raw[column][:rows] = value
    return raw


FAULTS = [
    ("means", np.nan, "not_finite"),
    ("means", np.inf, "not_finite"),
    ("rest", np.nan, "not_finite"),
    ("log_scales", 200.0, "not_finite"),
    ("quats", 0.0, "zero_quaternions"),
    ("log_scales", 7.0, "huge"),
]


@pytest.mark.parametrize(("column", "value", "counted"), FAULTS)
def test_a_few_unusable_gaussians_are_dropped_and_counted(tmp_path, column, value, counted):
    splat, found = survey(write_inria(tmp_path / "scene.ply", broken(column, value, 5)))
    assert (found.gaussians, found.usable, len(splat), getattr(found, counted)) == (COUNT, COUNT - 5, COUNT - 5, 5)
    assert np.allclose(splat.means, gaussians(1)["means"][5:], atol=1e-6)
    for array in (splat.means, splat.scales, splat.quats, splat.opacities, splat.sh):
        assert np.isfinite(array).all()


@pytest.mark.parametrize(("column", "value", "counted"), FAULTS)
def test_many_unusable_gaussians_are_refused_with_their_count(tmp_path, column, value, counted):
    said = {"not_finite": "60 with NaN", "zero_quaternions": "60 with a zero quaternion", "huge": "60 of a kilometre"}
    with pytest.raises(UserError, match=rf"10\.0% of 600 .*{said[counted]}"):
        load(write_inria(tmp_path / "scene.ply", broken(column, value, 60)))


def test_points_and_invisible_gaussians_are_counted_and_kept(tmp_path):
    raw = gaussians(0)
    raw["logits"] = np.abs(raw["logits"])
    raw["log_scales"][:7], raw["logits"][:9] = -20, -9
    splat, found = survey(write_inria(tmp_path / "scene.ply", raw))
    assert (found.points, found.invisible, len(splat)) == (7, 9, COUNT)


def test_bounds_are_robust(tmp_path):
    raw = gaussians(0)
    raw["means"][0] = [500, -500, 500]
    found = survey(write_inria(tmp_path / "scene.ply", raw))[1]
    assert found.highest_m[0] == 500 and found.lowest_m[1] == -500
    assert -2 <= found.robust_lowest_m[0] < found.robust_highest_m[0] <= 3


def refusal(path, content=None):
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_an_absent_file_and_a_folder(tmp_path):
    assert "cannot be read (No such file or directory)" in refusal(tmp_path / "absent.ply")
    assert "cannot be read (Is a directory)" in refusal(tmp_path)


def test_what_is_no_splat_file(tmp_path):
    path = tmp_path / "scene.ply"
    assert "starts with b'<!DOCTYPE html>'" in refusal(path, b"<!DOCTYPE html>")
    assert "git lfs pull" in refusal(path, b"version https://git-lfs.github.com/spec/v1\n")
    assert "starts with b''" in refusal(path, b"")


def test_an_empty_scene(tmp_path):
    assert "no Gaussians" in refusal(write_inria(tmp_path / "scene.ply", gaussians(0, count=0)))
    write_spz(tmp_path / "scene.spz", gsdata(gaussians(0, count=1)))
    packed = tmp_path / "scene.spz"
    header = bytearray(gzip.decompress(packed.read_bytes())[:16])
    header[8:12] = struct.pack("<I", 0)
    assert "no Gaussians" in refusal(packed, gzip.compress(bytes(header)))


def test_a_transparent_scene(tmp_path):
    raw = gaussians(0)
    raw["logits"][:] = -9
    assert "all of its 600 Gaussians are transparent" in refusal(write_inria(tmp_path / "scene.ply", raw))


@pytest.mark.parametrize("share", [0.999, 0.5])
def test_a_truncated_ply_says_how_much_is_missing(tmp_path, share):
    path = write_inria(tmp_path / "scene.ply", gaussians(3))
    data = path.read_bytes()
    message = refusal(path, data[: int(len(data) * share)])
    assert f"truncated: 600 Gaussians need {len(data)} bytes, the file has {int(len(data) * share)}" in message


def test_truncated_headers_compressed_files_and_spz(tmp_path):
    path = write_inria(tmp_path / "scene.ply", gaussians(3))
    assert "without the end of its header" in refusal(path, path.read_bytes()[:200])
    data = gsply.compress_to_bytes(gsdata(gaussians(3)))
    assert "truncated: 600 Gaussians" in refusal(path, data[:-1])
    spz = tmp_path / "scene.spz"
    write_spz(spz, gsdata(gaussians(3)))
    assert "not a readable SPZ" in refusal(spz, spz.read_bytes()[:-100])


def test_an_spz_version_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "scene.spz"
    assert "not a readable SPZ" in refusal(
        path, struct.pack("<4sIIBBBBI", b"NGSP", 4, 600, 0, 12, 0, 5, 32) + bytes(12)
    )


def test_meshes_and_point_clouds(tmp_path):
    path = tmp_path / "scene.ply"
    write_ply(
        path, ["x", "y", "z"], np.zeros((8, 3), "<f4"), more="element face 12\nproperty list uchar int vertex_index\n"
    )
    assert "a mesh (8 vertices, 12 faces), not a Gaussian splat" in refusal(path)
    write_ply(path, ["x", "y", "z", "red", "green", "blue"], np.zeros((20, 6), "<f4"))
    assert "a point cloud (20 points), not a Gaussian splat" in refusal(path)


def test_unusual_gaussian_plys(tmp_path):
    path = write_inria(tmp_path / "scene.ply", gaussians(1))
    whole = path.read_bytes()
    assert "600 Gaussians without opacity" in refusal(path, whole.replace(b"float opacity", b"float opaqueX"))
    assert "8 f_rest properties" in refusal(path, whole.replace(b"f_rest_8", b"x_rest_8"))
    assert "its PLY header is damaged (the type of" in refusal(path, whole.replace(b"float opacity", b"flaot opacity"))
    lists = b"element face 1\nproperty list uchar int vertex_index\nelement vertex 600"
    assert "lists of values in the element face" in refusal(path, whole.replace(b"element vertex 600", lists))
    assert "in pdp_endian encoding" in refusal(path, whole.replace(b"binary_little_endian", b"pdp_endian"))
    many = refusal(path, whole.replace(b"element vertex 600", b"element vertex 600000000000000"))
    assert "truncated: 600000000000000 Gaussians" in many
    assert "header is damaged" in refusal(path, whole.replace(b"element vertex 600", b"element vertex six"))
    packed = gsply.compress_to_bytes(gsdata(gaussians(1)))
    assert "need 3 chunks, it has 4" in refusal(path, packed.replace(b"element chunk 3", b"element chunk 4"))
    types = packed.replace(b"property uint packed_scale", b"property float packed_scale")
    assert "unknown layout (float packed_scale of vertex)" in refusal(path, types)
    older = packed.replace(b"property float min_r\n", b"")
    assert "older kind (17 values per chunk" in refusal(path, older)
