"""File: cameras from a file.

The photos of a dataset (`blueprint.cameras.dataset`) and a robot's log (`blueprint.cameras.trajectory`) keep the full
intrinsics and the lens of each camera, cropped to the clip's shape. The third kind is nerfstudio's ``camera_path``:
https://docs.nerf.studio/quickstart/custom_dataset.html and nerfstudio/cameras/camera_paths.py: ``camera_to_world`` is
row-major in OpenGL axes (x right, y up, z backward), ``fov`` is vertical and in degrees. Poses are in the coordinates
nerfstudio trained in, as is a splat from ``ns-export gaussian-splat``; for a splat in the capture's own coordinates the
``dataparser_transforms.json`` of the training undoes what nerfstudio applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from blueprint.axes import intrinsics, opencv_from_opengl, rigid
from blueprint.cameras.base import CameraPath, Given, PathKeys, Request
from blueprint.cameras.dataset import read_photos
from blueprint.cameras.trajectory import camera_poses, is_log, read_calibration, read_log
from blueprint.errors import UserError
from blueprint.files import read_json
from blueprint.lens import Lens
from blueprint.section import key

LOG_KEYS = ("calibration", "camera", "camera_in_body", "from_s", "to_s")


class FileKeys(PathKeys):
    """The keys of a clip whose path is read from a file."""

    count: Literal[1] = key("A path from a file makes one clip.", 1)
    file: str = key(
        "Cameras to render from, resampled to the number of frames: nerfstudio `camera_path` JSON, `transforms.json`, "
        "COLMAP `images.bin` or `images.txt`, INRIA `cameras.json`, or a robot's log in the format of TUM or EuRoC.",
        min_length=1,
    )
    dataparser_transforms: str | None = key(
        "nerfstudio `dataparser_transforms.json`: for a `camera_path` when the splat is in the capture's own "
        "coordinates, for photos when the splat is in those that nerfstudio trained in.",
        None,
        min_length=1,
    )
    calibration: str | None = key(
        "Calibration of a log's camera, YAML: ROS `camera_info`, EuRoC `sensor.yaml`, Kalibr `camchain.yaml`.",
        None,
        min_length=1,
    )
    camera: str | None = key("Which camera of a calibration that has several (a rig).", None, min_length=1)
    camera_in_body: list[float] | None = key(
        "Pose of a log's camera in the frame whose poses are logged: x, y, z in metres and a quaternion x, y, z, w "
        "(default that of the calibration, or the same frame).",
        None,
        min_length=7,
        max_length=7,
    )
    from_s: float | None = key("Where in a log the clip begins, seconds after its first pose (default 0).", None, ge=0)
    to_s: float | None = key("Where in a log the clip ends (default its last pose).", None, gt=0)


def read_request(request: Request) -> Given:
    """Read the path that a clip names.

    Raises:
        UserError: one of its files is absent or not what it should be, or keys of the clip do not suit it.
    """
    keys, path = request.keys, Path(request.keys.file)
    transforms = None if keys.dataparser_transforms is None else Path(keys.dataparser_transforms)
    size = request.frames, request.width, request.height
    of_logs = [name for name in LOG_KEYS if getattr(keys, name) is not None]
    if path.suffix != ".json" and is_log(path):
        if transforms is not None:
            raise UserError(f"{path}: a log of poses in metres takes no dataparser_transforms. Remove the key.")
        return _read_log(path, request)
    if of_logs:
        raise UserError(f"{path}: is no log of poses, for which alone {', '.join(of_logs)} can be given. Remove them.")
    if path.suffix == ".json" and isinstance(found := read_json(path), dict) and "frames" not in found:
        return read_camera_path(path, *size, keys.fov_deg, transforms)
    photos = read_photos(path)
    viewmats = np.stack([photo.viewmat for photo in photos])
    if transforms is not None:
        viewmats = _as_dataparser(viewmats, transforms)
    cameras = [(photo.K, photo.width, photo.height, photo.lens) for photo in photos]
    return _given(path, request, np.arange(float(len(photos))), viewmats, cameras)


def _read_log(path: Path, request: Request) -> Given:
    """A robot's log, resampled evenly in time."""
    keys = request.keys
    if keys.calibration is None:
        raise UserError(f"{path}: a log of poses needs the camera that was carried. Set `calibration` to its file.")
    calibration = read_calibration(Path(keys.calibration), keys.camera, keys.camera_in_body)
    log = read_log(path)
    last_s = log.times_s[-1] - log.times_s[0]
    from_s, to_s = keys.from_s or 0.0, last_s if keys.to_s is None else keys.to_s
    if not 0 <= from_s <= to_s <= last_s + 1e-6:
        raise UserError(f"{path}: from_s {from_s:g} to to_s {to_s:g} is no part of a log of {last_s:.3f} s.")
    camera = (calibration.K, calibration.width, calibration.height, calibration.lens)
    times_s = log.times_s - log.times_s[0]
    given = _given(path, request, times_s, camera_poses(log, calibration), [camera] * len(times_s), (from_s, to_s))
    return replace(given, metric=True)


