"""The occupancy grid: walls are solid however they are covered with Gaussians, haze and specks are not."""

import numpy as np
import pytest

from blueprint.axes import direction
from blueprint.cameras.space import principal_axes, survey_space
from blueprint.cameras.surroundings import find_room
from blueprint.splat import Splat
from rooms import CUPBOARD, ROOM_M, TABLE, boxes, room
from splats import make_splat


def merged(*splats):
    fields = ("means", "scales", "quats", "opacities", "sh")
    return Splat(*(np.concatenate([getattr(s, name) for s in splats]) for name in fields))


@pytest.fixture(scope="module")
def space():
    return survey_space(room(), np.eye(4))


def distance_to_boxes(points):
    """Exact distance from points in the room to its walls and furniture."""
    inner = np.minimum(points, np.array(ROOM_M) - points).min(axis=-1)
    for low, high in (TABLE, CUPBOARD):
        outside = np.maximum(np.maximum(np.array(low) - points, points - np.array(high)), 0)
        inner = np.minimum(inner, np.linalg.norm(outside, axis=-1))
    return inner


def test_clearance_agrees_with_the_exact_distance_to_a_voxel(space):
    points = np.random.default_rng(0).uniform(0.2, np.array(ROOM_M) - 0.2, (500, 3))
    exact = distance_to_boxes(points)
    points, exact = points[exact > 0.1], exact[exact > 0.1]
    assert np.abs(space.clearance_m(points) - exact).max() < 2 * space.voxel_m


def test_view_depth_agrees_with_the_exact_distance(space):
    eye = np.array([1.0, 1.0, 1.5])
    looks = direction(np.radians([0, 90, 180, 270]), 0.0)
    assert space.view_depth_m(eye, looks, 10.0) == pytest.approx([4, 2.4, 1, 1], abs=0.11)
    down = direction(np.zeros(1), np.radians([80.0]))
    assert space.view_depth_m(eye, down, 10.0) == pytest.approx([1.5 / np.sin(np.radians(80))], abs=0.11)
    assert space.view_depth_m(eye, looks, 0.5) == pytest.approx([0.5] * 4)


def test_outside_the_grid_clearance_grows(space):
    points = np.array([[-3.0, 2, 1], [-6.0, 2, 1]])
    near, far = space.clearance_m(points)
    assert 2.4 < near <= 3.05 and 5.4 < far <= 6.05


@pytest.mark.parametrize("spacing_m", [0.03, 0.3])
def test_walls_of_few_large_and_of_many_small_gaussians_are_solid(spacing_m):
    walls = survey_space(boxes(((0, 0, 0), ROOM_M), spacing_m=spacing_m), np.eye(4))
    headings = np.linspace(0, 2 * np.pi, 90)
    assert (walls.view_depth_m(np.array([2.5, 2, 1.3]), direction(headings, 0.0), 9.0) < 4).all()


def test_haze_and_specks_are_not_solid():
    rng = np.random.default_rng(1)
    haze = make_splat(rng.uniform(0.5, 2.4, (300, 3)), 0.3, opacities=0.06)
    specks = make_splat(rng.uniform(0.5, 2.4, (60, 3)), 0.012, opacities=0.99)
    space = survey_space(merged(room(), haze, specks), np.eye(4))
    clear = survey_space(room(), np.eye(4))
    assert not (space.solid & (clear.distance_m > 2 * space.voxel_m)).any()


def test_a_ball_of_matter_in_the_air_is_solid():
    ball = make_splat(np.random.default_rng(1).normal([1.2, 1.0, 1.5], 0.08, (400, 3)), 0.03, opacities=0.9)
    space = survey_space(merged(room(), ball), np.eye(4))
    assert space.clearance_m(np.array([1.2, 1.0, 1.5])) == 0
    assert space.view_depth_m(np.array([0.4, 1.0, 1.5]), np.array([1.0, 0, 0]), 5.0) < 0.8


def test_principal_axes_follow_the_quaternion():
    # A quarter turn about z takes x to y; scales are largest along the second axis, then the first.
    turn = np.array([[np.sqrt(0.5), 0, 0, np.sqrt(0.5)]], np.float32)
    first, second = principal_axes(turn, np.array([[0.2, 0.5, 0.1]], np.float32))[0]
    assert first == pytest.approx([-0.5, 0, 0], abs=1e-6)
    assert second == pytest.approx([0, 0.2, 0], abs=1e-6)


def test_the_room_is_what_the_walls_enclose(space):
    found = find_room(space, 1.5, 0.25)
    assert found.centre == pytest.approx([2.7, 1.9], abs=0.2)
    assert found.plan.sum() * space.voxel_m**2 == pytest.approx(4.5 * 3.5 - 1.2 * 0.6, rel=0.08)
    points = np.array([[2.5, 2, 1.5], [0.6, 3.7, 1.5], [-1.0, 2, 1.5], [0.1, 2, 1.5]])
    assert found.free(points).tolist() == [True, False, False, False]  # free, in the cupboard, outside, at the wall


def test_of_two_rooms_the_larger_or_the_one_that_is_named():
    space = survey_space(boxes(((0, 0, 0), (4, 3, 2.5)), ((4, 0, 0), (6.5, 3, 2.5))), np.eye(4))
    assert find_room(space, 1.5, 0.25).centre == pytest.approx([2, 1.5], abs=0.1)
    assert find_room(space, 1.5, 0.25, np.array([5.5, 1, 0.8])).centre == pytest.approx([5.25, 1.5], abs=0.1)


def test_there_is_no_room_around_a_single_box():
    space = survey_space(boxes(((0, 0, 0), (0.5, 0.4, 1.8))), np.eye(4))
    assert find_room(space, 1.5, 0.25) is None
