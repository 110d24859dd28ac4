"""Camera paths: in free space, framed as asked, the same in every orientation, distinct, and refused with reasons."""

import numpy as np
import pytest

from blueprint.axes import eyes_of, level_from_world
from blueprint.cameras.place import place
from blueprint.errors import UserError
from rooms import CUPBOARD, ROOM_M, TABLE, boxes, clip, room, turned

PATHS = ["orbit", "sweep", "manipulation"]


@pytest.fixture(scope="module")
def scene():
    return room()


@pytest.fixture(scope="module")
def thing():
    return boxes(((-0.3, -0.2, 0), (0.3, 0.2, 1.6)), ((-0.1, -0.1, 1.6), (0.1, 0.1, 1.9)))


def exact_clearance(eyes):
    clear = np.minimum(eyes, np.array(ROOM_M) - eyes).min(axis=-1)
    for low, high in (TABLE, CUPBOARD):
        outside = np.maximum(np.maximum(np.array(low) - eyes, eyes - np.array(high)), 0)
        clear = np.minimum(clear, np.linalg.norm(outside, axis=-1))
    return clear


def forwards_of(viewmats):
    return viewmats[:, 2, :3]


def upright(viewmats, up=(0, 0, 1)):
    """Level horizons: the camera's x axis has no share of up, and its y axis points down."""
    return np.allclose(viewmats[:, 0, :3] @ up, 0, atol=1e-9) and (viewmats[:, 1, :3] @ up < 0).all()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("index", [0, 3])
def test_cameras_stay_clear_of_matter_and_level(scene, path, index):
    cameras = place(scene, clip(path, index=index))
    eyes = eyes_of(cameras.viewmats)
    wanted = 0.15 if path == "manipulation" else 0.25
    assert len(eyes) == 24
    assert exact_clearance(eyes).min() > wanted - 0.05  # the grid's voxel
    assert upright(cameras.viewmats)
    rotations = cameras.viewmats[:, :3, :3]
    assert np.allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(3))
    assert np.allclose(np.linalg.det(rotations), 1)
    steps = np.linalg.norm(np.diff(eyes, axis=0), axis=1)
    assert steps.max() < 0.2 and np.ptp(steps) < 1e-6  # smooth and even


def test_an_orbit_looks_inwards_and_ten_degrees_down(scene):
    cameras = place(scene, clip("orbit"))
    eyes, centre = eyes_of(cameras.viewmats), np.array(cameras.placement["centre_m"])
    assert np.allclose(eyes[:, 2], 1.5)
    assert np.allclose(np.linalg.norm((eyes - centre)[:, :2], axis=1), cameras.placement["radius_m"], atol=2e-3)
    inwards = (centre - eyes)[:, :2] / cameras.placement["radius_m"]
    level = forwards_of(cameras.viewmats)[:, :2]
    assert (np.sum(inwards * level, axis=1) > 0.98 * np.cos(np.radians(10))).all()
    assert np.allclose(np.degrees(np.arcsin(-forwards_of(cameras.viewmats)[:, 2])), 10)


def test_every_number_that_is_given_is_kept(scene):
    spec = clip(
        "orbit",
        height_m=1.2,
        radius_m=1.3,
        arc_deg=60,
        heading_deg=200,
        look_down_deg=25,
        fov_deg=60,
        target_m=[2.6, 2.0, 0.75],
        clearance_m=0.3,
    )
    cameras = place(scene, spec)
    eyes = eyes_of(cameras.viewmats)
    apart = eyes - [2.6, 2.0, 0.75]
    assert np.allclose(eyes[:, 2], 1.2)
    assert np.allclose(np.linalg.norm(apart[:, :2], axis=1), 1.3)
    headings = np.degrees(np.unwrap(np.arctan2(apart[:, 1], apart[:, 0]))) % 360
    assert headings[0] == pytest.approx(200) and headings[-1] == pytest.approx(260)
    assert np.allclose(np.degrees(np.arcsin(-forwards_of(cameras.viewmats)[:, 2])), 25)
    assert 2 * np.degrees(np.arctan(32 / cameras.Ks[0, 0, 0])) == pytest.approx(60)


def test_a_target_is_in_the_middle_of_the_picture(scene):
    target = np.array([2.6, 2.0, 0.75])
    for path in PATHS:
        cameras = place(scene, clip(path, target_m=target.tolist()))
        seen = np.einsum("fij,j->fi", cameras.viewmats, [*target, 1])
        assert np.allclose(seen[:, :2], 0, atol=1e-6) and (seen[:, 2] > 0.3).all(), path


def test_a_full_orbit_does_not_repeat_its_first_frame(scene):
    eyes = eyes_of(place(scene, clip("orbit", arc_deg=360, frames=12, radius_m=1.0)).viewmats)
    steps = np.linalg.norm(np.diff(np.concatenate([eyes, eyes[:1]]), axis=0), axis=1)
    assert np.allclose(steps, steps[0])


def test_a_sweep_is_a_straight_line_of_the_length_and_direction_asked(scene):
    cameras = place(scene, clip("sweep", length_m=2.0, heading_deg=0, height_m=1.4))
    eyes = eyes_of(cameras.viewmats)
    assert np.allclose(eyes[-1] - eyes[0], [2, 0, 0], atol=1e-6)
    assert np.allclose(eyes[:, 2], 1.4)
    assert np.abs(forwards_of(cameras.viewmats)[:, 0]).max() < 1e-6  # looks across


