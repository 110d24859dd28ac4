"""The depth control video: grey is linear in inverse depth, near is bright, one range per clip, gaps are closed."""

import tempfile

import numpy as np
import pytest

from blueprint.depth_control import DepthControl


def images(*frames):
    with tempfile.TemporaryFile() as spool:
        control = DepthControl(spool)
        control.add_all(frames)
        return list(control.images()), control.range_m()


def solid(depth_m):
    depth_m = np.asarray(depth_m, np.float32)
    return depth_m, np.ones_like(depth_m)


def test_grey_is_linear_in_inverse_depth():
    depth_m = np.repeat(np.linspace(1, 5, 400)[None], 100, axis=0)
    (image,), (near_m, far_m) = images(solid(depth_m))
    assert (near_m, far_m) == pytest.approx((1, 5), abs=0.03)
    expected = np.clip((1 / depth_m - 1 / far_m) / (1 / near_m - 1 / far_m), 0, 1) * 255
    assert np.abs(image - expected).max() <= 1
    assert (image[:, 0] == 255).all() and (image[:, -1] == 0).all()
    assert image.dtype == np.uint8 and image.shape == (100, 400)


def test_one_range_for_the_whole_clip():
    """The same depth has the same grey in every frame, however near the other things in it are."""
    ramp = np.tile(np.linspace(2, 8, 100), (40, 1))
    nearer = ramp.copy()
    nearer[:, :50] = 1.0
    (first, second), _ = images(solid(ramp), solid(nearer))
    assert np.array_equal(first[:, 50:], second[:, 50:])
    assert first.max() < 255 and second.max() == 255


def test_a_stray_gaussian_before_the_lens_does_not_dim_the_rest():
    depth_m = np.tile(np.linspace(2, 8, 200), (100, 1))
    depth_m[50, 60] = 0.06
    (image,), (near_m, _) = images(solid(depth_m))
    assert near_m == pytest.approx(2, abs=0.1)
    assert image[50, 60] == 255 and image[:, 0].min() > 250


def test_small_gaps_close_and_large_ones_are_far():
    depth_m = np.tile(np.linspace(2, 4, 200), (100, 1)).astype(np.float32)
    alpha = np.ones_like(depth_m)
    depth_m[50, 100], alpha[50, 100] = 9.0, 0.3  # a gap between Gaussians: what shines through is another depth
    depth_m[:, 150:], alpha[:, 150:] = 0, 0  # a window with nothing behind
    (image,), (_, far_m) = images((depth_m, alpha))
    assert far_m < 4.1
    assert abs(int(image[50, 100]) - int(image[50, 99])) <= 2
    assert (image[:, 153:] == 0).all() and (image[:, :150] > 0).mean() > 0.99


def test_an_empty_clip_is_black():
    nothing = np.zeros((8, 8), np.float32)
    (image,), _ = images((nothing, nothing))
    assert (image == 0).all()


def test_a_flat_wall_is_white():
    (image,), _ = images(solid(np.full((8, 8), 2.0)))
    assert (image == 255).all()
