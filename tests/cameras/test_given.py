"""Clips along given cameras: photos with their intrinsics and lenses, robots' logs, rigs."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

from blueprint.axes import eyes_of
from blueprint.cameras.base import Request
from blueprint.cameras.dataset import read_photos
from blueprint.cameras.file import FileKeys, read_request
from blueprint.cameras.place import place
from blueprint.errors import UserError
from blueprint.lens import Lens
from blueprint.render import rasterize
from blueprint.splat import load
from rooms import clip, room
from splats import look_at

WIDTH, HEIGHT = 64, 48
EYES = np.array([[1, 0.5, 1.5], [1.5, 0.5, 1.5], [2.5, 0.6, 1.4]])
BODY_FROM_CAMERA = np.array([[0, 0, 1, 0.2], [-1, 0, 0, 0.03], [0, -1, 0, -0.1], [0, 0, 0, 1.0]])


def viewmats():
    return np.stack([look_at(eye, (2.0, 3.0, 1.0)) for eye in EYES])


def given(file, frames=3, width=WIDTH, height=HEIGHT, **keys):
    spec = clip("file", file=str(file), **keys) | {"frames": frames, "width": width, "height": height}
    return read_request(Request.from_spec(spec, FileKeys))


def write_photos(folder, poses=None, **intrinsics):
    camera = {"w": 128, "h": 96, "fl_x": 100, "fl_y": 101, "cx": 66, "cy": 47, "k1": 0.1, **intrinsics}
    poses = np.linalg.inv(viewmats()) @ np.diag([1, -1, -1, 1]) if poses is None else poses
    frames = [{"file_path": f"{i}.png", "transform_matrix": pose.tolist()} for i, pose in enumerate(poses)]
    (folder / "transforms.json").write_text(json.dumps({**camera, "frames": frames}))
    return folder / "transforms.json"


def write_log(folder, kind="tum", rate_hz=10.0):
    """The body's poses, whose camera (`BODY_FROM_CAMERA`) takes the pictures of `viewmats`."""
    rows = []
    for index, pose in enumerate(np.linalg.inv(viewmats()) @ np.linalg.inv(BODY_FROM_CAMERA)):
        x, y, z, w = Rotation.from_matrix(pose[:3, :3]).as_quat().tolist()
        place_m = pose[:3, 3].tolist()
        time_ns = 1_403_636_579_763_555_584 + int(index * 1e9 / rate_hz)
        row = [time_ns, *place_m, w, x, y, z, 0.1, 0.2] if kind == "euroc" else [time_ns / 1e9, *place_m, x, y, z, w]
        rows.append((", " if kind == "euroc" else " ").join(map(repr, row)))
    path = folder / ("data.csv" if kind == "euroc" else "groundtruth.txt")
    path.write_text("# timestamp, ...\n" + "\n".join(rows) + "\n")
    return path


def write_calibration(folder, kind):
    base = {"resolution": [128, 96], "intrinsics": [100.0, 101.0, 65.5, 46.5], "camera_model": "pinhole"}
    if kind == "euroc":
        content = {"sensor_type": "camera", "T_BS": {"cols": 4, "rows": 4, "data": BODY_FROM_CAMERA.ravel().tolist()}}
        bent = {"distortion_model": "radial-tangential", "distortion_coefficients": [0.1, 0.02, 0.001, 0.002]}
        content |= {**base, **bent}
    elif kind == "ros":
        content = {"image_width": 128, "image_height": 96, "distortion_model": "plumb_bob"}
        content["camera_matrix"] = {"rows": 3, "cols": 3, "data": [100.0, 0, 65.5, 0, 101.0, 46.5, 0, 0, 1]}
        content["distortion_coefficients"] = {"rows": 1, "cols": 5, "data": [0.1, 0.02, 0.001, 0.002, 0]}
    else:  # a rig of Kalibr: the wrist's camera sits 0.3 m before the head's
        wrist = BODY_FROM_CAMERA @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0.3], [0, 0, 0, 1.0]])
        bent = {"distortion_model": "equidistant", "distortion_coeffs": [0.1, 0.0, 0.0, 0.0]}
        content = {
            name: {**base, **bent, "T_cam_imu": np.linalg.inv(pose).tolist()}
            for name, pose in (("cam0", BODY_FROM_CAMERA), ("cam1", wrist))
        }
    path = folder / f"{kind}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_photos_keep_their_cameras(tmp_path):
    found = given(write_photos(tmp_path))
    assert np.abs(found.viewmats - viewmats()).max() < 1e-12  # as many frames as photos: none is between
    assert np.allclose(found.Ks, [[50, 0, 33], [0, 50.5, 23.5], [0, 0, 1]])
    assert found.lenses == (Lens("OPENCV", (0.1, 0, 0, 0)),) * 3
    cameras = place(room(), clip("file", file=str(tmp_path / "transforms.json"), frames=3))
    assert cameras.lenses == found.lenses and np.allclose(cameras.Ks, found.Ks)


