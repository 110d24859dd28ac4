"""cameras.json: what is written is read, and damage is named."""

import json
from dataclasses import replace

import numpy as np
import pytest

from blueprint import poses
from blueprint.cameras.place import place
from blueprint.errors import UserError
from blueprint.lens import Lens
from rooms import clip, room


@pytest.fixture(scope="module")
def placed():
    return place(room(), clip("orbit", frames=3))


def test_round_trip(tmp_path, placed):
    path = tmp_path / "cameras.json"
    poses.write(path, placed)
    found = poses.read(path)
    assert np.abs(found.viewmats - placed.viewmats).max() < 1e-9 and np.abs(found.Ks - placed.Ks).max() < 1e-9
    assert (found.width, found.height, found.fps, found.path) == (64, 48, 12, "orbit")
    assert found.spec == placed.spec and found.placement == placed.placement
    assert json.loads(path.read_text())["convention"] == "opencv"


def test_same_path_gives_the_same_bytes(tmp_path, placed):
    for name in ("a.json", "b.json"):
        poses.write(tmp_path / name, place(room(), clip("orbit", frames=3)))
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"convention": "opengl"}, "opengl"),
        ({"frames": [{"viewmat": [[1]], "K": [[1]]}]}, "expected"),
        ({"fps": ...}, "fps"),
    ],
)
def test_other_files_are_refused(tmp_path, placed, change, said):
    path = tmp_path / "cameras.json"
    poses.write(path, placed)
    content = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))
    with pytest.raises(UserError, match=said):
        poses.read(path)


def test_lenses_and_sizes_of_frames_are_kept(tmp_path, placed):
    """A frame may be of another size than the clip: its intrinsics are read for the clip's."""
    path = tmp_path / "cameras.json"
    lenses = (Lens("OPENCV", (0.1, 0.01, 0.0, 0.0)), None, Lens("OPENCV_FISHEYE", (0.1, 0.0, 0.0, 0.0)))
    poses.write(path, replace(placed, lenses=lenses))
    content = json.loads(path.read_text())
    content["frames"][1] |= {"width": 128, "height": 96, "K": [[100, 0, 66.5], [0, 90, 47], [0, 0, 1]]}
    path.write_text(json.dumps(content))
    found = poses.read(path)
    assert found.lenses == lenses
    assert np.allclose(found.Ks[1], [[50, 0, 33.25], [0, 45, 23.5], [0, 0, 1]])
    content["frames"][1]["height"] = 128
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="another shape"):
        poses.read(path)


def test_poses_are_made_rotations_about_the_same_centres(tmp_path, placed):
    path = tmp_path / "cameras.json"
    far = placed.viewmats.copy()
    far[:, :3, 3] += 30
    skewed = far.copy()
    skewed[1, :3, :3] += np.array([[8e-4, -3e-4, 2e-4], [5e-4, 6e-4, -8e-4], [0, 1e-4, 7e-4]])
    centre = -np.linalg.solve(skewed[1, :3, :3], skewed[1, :3, 3])
    poses.write(path, replace(placed, viewmats=skewed))
    found = poses.read(path).viewmats
    rotation = found[1, :3, :3]
    assert np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-12
    assert np.abs(-rotation.T @ found[1, :3, 3] - centre).max() < 1e-6
    assert np.abs(rotation - far[1, :3, :3]).max() < 1e-3
    assert np.array_equal(found[0], far[0].round(9))  # what is a rotation already stays as it is written
    skewed[1, :3, :3] *= 1.1
    poses.write(path, replace(placed, viewmats=skewed))
    with pytest.raises(UserError, match="frame 1 is not a rotation"):
        poses.read(path)
