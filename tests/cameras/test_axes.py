"""Conventions: up is up, left is left, and nothing is mirrored, in every orientation of the scene."""

import numpy as np
import pytest

from blueprint import axes

UP_AXES = ["x", "-x", "y", "-y", "z", "-z"]


def project(viewmat, K, point):
    x, y, z = viewmat[:3, :3] @ point + viewmat[:3, 3]
    return K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2], z


@pytest.mark.parametrize("up_axis", UP_AXES)
def test_level_frame_is_a_turn_with_up_as_z_and_the_floor_at_zero(up_axis):
    level = axes.level_from_world(up_axis, 1.5)
    rotation = level[:3, :3]
    assert np.allclose(rotation @ rotation.T, np.eye(3))
    assert np.linalg.det(rotation) == pytest.approx(1)  # -1 would mirror the scene
    up = np.zeros(3)
    up["xyz".index(up_axis[-1])] = -1 if up_axis[0] == "-" else 1
    assert np.allclose(rotation @ up, [0, 0, 1])
    on_floor = 1.5 * up + 7 * rotation[0] - 2 * rotation[1]
    assert (level @ [*on_floor, 1])[2] == pytest.approx(0)


def test_level_frame_of_z_up_is_the_world():
    assert np.array_equal(axes.level_from_world("z", 0.0), np.eye(4))


def test_level_x_follows_the_up_axis():
    assert np.allclose(axes.level_from_world("-y", 0)[:3, :3] @ [0, 0, 1], [1, 0, 0])
    assert np.allclose(axes.level_from_world("x", 0)[:3, :3] @ [0, 1, 0], [1, 0, 0])


def test_an_upright_camera_sees_up_above_and_left_on_the_left():
    # At the origin, 1.5 m up, looking along +y (heading 90 degrees): +x is on the right.
    viewmat = axes.opencv_viewmats(np.array([[0, 0, 1.5]]), axes.direction(np.array([np.pi / 2]), np.array([0.0])))[0]
    K = axes.intrinsics(640, 480, fov_x_deg=90)
    assert project(viewmat, K, np.array([0, 2, 1.5])) == pytest.approx((320, 240, 2))
    assert project(viewmat, K, np.array([1, 2, 1.5])) == pytest.approx((480, 240, 2))
    assert project(viewmat, K, np.array([0, 2, 2.0])) == pytest.approx((320, 160, 2))


def test_looking_down_moves_the_horizon_up():
    forward = axes.direction(np.array([0.0]), np.radians([20.0]))
    assert forward[0] == pytest.approx([np.cos(np.radians(20)), 0, -np.sin(np.radians(20))])
    viewmat = axes.opencv_viewmats(np.zeros((1, 3)), forward)[0]
    _, v, _ = project(viewmat, axes.intrinsics(100, 100, fov_x_deg=90), np.array([10.0, 0, 0]))
    assert v == pytest.approx(50 - 50 * np.tan(np.radians(20)))


def test_an_opengl_pose_of_known_content():
    """nerfstudio's camera at (0, 0, 5) with the identity rotation looks along -z, with +y up and +x on the right."""
    pose = np.eye(4)
    pose[2, 3] = 5
    viewmat = axes.opencv_from_opengl(pose[None])[0]
    K = axes.intrinsics(200, 100, fov_y_deg=90)
    assert K[0, 0] == K[1, 1] == pytest.approx(50)
    assert project(viewmat, K, np.array([1, 2, 0])) == pytest.approx((100 + 10, 50 - 20, 5))
    assert axes.eyes_of(viewmat[None])[0] == pytest.approx([0, 0, 5])


def test_fields_of_view():
    K = axes.intrinsics(640, 480, fov_x_deg=75)
    assert 2 * np.degrees(np.arctan(320 / K[0, 0])) == pytest.approx(75)
    assert (K[0, 2], K[1, 2]) == (320, 240)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_points_come_back_from_the_level_frame_in_their_precision(dtype):
    level = axes.level_from_world("-y", 0.7)
    points = np.array([[1, 2, 3], [4, 5, -6]], dtype=dtype)
    levelled = axes.moved(points, level)
    assert levelled.dtype == dtype
    assert levelled[0] == pytest.approx([3, -1, -2 - 0.7])  # along z, against x, above the floor
    assert np.allclose(axes.moved_back(levelled, level), points, atol=1e-6)