def test_a_clip_of_another_shape_shows_the_middle(tmp_path):
    found = given(write_photos(tmp_path), width=60, height=60)
    share = 60 / 96
    assert np.allclose(found.Ks[0], [[100 * share, 0, 66 * share - 10], [0, 101 * share, 47 * share], [0, 0, 1]])
    wide = given(tmp_path / "transforms.json", fov_deg=90.0)
    assert np.allclose(wide.Ks, [[32, 0, 32], [0, 32, 24], [0, 0, 1]]) and wide.lenses == ()


def test_between_photos(tmp_path):
    found = given(write_photos(tmp_path), frames=5)
    assert np.allclose(eyes_of(found.viewmats)[::2], EYES) and np.allclose(eyes_of(found.viewmats)[1], [1.25, 0.5, 1.5])


@pytest.mark.parametrize(("log", "calibration"), [("tum", "euroc"), ("euroc", "euroc"), ("tum", "ros")])
def test_logs(tmp_path, log, calibration):
    keys = {"calibration": str(write_calibration(tmp_path, calibration))}
    if calibration == "ros":  # it does not say where the camera is
        x, y, z, w = Rotation.from_matrix(BODY_FROM_CAMERA[:3, :3]).as_quat()
        keys["camera_in_body"] = [*BODY_FROM_CAMERA[:3, 3], x, y, z, w]
    found = given(write_log(tmp_path, log), **keys)
    assert np.abs(found.viewmats - viewmats()).max() < 1e-6 and found.metric
    assert np.allclose(found.Ks, [[50, 0, 33], [0, 50.5, 23.5], [0, 0, 1]])  # half a pixel from whole to centre
    assert found.lenses == (Lens("OPENCV", (0.1, 0.02, 0.001, 0.002)),) * 3


def test_part_of_a_log_evenly_in_time(tmp_path):
    log, calibration = write_log(tmp_path), str(write_calibration(tmp_path, "euroc"))
    found = given(log, calibration=calibration, from_s=0.05, to_s=0.2, frames=4)
    middle = (EYES[0] + EYES[1]) / 2
    assert np.allclose(eyes_of(found.viewmats)[[1, 3]], EYES[1:], atol=1e-3)
    assert np.abs(eyes_of(found.viewmats)[0] - middle).max() < 0.2
    with pytest.raises(UserError, match=r"from_s 0 to to_s 3 is no part of a log of 0\.200 s"):
        given(log, calibration=calibration, to_s=3.0)


def test_a_rig_moves_together(tmp_path):
    log, calibration = write_log(tmp_path), str(write_calibration(tmp_path, "kalibr"))
    head, wrist = (given(log, calibration=calibration, camera=name) for name in ("cam0", "cam1"))
    assert np.abs(head.viewmats - viewmats()).max() < 1e-6
    ahead = eyes_of(wrist.viewmats) - eyes_of(head.viewmats)
    assert np.allclose(ahead, 0.3 * head.viewmats[:, 2, :3], atol=1e-6)
    assert head.lenses[0] == Lens("OPENCV_FISHEYE", (0.1, 0, 0, 0))
    with pytest.raises(UserError, match="found camera None; the file has cam0, cam1"):
        given(log, calibration=calibration)


