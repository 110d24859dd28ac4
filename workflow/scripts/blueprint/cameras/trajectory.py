"""A robot's log: timestamped poses of its body, and the calibration of the cameras that it carries.

Poses are read as TUM's RGB-D benchmark writes them (text: seconds, x y z, quaternion with w last) and as EuRoC does
(CSV: nanoseconds, x y z, quaternion with w first). Calibrations are YAML: a camera of ROS (``camera_info``), one of
EuRoC (``sensor.yaml``, with ``T_BS``), or several that move together, as Kalibr calibrates them (``camchain.yaml``,
with ``T_cam_imu``). These put the centre of a pixel at whole numbers; half a pixel is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.axes import rigid
from blueprint.cameras.photo import lens_of, picture_size, pixel_matrix
from blueprint.errors import UserError
from blueprint.lens import Lens
from blueprint.yaml_file import read_yaml

LENSES = {
    "none": "PINHOLE",
    "radtan": "OPENCV",
    "radial-tangential": "OPENCV",
    "plumb_bob": "OPENCV",
    "rational_polynomial": "OPENCV",
    "equidistant": "OPENCV_FISHEYE",
    "equi": "OPENCV_FISHEYE",
    "fisheye": "OPENCV_FISHEYE",
}


@dataclass(frozen=True)
class Calibration:
    """A camera of a robot."""

    K: np.ndarray  # [3, 3] pixels
    width: int
    height: int
    lens: Lens | None
    body_from_camera: np.ndarray  # [4, 4] metres


@dataclass(frozen=True)
class Log:
    """Poses of a robot's body over time."""

    times_s: np.ndarray  # [F], increasing
    poses: np.ndarray  # [F, 4, 4] body to world, metres


def is_log(path: Path) -> bool:
    """Whether a file is one of timestamped poses, by its first line of numbers."""
    try:
        with path.open(encoding="utf-8") as stream:
            head = [stream.readline(400) for _ in range(10)]
    except (OSError, UnicodeDecodeError):
        return False
    line = next((line for line in head if line.strip() and not line.startswith("#")), "")
    try:
        return len([float(value) for value in line.replace(",", " ").split()]) >= 8
    except ValueError:
        return False


def read_log(path: Path) -> Log:
    """Read timestamped poses.

    Raises:
        UserError: too few columns, quaternions without a direction, values that are not finite, or times that go back.
    """
    try:
        text = path.read_text(encoding="utf-8")
        csv = any("," in line for line in text.splitlines()[:10] if not line.startswith("#"))
        rows = [line.split("," if csv else None)[:8] for line in text.splitlines() if line.strip() and line[0] != "#"]
        table = np.array(rows, dtype=np.float64)
        if table.ndim != 2 or table.shape[1] != 8 or not np.isfinite(table).all():
            raise ValueError("eight finite numbers are expected in a line")
        quats = table[:, [4, 5, 6, 7]] if csv else table[:, [7, 4, 5, 6]]
        if (np.linalg.norm(quats, axis=1) < 0.5).any():
            raise ValueError("a quaternion without a direction")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: these are no timestamped poses of TUM or EuRoC ({error}).") from error
    times_s = table[:, 0] * (1e-9 if csv else 1)
    if (np.diff(times_s) <= 0).any():
        where = int((np.diff(times_s) <= 0).argmax()) + 1
        raise UserError(f"{path}: the time of pose {where} is not after that of the one before. Sort the poses.")
    from scipy.spatial.transform import Rotation  # slow to import

    poses = np.tile(np.eye(4), (len(table), 1, 1))
    poses[:, :3, :3] = Rotation.from_quat(quats, scalar_first=True).as_matrix()
    poses[:, :3, 3] = table[:, 1:4]
    return Log(times_s, poses)


def read_calibration(path: Path, camera: str | None, camera_in_body: list[float] | None) -> Calibration:
    """Read the calibration of a camera.

    Args:
        path: the YAML file.
        camera: which one, in a file of several.
        camera_in_body: x, y, z in metres and a quaternion x, y, z, w instead of what the file says, if it says it.

    Raises:
        UserError: absent, of another kind, or of a lens that cannot be rendered; several cameras and none is chosen.
    """
    values: Mapping[str, Any] = read_yaml(path).values
    cameras = {name: found for name, found in values.items() if isinstance(found, dict) and "intrinsics" in found}
    if cameras:
        if camera not in cameras:
            raise UserError(f"{path}: found camera {camera!r}; the file has {', '.join(cameras)}. Set `camera` to one.")
        values = cameras[camera]
    elif camera is not None:
        raise UserError(f"{path}: camera is {camera!r}, but the file has one camera without a name. Remove `camera`.")
    try:
        if "camera_matrix" in values:  # ROS
            (fx, _, cx), (_, fy, cy), _ = np.array(values["camera_matrix"]["data"], np.float64).reshape(3, 3)
            width, height = picture_size(values, "image_width", "image_height")
            bent = values["distortion_coefficients"]["data"]
        else:
            if values.get("camera_model", "pinhole") != "pinhole":
                raise ValueError(f"camera_model {values['camera_model']!r}; pinhole can be rendered")
            fx, fy, cx, cy = map(float, values["intrinsics"])
            across, down = values["resolution"]
            width, height = picture_size({"w": across, "h": down}, "w", "h")
            bent = values.get("distortion_coeffs", values.get("distortion_coefficients", []))
        kind = str(values.get("distortion_model", "none")).lower()
        if kind not in LENSES:
            raise ValueError(f"distortion_model {kind!r}; {', '.join(LENSES)} can be rendered")
        return Calibration(
            pixel_matrix(fx, fy, cx + 0.5, cy + 0.5), width, height, lens_of(LENSES[kind], bent),
            _body_from_camera(values, camera_in_body),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path}: this is no calibration of ROS, EuRoC or Kalibr ({said}).") from error


def _body_from_camera(values: Mapping[str, Any], camera_in_body: list[float] | None) -> np.ndarray:
    from scipy.spatial.transform import Rotation  # slow to import

    if camera_in_body is not None:
        found = np.eye(4)
        found[:3, 3], found[:3, :3] = camera_in_body[:3], Rotation.from_quat(camera_in_body[3:]).as_matrix()
        return found
    if "T_cam_imu" in values:
        return np.linalg.inv(rigid(np.array(values["T_cam_imu"], np.float64).reshape(1, 4, 4))[0])
    if "T_BS" in values:
        camera_from_body = np.linalg.inv(np.array(values["T_BS"]["data"], np.float64).reshape(1, 4, 4))
        return np.linalg.inv(rigid(camera_from_body)[0])
    return np.eye(4)


def camera_poses(log: Log, calibration: Calibration) -> np.ndarray:
    """World-to-camera matrices [F, 4, 4] of a camera that a body carries."""
    return rigid(np.linalg.inv(log.poses @ calibration.body_from_camera))
