"""nerfstudio's camera_path files: read in their own convention, refused when they are something else."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from blueprint.axes import eyes_of
from blueprint.cameras.file import read_camera_path
from blueprint.cameras.place import place
from blueprint.errors import UserError
from rooms import clip, room


def pose(eye, euler_deg=(90, 0, 0)):
    """OpenGL camera to world; turned 90 degrees about x, the camera looks along +y with z up."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", euler_deg, degrees=True).as_matrix()
    matrix[:3, 3] = eye
    return matrix


def write(folder, poses, fov=50.0, name="path.json", **more):
    frames = [{"camera_to_world": np.ravel(matrix).tolist(), "fov": fov, "aspect": 1.33} for matrix in poses]
    content = {"camera_type": "perspective", "render_height": 1080, "render_width": 1440, "fps": 24, "seconds": 4}
    path = folder / name
    path.write_text(json.dumps({**content, "camera_path": frames, **more}))
    return path


def test_poses_and_field_of_view(tmp_path):
    path = write(tmp_path, [pose([1, 0.5, 1.5]), pose([1.5, 0.5, 1.5])])
    found = read_camera_path(path, 2, 640, 480, None, None)
    assert np.allclose(eyes_of(found.viewmats), [[1, 0.5, 1.5], [1.5, 0.5, 1.5]])
    # A point ahead (+y), to the right (+x) and above (+z): right of and above the middle of the picture.
    x, y, z = (found.viewmats[0] @ [1.4, 2.5, 1.8, 1])[:3]
    assert (x, y, z) == pytest.approx((0.4, -0.3, 2.0))
    assert 2 * np.degrees(np.arctan(240 / found.Ks[0, 1, 1])) == pytest.approx(50)  # fov is vertical
    wide = read_camera_path(path, 2, 640, 480, 90.0, None)
    assert wide.Ks[0, 0, 0] == pytest.approx(320)


def test_resampling_keeps_the_ends_and_turns_evenly(tmp_path):
    path = write(tmp_path, [pose([1, 1, 1.5]), pose([2, 1, 1.5], (90, 0, 90))])
    found = read_camera_path(path, 5, 64, 48, None, None)
    assert np.allclose(eyes_of(found.viewmats)[:, 0], [1, 1.25, 1.5, 1.75, 2])
    headings = np.degrees(np.arctan2(found.viewmats[:, 2, 1], found.viewmats[:, 2, 0]))
    assert np.allclose(headings, [90, 112.5, 135, 157.5, 180])
    assert len(read_camera_path(write(tmp_path, [pose([1, 1, 1])]), 3, 64, 48, None, None).viewmats) == 3


def test_dataparser_transforms_are_undone(tmp_path):
    """nerfstudio turns, shifts and scales a capture; the file's camera comes back to where it was taken."""
    original = pose([1, 0.5, 1.5])
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", [10, 20, 30], degrees=True).as_matrix()
    turn[:3, 3] = [0.3, -0.2, 0.1]
    seen = turn @ original
    seen[:3, 3] *= 0.25
    transforms = tmp_path / "dataparser_transforms.json"
    transforms.write_text(json.dumps({"transform": turn[:3].tolist(), "scale": 0.25}))
    found = read_camera_path(write(tmp_path, [seen]), 1, 64, 48, None, transforms)
    assert np.allclose(np.linalg.inv(found.viewmats[0]), original @ np.diag([1, -1, -1, 1]))
    transforms.write_text("{}")
    with pytest.raises(UserError, match="dataparser_transforms"):
        read_camera_path(write(tmp_path, [seen]), 1, 64, 48, None, transforms)


def test_a_clip_from_a_file(tmp_path):
    path = write(tmp_path, [pose([1, 0.5, 1.5]), pose([4, 0.5, 1.5])])
    cameras = place(room(), clip("file", file=str(path)))
    assert cameras.viewmats.shape == (24, 4, 4)
    assert cameras.placement["least_clearance_m"] == pytest.approx(0.5, abs=0.06)


def test_a_path_through_a_wall_is_refused(tmp_path):
    path = write(tmp_path, [pose([2.5, 1, 1.5]), pose([2.5, 6, 1.5])])
    with pytest.raises(
        UserError, match=r"path\.json: [12] of 24 frames .* 0\.05 m from solid matter .* the first is frame 13"
    ):
        place(room(), clip("file", file=str(path)))
    assert len(place(room(), clip("file", file=str(path), clearance_m=0)).viewmats) == 24


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"camera_path": []}, "camera_path is empty"),
        ({"camera_type": "equirectangular"}, "only perspective"),
        ({"camera_path": [{"camera_to_world": [1, 2, 3], "fov": 50}]}, "not a nerfstudio camera_path"),
        ({"camera_path": [{"fov": 50}]}, "camera_to_world"),
        ({"camera_path": [{"camera_to_world": np.diag([1, 1, -1, 1]).ravel().tolist(), "fov": 50}]}, "mirrored"),
        ({"camera_path": [{"camera_to_world": np.eye(4).ravel().tolist(), "fov": 0}]}, "fields of view"),
    ],
)
def test_other_files_are_refused(tmp_path, change, said):
    path = write(tmp_path, [pose([1, 1, 1])], **change)
    with pytest.raises(UserError, match=said):
        read_camera_path(path, 4, 64, 48, None, None)


def test_absent_and_foreign_files(tmp_path):
    with pytest.raises(UserError, match=r"absent\.json: cannot be read"):
        read_camera_path(tmp_path / "absent.json", 4, 64, 48, None, None)
    (tmp_path / "list.json").write_text("[1, 2]")
    with pytest.raises(UserError, match="not a nerfstudio camera_path"):
        read_camera_path(tmp_path / "list.json", 4, 64, 48, None, None)
