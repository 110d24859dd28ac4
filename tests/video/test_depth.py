"""depth.npz: streamed, equal to what was given, and readable by NumPy."""

import tracemalloc

import numpy as np
import pytest

from blueprint import depth
from blueprint.errors import UserError


def frames(count=5, height=6, width=8):
    rng = np.random.default_rng(2)
    return [
        (
            *rng.uniform(0, 5, (2, height, width)).astype(np.float32),
            rng.integers(0, 256, (height, width)) / np.float32(255),
        )
        for _ in range(count)
    ]


def test_round_trip(tmp_path):
    path = tmp_path / "depth.npz"
    given = frames()
    assert depth.write_depth(path, iter(given), count=5) == 5
    expected, median = depth.iterate_depth(path), depth.iterate_depth(path, "median_m")
    for (depth_m, median_m, alpha), (read_m, read_alpha), (read_median_m, _) in zip(
        given, expected, median, strict=True
    ):
        assert np.all(np.abs(depth_m - read_m) <= depth_m / 65536)
        assert np.all(np.abs(median_m - read_median_m) <= median_m / 65536)
        assert np.allclose(alpha, read_alpha, atol=1e-6)


def test_numpy_reads_it(tmp_path):
    path = tmp_path / "depth.npz"
    depth.write_depth(path, frames(3))
    with np.load(path) as archive:
        assert sorted(archive.files) == ["alpha", "depth_m", "median_m"]
        assert (archive["depth_m"].dtype, archive["depth_m"].shape) == (np.float32, (3, 6, 8))
        assert (archive["alpha"].dtype, archive["alpha"].shape) == (np.uint8, (3, 6, 8))


def test_what_numpy_writes_is_read(tmp_path):
    path = tmp_path / "depth.npz"
    np.savez(path, depth_m=np.ones((2, 4, 4), np.float32), alpha=np.full((2, 4, 4), 255, np.uint8))
    assert [(d.mean(), a.mean()) for d, a in depth.iterate_depth(path)] == [(1, 1), (1, 1)]


def test_same_frames_give_the_same_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        depth.write_depth(tmp_path / name, frames(count=12, height=64, width=64))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_another_count_than_announced_fails_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="7 frames were announced, 5 came"):
        depth.write_depth(tmp_path / "depth.npz", iter(frames()), count=7)
    assert list(tmp_path.iterdir()) == []


def test_a_long_clip_is_never_in_memory(tmp_path):
    path = tmp_path / "depth.npz"
    frame_bytes = 4 * 90 * 120

    def long_clip():
        for number in range(300):
            depth_m = np.full((90, 120), 1 + number / 300, np.float32)
            yield depth_m, depth_m, np.ones((90, 120), np.float32)

    tracemalloc.start()
    depth.write_depth(path, long_clip(), count=300)
    assert sum(1 for _ in depth.iterate_depth(path)) == 300
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * frame_bytes


def test_depths_that_the_rounding_must_not_spoil(tmp_path):
    path = tmp_path / "depth.npz"
    values = np.array([[0.0, 1.0, 2.0, 0.05, 100.0, 2.0**-20, np.nextafter(np.float32(2), np.float32(0)), 1e4]])
    depth.write_depth(path, [(*[values.astype(np.float32)] * 2, np.ones(values.shape, np.float32))])
    ((read, _),) = depth.iterate_depth(path)
    assert read[0, :3].tolist() == [0, 1, 2]  # nothing there stays nothing
    assert np.all(np.abs(read - values) <= values / 65536)


def test_absent_cut_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "depth.npz"
    with pytest.raises(UserError, match="there is no such depth file"):
        list(depth.iterate_depth(path))
    depth.write_depth(path, frames())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="not a readable depth archive"):
        list(depth.iterate_depth(path))
    np.savez(path, other=np.ones(3))
    with pytest.raises(UserError, match=r"depth_m\.npy"):
        list(depth.iterate_depth(path))
    np.savez(path, depth_m=np.ones((2, 4, 4)), alpha=np.ones((2, 4, 4), np.uint8))
    with pytest.raises(UserError, match="expected float32 in C order, found float64"):
        list(depth.iterate_depth(path))