def _given(
    path: Path,
    request: Request,
    known: np.ndarray,
    viewmats: np.ndarray,
    cameras: Sequence[tuple[np.ndarray, int, int, Lens | None]],
    ends: tuple[float, float] | None = None,
) -> Given:
    """Cameras at the positions ``known`` [F] of a path, resampled evenly between its ends and fitted to the clip.

    The intrinsics of every frame are those of the camera nearest on the path, as is its lens.
    """
    if len(known) == request.frames and ends is None:
        wanted = known
    else:
        wanted = np.linspace(*(ends or (known[0], known[-1])), request.frames)
    poses = _interpolated(np.linalg.inv(viewmats), known, wanted)
    nearest = np.abs(wanted[:, None] - known).argmin(axis=1)
    if request.keys.fov_deg is not None:
        K = intrinsics(request.width, request.height, fov_x_deg=request.keys.fov_deg)
        return Given(np.linalg.inv(poses), np.tile(K, (request.frames, 1, 1)), str(path))
    Ks = [_cropped(*cameras[index][:3], request.width, request.height) for index in nearest]
    lenses = tuple(cameras[index][3] for index in nearest)
    return Given(np.linalg.inv(poses), np.stack(Ks), str(path), lenses if any(lenses) else ())


def _cropped(K: np.ndarray, from_width: int, from_height: int, width: int, height: int) -> np.ndarray:
    """Intrinsics [3, 3] of the largest part of a camera's picture that has the clip's shape, about the same middle."""
    share = max(width / from_width, height / from_height)
    fitted = K * np.array([[share], [share], [1]])
    fitted[:2, 2] += (np.array([width, height]) - share * np.array([from_width, from_height])) / 2
    return fitted


def read_camera_path(
    path: Path, frames: int, width: int, height: int, fov_x_deg: float | None, transforms: Path | None
) -> Given:
    """Read a ``camera_path`` file, resampled evenly to the number of frames.

    Args:
        path: the file.
        frames: number of frames; positions are interpolated linearly, orientations along the shortest turn.
        width, height: of the images, in pixels.
        fov_x_deg: horizontal field of view instead of that of the file.
        transforms: ``dataparser_transforms.json``, to come back to the coordinates before nerfstudio's own.

    Raises:
        UserError: one of the files is absent or not what it should be.
    """
    opengl, fov_y_deg = _poses(path)
    if transforms is not None:
        applied, scale = _dataparser(transforms)
        opengl = np.linalg.inv(applied) @ _scaled(opengl, 1 / scale)
    known = np.arange(float(len(opengl)))
    wanted = known if len(known) == frames else np.linspace(0, known[-1], frames)
    opengl, fov_y_deg = _interpolated(opengl, known, wanted), np.interp(wanted, known, fov_y_deg)
    if fov_x_deg is None:
        Ks = np.stack([intrinsics(width, height, fov_y_deg=fov) for fov in fov_y_deg])
    else:
        Ks = np.tile(intrinsics(width, height, fov_x_deg=fov_x_deg), (frames, 1, 1))
    return Given(opencv_from_opengl(opengl), Ks, str(path))


def _poses(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """OpenGL camera-to-world matrices [F, 4, 4] and vertical fields of view [F] in degrees."""
    found = read_json(path)
    try:
        kind = found.get("camera_type", "perspective")
        if kind != "perspective":
            raise ValueError(f"camera_type {kind!r}; only perspective cameras can be rendered")
        matrices = np.array([frame["camera_to_world"] for frame in found["camera_path"]], dtype=np.float64)
        fov_y_deg = np.array([frame["fov"] for frame in found["camera_path"]], dtype=np.float64)
        if not len(matrices):
            raise ValueError("camera_path is empty")
        matrices = matrices.reshape(len(matrices), 4, 4)
        if not np.isfinite(matrices).all() or not ((fov_y_deg > 0) & (fov_y_deg < 180)).all():
            raise ValueError("values that are not finite, or fields of view outside 0 to 180 degrees")
        matrices = np.linalg.inv(rigid(np.linalg.inv(matrices)))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: this is not a nerfstudio camera_path file ({error}).") from error
    return matrices, fov_y_deg


def _dataparser(path: Path) -> tuple[np.ndarray, float]:
    """What nerfstudio's dataparser applied to every camera: ``scale * (transform @ pose)``; [4, 4] and a factor."""
    found = read_json(path)
    try:
        applied = np.vstack([np.array(found["transform"], dtype=np.float64).reshape(3, 4), [0, 0, 0, 1]])
        scale = float(found["scale"])
        if not 0 < scale < np.inf:
            raise ValueError(f"scale {scale}")
        np.linalg.inv(applied)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: this is not a nerfstudio dataparser_transforms file ({error}).") from error
    return applied, scale


def _scaled(poses: np.ndarray, scale: float) -> np.ndarray:
    scaled = poses.copy()
    scaled[:, :3, 3] *= scale
    return scaled


def _as_dataparser(viewmats: np.ndarray, transforms: Path) -> np.ndarray:
    """World-to-camera matrices [F, 4, 4] in the coordinates that nerfstudio trained in."""
    applied, scale = _dataparser(transforms)
    return rigid(np.linalg.inv(_scaled(applied @ np.linalg.inv(viewmats), scale)))


def _interpolated(poses: np.ndarray, known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Poses [M, 4, 4], camera to world, at positions [M] between poses [F, 4, 4] at known positions [F]."""
    from scipy.spatial.transform import Rotation, Slerp  # slow to import, and a plan needs this module's keys alone

    if wanted is known:
        return poses
    if len(poses) == 1:
        return np.repeat(poses, len(wanted), axis=0)
    between = np.tile(np.eye(4), (len(wanted), 1, 1))
    between[:, :3, :3] = Slerp(known, Rotation.from_matrix(poses[:, :3, :3]))(
        np.clip(wanted, known[0], known[-1])
    ).as_matrix()
    for axis in range(3):
        between[:, axis, 3] = np.interp(wanted, known, poses[:, axis, 3])
    return between


PATH = CameraPath(
    name="file",
    description="is read from a file",
    keys=FileKeys,
    clearance_m=0.05,
    given=read_request,
    files=("file", "dataparser_transforms", "calibration"),
)