def test_photos_in_the_coordinates_that_nerfstudio_trained_in(tmp_path):
    turn = np.eye(4)
    turn[:3, :3], turn[:3, 3] = Rotation.from_euler("xyz", [10, 20, 30], degrees=True).as_matrix(), [0.3, -0.2, 0.1]
    transforms = tmp_path / "dataparser_transforms.json"
    transforms.write_text(json.dumps({"transform": turn[:3].tolist(), "scale": 0.25}))
    found = given(write_photos(tmp_path), dataparser_transforms=str(transforms))
    assert np.allclose(eyes_of(found.viewmats), 0.25 * (EYES @ turn[:3, :3].T + turn[:3, 3]))


def test_what_does_not_go_together(tmp_path):
    log, photos = write_log(tmp_path), write_photos(tmp_path)
    calibration = write_calibration(tmp_path, "euroc")
    with pytest.raises(UserError, match="Set `calibration`"):
        given(log)
    with pytest.raises(UserError, match="no log of poses, for which alone calibration, from_s"):
        given(photos, calibration=str(calibration), from_s=1.0)
    with pytest.raises(UserError, match="takes no dataparser_transforms"):
        given(log, calibration=str(calibration), dataparser_transforms="x.json")
    with pytest.raises(UserError, match="one camera without a name"):
        given(log, calibration=str(calibration), camera="cam0")
    lines = log.read_text().splitlines()
    for change, said in (
        ([lines[2], lines[1]], "time of pose 1 is not after"),
        ([lines[1], lines[2].rsplit(" ", 4)[0] + " 0 0 0 0"], "quaternion without a direction"),
        ([lines[1], "1 2 3"], "no timestamped poses"),
    ):
        log.write_text("\n".join(change))
        with pytest.raises(UserError, match=said):
            given(log, calibration=str(calibration))
    for key, value, said in (
        ("camera_model", "omni", "camera_model 'omni'"),
        ("distortion_model", "ds", "distortion_model 'ds'"),
        ("resolution", None, "calibration of ROS, EuRoC or Kalibr"),
    ):
        content = {**yaml.safe_load(calibration.read_text()), key: value}
        (tmp_path / "other.yaml").write_text(yaml.safe_dump(content))
        with pytest.raises(UserError, match=said):
            given(write_log(tmp_path), calibration=str(tmp_path / "other.yaml"))


def test_fox_overlays_its_photos():
    """Rendered from the cameras of its photos, lens and all, a picture lies on its photo to a fifth of a pixel."""
    fox = Path("../shared/data/fox")
    if not fox.exists():
        pytest.skip(f"{fox} (a capture that the repository does not carry) is not there")
    splat, photos = load(fox / "splat.ply"), read_photos(fox)
    found = given(fox / "transforms.json", frames=50, width=270, height=480)

    def detail(picture):
        blurred = cv2.GaussianBlur(picture.mean(axis=2).astype(np.float32), (0, 0), 1.5)
        return cv2.Laplacian(blurred, cv2.CV_32F)

    for index in (3, 44):  # one that the trainer saw, and one that it did not
        photo = cv2.imread(str(photos[index].image))[..., ::-1] / 255
        view = (splat, found.viewmats[index], found.Ks[index], 270, 480)
        render, pinhole = rasterize(*view, lens=found.lenses[index]).rgb, rasterize(*view).rgb
        shift_px, _ = cv2.phaseCorrelate(detail(photo), detail(render))
        assert np.abs(shift_px).max() < 0.2
        assert ((render - photo) ** 2).mean() < 0.8 * ((pinhole - photo) ** 2).mean() < 0.01
