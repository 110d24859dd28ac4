"""Camera paths from a file: nerfstudio's ``camera_path`` JSON.

https://docs.nerf.studio/quickstart/custom_dataset.html and nerfstudio/cameras/camera_paths.py: ``camera_to_world`` is
row-major in OpenGL axes (x right, y up, z backward), ``fov`` is vertical and in degrees. Poses are in the coordinates
nerfstudio trained in, as is a splat from ``ns-export gaussian-splat``; for a splat in the capture's own coordinates the
``dataparser_transforms.json`` of the training undoes what nerfstudio applied.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from blueprint.axes import intrinsics, opencv_from_opengl
from blueprint.errors import UserError
from blueprint.files import read_json


@dataclass(frozen=True)
class FilePath:
    """A camera path in the world frame of the splat."""

    viewmats: np.ndarray  # [F, 4, 4] OpenCV, world to camera
    Ks: np.ndarray  # [F, 3, 3] pixels


def read_camera_path(
    path: Path, frames: int, width: int, height: int, fov_x_deg: float | None, transforms: Path | None
) -> FilePath:
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
        opengl = _before_dataparser(opengl, transforms)
    opengl, fov_y_deg = _resample(opengl, fov_y_deg, frames)
    if fov_x_deg is None:
        Ks = np.stack([intrinsics(width, height, fov_y_deg=fov) for fov in fov_y_deg])
    else:
        Ks = np.tile(intrinsics(width, height, fov_x_deg=fov_x_deg), (frames, 1, 1))
    return FilePath(opencv_from_opengl(opengl), Ks)


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
        rotations = matrices[:, :3, :3]
        off = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
        if off.max() > 1e-3 or (np.linalg.det(rotations) < 0).any():
            raise ValueError(f"camera_to_world of frame {off.argmax()} is no rotation (or a mirrored one)")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: is no nerfstudio camera_path file ({error}).") from error
    return matrices, fov_y_deg


def _before_dataparser(opengl: np.ndarray, transforms: Path) -> np.ndarray:
    """Undo ``scale * (transform @ pose)``, which nerfstudio's dataparser applied to every camera."""
    found = read_json(transforms)
    try:
        applied = np.vstack([np.array(found["transform"], dtype=np.float64).reshape(3, 4), [0, 0, 0, 1]])
        scale = float(found["scale"])
        if not scale > 0:
            raise ValueError(f"scale {scale}")
        undo = np.linalg.inv(applied)
    except (KeyError, TypeError, ValueError, np.linalg.LinAlgError) as error:
        raise UserError(f"{transforms}: is no dataparser_transforms file of nerfstudio ({error}).") from error
    unscaled = opengl.copy()
    unscaled[:, :3, 3] /= scale
    return undo @ unscaled


def _resample(opengl: np.ndarray, fov_y_deg: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    if frames == len(opengl):
        return opengl, fov_y_deg
    if len(opengl) == 1:
        return np.repeat(opengl, frames, axis=0), np.repeat(fov_y_deg, frames)
    known, wanted = np.linspace(0, 1, len(opengl)), np.linspace(0, 1, frames)
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, :3, :3] = Slerp(known, Rotation.from_matrix(opengl[:, :3, :3]))(wanted).as_matrix()
    for axis in range(3):
        poses[:, axis, 3] = np.interp(wanted, known, opengl[:, axis, 3])
    return poses, np.interp(wanted, known, fov_y_deg)
