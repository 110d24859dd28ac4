"""The length of a unit: given, or found from points, photos or nerfstudio's scaling; the same clips at every scale."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from blueprint import config, poses
from blueprint.axes import eyes_of
from blueprint.cameras.place import place
from blueprint.cameras.scale import metres_per_unit
from blueprint.errors import UserError
from blueprint.plan import make_plan
from blueprint.render import rasterize
from blueprint.render.clip import render_clip
from blueprint.render.smear import refuse_smear
from blueprint.splat import load
from rooms import clip, room, write_ply
from splats import look_at

GUITAR = Path("../shared/data/guitar.compressed.ply")
SCALES = (1 / 20, 20, 60)


def larger(splat, factor):
    return replace(splat, means=splat.means * np.float32(factor), scales=splat.scales * np.float32(factor))


def facility(**keys):
    return {"name": "hall", "scene": "hall.ply", "up_axis": "z", "floor_height_m": 0.0, **keys}


def write_photos(folder, scale):
    """Photos taken 1.6 m above the floor of a scene whose units are 1 / scale metres, the floor at 2 units."""
    eyes = np.array([[0, 0, 1.5], [1, 0, 1.6], [1, 1, 1.8]]) * scale + [0, 0, 2]
    poses = [np.linalg.inv(look_at(eye, np.add(eye, (0, 1, -0.1)))) @ np.diag([1, -1, -1, 1]) for eye in eyes]
    camera = {"w": 64, "h": 48, "fl_x": 50}
    frames = [{"file_path": f"{i}.png", "transform_matrix": pose.tolist()} for i, pose in enumerate(poses)]
    (folder / "transforms.json").write_text(json.dumps({**camera, "frames": frames}))
    return str(folder)


def test_ways_to_find_it(tmp_path):
    assert metres_per_unit(facility()) == 1 and metres_per_unit(facility(metres_per_unit=0.25)) == 0.25
    points = {"points": [[1, 2, 3], [1, 2, 7]], "distance_m": 1.0}
    assert metres_per_unit(facility(scale=points)) == 0.25
    height = {"photos": write_photos(tmp_path, 4), "camera_height_m": 1.6, "floor_point": [9, 9, 2]}
    assert metres_per_unit(facility(scale=height)) == pytest.approx(0.25)
    with pytest.raises(UserError, match=r"taken 6\.4 units below floor_point along up_axis -z"):
        metres_per_unit(facility(scale=height, up_axis="-z"))
    transforms = tmp_path / "dataparser_transforms.json"
    transforms.write_text(json.dumps({"transform": np.eye(4)[:3].tolist(), "scale": 4.0}))
    assert metres_per_unit(facility(scale={"dataparser_transforms": str(transforms)})) == 0.25
    transforms.write_text('{"scale": -1}')
    with pytest.raises(UserError, match="dataparser_transforms"):
        metres_per_unit(facility(scale={"dataparser_transforms": str(transforms)}))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"scale": {"points": [[0, 0, 0], [1, 0, 0]]}}, "points, distance_m; or photos"),
        ({"scale": {"points": [[0, 0, 0], [0, 0, 0]], "distance_m": 1}}, "two different points"),
        ({"scale": {"distance_m": 1, "floor_point": [0, 0, 0]}}, "found distance_m, floor_point"),
        ({"scale": {"points": [[0, 0], [1, 0]], "distance_m": 1}}, "three coordinates"),
        ({"metres_per_unit": 2, "scale": {"points": [[0, 0, 0], [1, 0, 0]], "distance_m": 1}}, "Keep one"),
        ({"metres_per_unit": 0}, "metres_per_unit"),
    ],
)
def test_what_is_no_scale(keys, said):
    with pytest.raises(UserError, match=said):
        config.complete({"facilities": [{"name": "hall", "scene": "hall.ply", **keys}]}, "my.yaml")


def test_every_stage_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_ply(tmp_path / "hall.ply", room())
    points = {"points": [[0, 0, 0], [0, 0, 4]], "distance_m": 2}
    hall = {"name": "hall", "scene": "hall.ply", "scale": points}
    plan = make_plan(config.complete({"facilities": [hall]}, "my"), "my")
    assert plan.scene_spec("hall")["metres_per_unit"] == plan.camera_spec("hall", "orbit")["metres_per_unit"] == 0.5


def small(kind, **keys):
    return clip(kind, **keys) | {"frames": 3, "width": 64, "height": 48}


@pytest.mark.parametrize("kind", ["orbit", "sweep"])
def test_the_same_cameras_at_every_scale(tmp_path, kind):
    expected = place(room(), small(kind))
    for factor in SCALES:
        write_ply(tmp_path / "hall.ply", larger(room(), factor))
        found = place(load(tmp_path / "hall.ply", 1 / factor), small(kind, metres_per_unit=1 / factor))
        assert np.abs(found.viewmats - expected.viewmats).max() < 1e-4
        assert found.metres_per_unit == 1 / factor


def test_poses_of_files_are_scaled_with_the_scene(tmp_path):
    eyes = np.array([[1, 0.5, 1.5], [1.5, 0.5, 1.5]])
    matrices = [np.linalg.inv(look_at(20 * eye, 20 * eye + [0, 1, 0])) @ np.diag([1, -1, -1, 1]) for eye in eyes]
    frames = [{"camera_to_world": matrix.ravel().tolist(), "fov": 50} for matrix in matrices]
    (tmp_path / "path.json").write_text(json.dumps({"camera_path": frames}))
    spec = clip("file", file=str(tmp_path / "path.json"), metres_per_unit=1 / 20) | {"frames": 2}
    assert np.allclose(eyes_of(place(room(), spec).viewmats), eyes)


def guitar_clip(kind, factor):
    return small(kind, up_axis="-y", metres_per_unit=factor)


def test_the_guitar_at_any_scale():
    """With the length of its unit the clips are the same; without it they are refused, never smear."""
    if not GUITAR.exists():
        pytest.skip(f"{GUITAR} (a capture that the repository does not carry) is not there")
    once = load(GUITAR)
    for kind in ("orbit", "sweep"):
        expected = place(once, guitar_clip(kind, 1))
        for factor in SCALES:
            splat = larger(larger(once, factor), 1 / factor)  # a file in such units, read with the length of its unit
            found = place(splat, guitar_clip(kind, 1 / factor))
            assert np.abs(found.viewmats - expected.viewmats).max() < 1e-4
            a, b = (rasterize(s, c.viewmats[1], c.Ks[1], 64, 48).rgb for s, c in ((splat, found), (once, expected)))
            assert 10 * np.log10(1 / ((a - b) ** 2).mean()) > 50


@pytest.mark.parametrize("kind", ["orbit", "sweep"])
def test_the_guitar_in_wrong_units_is_refused_or_right(tmp_path, kind):
    if not GUITAR.exists():
        pytest.skip(f"{GUITAR} (a capture that the repository does not carry) is not there")
    picture, guitar = tmp_path / "refused.jpg", load(GUITAR)
    for factor in (1, *SCALES):
        splat = larger(guitar, factor)
        cameras = place(splat, guitar_clip(kind, 1))
        if factor > 1:  # taken for a room, whose walls are smear
            with pytest.raises(UserError, match=r"units of the scene are hardly metres\. Set metres_per_unit"):
                refuse_smear(splat, cameras, picture)
            assert picture.stat().st_size > 500
        else:
            refuse_smear(splat, cameras, picture)
            seen = rasterize(splat, cameras.viewmats[1], cameras.Ks[1], 64, 48).alpha > 0.5
            assert 0.5 < np.ptp(np.flatnonzero(seen.any(axis=1))) / 48 < 0.8 and not picture.exists()


def test_a_camera_inside_matter_is_refused(tmp_path):
    scene, spec = room(), small("orbit")
    cameras = place(scene, spec)
    refuse_smear(scene, cameras, tmp_path / "refused.jpg")
    inside = cameras.viewmats.copy()
    for viewmat in inside:  # 8 cm before a wall, looking at it
        viewmat[:] = look_at((2.0, 0.08, 1.3), (2.0, 0.0, 1.3))
    with pytest.raises(UserError, match=r"nothing but smear .* stand inside matter"):
        refuse_smear(scene, replace(cameras, viewmats=inside), tmp_path / "refused.jpg")
    assert (tmp_path / "refused.jpg").stat().st_size > 500


def test_a_clip_is_rendered_in_metres(tmp_path):
    """Depth of a scene in other units comes out in metres."""
    write_ply(tmp_path / "hall.ply", larger(room(), 20))
    spec = small("orbit", metres_per_unit=1 / 20)
    poses.write(tmp_path / "cameras.json", place(load(tmp_path / "hall.ply", 1 / 20), spec))
    targets = {"rgb": tmp_path / "rgb.mp4", "depth": tmp_path / "depth.mp4", "depth_m": tmp_path / "depth.npz"}
    options = {"sh_degree": 0, "background": [0, 0, 0], "near_m": 0.05, "far_m": 100}
    render_clip(tmp_path / "hall.ply", poses.read(tmp_path / "cameras.json"), options, "cpu", 1, targets)
    depth_m = np.load(targets["depth_m"])["depth_m"]
    assert 0.3 < np.median(depth_m) < 5 and depth_m.max() < 7
