"""cameras.json: what is written is read, and damage is named."""

import json

import numpy as np
import pytest

from blueprint import cameras
from blueprint.cameras.place import place
from blueprint.errors import UserError
from rooms import clip, room


@pytest.fixture(scope="module")
def placed():
    return place(room(), clip("orbit", frames=3))


def test_round_trip(tmp_path, placed):
    path = tmp_path / "cameras.json"
    cameras.write(path, placed)
    found = cameras.read(path)
    assert np.abs(found.viewmats - placed.viewmats).max() < 1e-9 and np.abs(found.Ks - placed.Ks).max() < 1e-9
    assert (found.width, found.height, found.fps, found.path) == (64, 48, 12, "orbit")
    assert found.spec == placed.spec and found.placement == placed.placement
    assert json.loads(path.read_text())["convention"] == "opencv"


def test_same_path_gives_the_same_bytes(tmp_path, placed):
    for name in ("a.json", "b.json"):
        cameras.write(tmp_path / name, place(room(), clip("orbit", frames=3)))
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
    cameras.write(path, placed)
    content = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))
    with pytest.raises(UserError, match=said):
        cameras.read(path)