def test_a_manipulation_arc_looks_at_the_table_from_where_one_can_stand(scene):
    cameras = place(scene, clip("manipulation"))
    target, eyes = np.array(cameras.placement["target_m"]), eyes_of(cameras.viewmats)
    (x0, y0, _), (x1, y1, top) = TABLE
    assert x0 <= target[0] <= x1 and y0 <= target[1] <= y1 and target[2] == pytest.approx(top, abs=0.1)
    assert np.allclose(np.linalg.norm((eyes - target)[:, :2], axis=1), 0.7, atol=2e-3)
    assert np.allclose(eyes[:, 2] - target[2], 0.45, atol=2e-3)
    middle = eyes[len(eyes) // 2]
    assert not (x0 < middle[0] < x1 and y0 < middle[1] < y1)
    seen = np.einsum("fij,j->fi", cameras.viewmats, [*target, 1])
    assert np.allclose(seen[:, :2] / seen[:, 2:3], 0, atol=0.01)


@pytest.mark.parametrize("up_axis", ["-y", "x", "-z"])
@pytest.mark.parametrize("path", ["orbit", "manipulation"])
def test_the_same_path_whatever_axis_is_up(scene, up_axis, path):
    """Placed in the turned scene, every camera sees what it sees in the upright one."""
    level = level_from_world(up_axis, 0.7)
    target = np.array([2.6, 2.0, 0.75])
    numbers = {"heading_deg": 250, "radius_m": 0.8, "arc_deg": 70}
    reference = place(scene, clip(path, target_m=target.tolist(), **numbers))
    in_world = (np.linalg.inv(level) @ [*target, 1])[:3].tolist()
    spec = clip(path, target_m=in_world, up_axis=up_axis, floor_height_m=0.7, **numbers)
    cameras = place(turned(scene, up_axis, 0.7), spec)
    assert upright(cameras.viewmats, level[2, :3])
    assert np.allclose(cameras.viewmats, reference.viewmats @ level)


@pytest.mark.parametrize("path", PATHS)
def test_clips_of_a_path_are_distinct_and_repeatable(scene, path):
    paths = [eyes_of(place(scene, clip(path, index=index)).viewmats) for index in range(4)]
    for first in range(4):
        for second in range(first):
            assert np.abs(paths[first] - paths[second]).max() > 0.1, (first, second)
    assert np.array_equal(paths[2], eyes_of(place(scene, clip(path, index=2)).viewmats))
    assert not np.array_equal(paths[2], eyes_of(place(scene, clip(path, index=2, seed=1)).viewmats))


@pytest.mark.parametrize("frames", [1, 2, 93])
@pytest.mark.parametrize("path", PATHS)
def test_any_number_of_frames(scene, path, frames):
    assert place(scene, clip(path, frames=frames)).viewmats.shape == (frames, 4, 4)


@pytest.mark.parametrize("path", PATHS)
def test_an_object_is_looked_at_from_outside(thing, path):
    cameras = place(thing, clip(path))
    eyes = eyes_of(cameras.viewmats)
    assert (np.linalg.norm(eyes[:, :2], axis=1) > 0.6).all() and (eyes[:, 2] > 0).all()
    seen = np.einsum("fij,j->fi", cameras.viewmats, [0, 0, 0.9, 1])
    assert (seen[:, 2] > 0).all()


def test_an_orbit_around_an_object_shows_all_of_it(thing):
    cameras = place(thing, clip("orbit", arc_deg=360))
    points = np.concatenate([thing.means, np.ones((len(thing), 1))], axis=1)
    for viewmat, K in zip(cameras.viewmats, cameras.Ks, strict=True):
        x, y, z = (points @ viewmat.T)[:, :3].T
        u, v = K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]
        assert (z > 0).all() and u.min() > 0 and u.max() < 64 and v.min() > 0 and v.max() < 48
        assert np.ptp(v) > 0.5 * 48  # and fills the picture


def refused(scene, *words, **keys):
    with pytest.raises(UserError) as caught:
        place(scene, clip(**keys))
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_what_cannot_be_placed_is_refused_with_numbers(scene, thing):
    refused(
        scene,
        "radius_m 3.00",
        "0.25 m clear",
        "largest that fits has radius_m",
        path="orbit",
        radius_m=3.0,
        arc_deg=360,
    )
    refused(scene, "around target_m", path="orbit", target_m=[0.3, 0.3, 1], radius_m=1.0, arc_deg=360)
    refused(scene, "line of 9.00 m", "longest free line is 4.", path="sweep", length_m=9.0)
    refused(scene, "radius_m 0.05", "0.15 m to solid", path="manipulation", radius_m=0.05, height_m=0.8)
    refused(scene, "no room is found 1.50 m", "clearance_m", path="orbit", clearance_m=2.2, side="inside")
    refused(thing, "no room is found", "set side to outside", path="orbit", side="inside")
    refused(thing, "radius_m 0.30", "Increase radius_m", path="orbit", radius_m=0.3)


def test_a_room_without_furniture_has_no_work_surface():
    refused(boxes(((0, 0, 0), ROOM_M)), "no level surface 0.6 to 1.25 m", "target_m", path="manipulation")


def test_a_room_is_orbited_from_outside_when_asked(scene):
    eyes = eyes_of(place(scene, clip("orbit", side="outside")).viewmats)
    assert (np.linalg.norm(eyes[:, :2] - [2.5, 2], axis=1) > 3.2).all()
