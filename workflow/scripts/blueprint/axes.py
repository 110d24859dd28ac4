"""Frames of reference and the conversions between them, each under its name.

World
    The scene file's own axes, in metres.
Level frame
    The world turned (never mirrored) so that z points up, and shifted so that the floor is at z = 0. Paths are laid
    out here. A heading is an angle in its x-y plane, counter-clockwise seen from above, 0 along x.
OpenCV camera
    x right, y down, z forward; ``viewmat`` maps world to camera. What the rest of the project uses.
OpenGL camera
    x right, y up, z backward, given as camera-to-world. What nerfstudio and Blender use.
"""

from __future__ import annotations

import numpy as np

LARGEST_SKEW = 1e-2  # of the product of a rotation with its transpose
ROUNDING = 1e-8
OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # the same both ways


def level_from_world(up_axis: str, floor_height_m: float) -> np.ndarray:
    """The transform [4, 4] from the world to the level frame.

    For ``z`` up and a floor at 0 it is the identity. For another axis, level x is the world axis that follows it in
    the cycle x, y, z: with ``y`` or ``-y`` up, level x is world z.
    """
    axis = "xyz".index(up_axis[-1])
    up = np.zeros(3)
    up[axis] = -1 if up_axis.startswith("-") else 1
    ahead = np.zeros(3)
    ahead[(axis + 1) % 3] = 1
    transform = np.eye(4)
    transform[:3, :3] = np.stack([ahead, np.cross(up, ahead), up])
    transform[2, 3] = -floor_height_m
    return transform


def up_axis_of(up: np.ndarray) -> tuple[str, float]:
    """The axis of the world nearest to a direction [3], and the cosine of the angle between them."""
    axis = int(np.abs(up).argmax())
    return ("-" if up[axis] < 0 else "") + "xyz"[axis], float(abs(up[axis]) / max(np.linalg.norm(up), 1e-12))


def direction(heading_rad: np.ndarray, look_down_rad: np.ndarray) -> np.ndarray:
    """Unit vectors [..., 3] of the level frame that point along headings and below the horizon."""
    heading_rad, look_down_rad = np.broadcast_arrays(heading_rad, look_down_rad)
    level = np.cos(look_down_rad)
    return np.stack([level * np.cos(heading_rad), level * np.sin(heading_rad), -np.sin(look_down_rad)], axis=-1)


def opencv_viewmats(eyes: np.ndarray, forwards: np.ndarray) -> np.ndarray:
    """Upright OpenCV cameras: level frame to camera [F, 4, 4].

    Args:
        eyes: camera centres [F, 3].
        forwards: unit view directions [F, 3]; none may be vertical.
    """
    rights = np.cross(forwards, [0.0, 0.0, 1.0])
    rights /= np.linalg.norm(rights, axis=-1, keepdims=True)
    downs = np.cross(forwards, rights)
    viewmats = np.tile(np.eye(4), (len(eyes), 1, 1))
    viewmats[:, :3, :3] = np.stack([rights, downs, forwards], axis=1)
    viewmats[:, :3, 3] = -np.einsum("fij,fj->fi", viewmats[:, :3, :3], eyes)
    return viewmats


def opencv_from_opengl(camera_to_world: np.ndarray) -> np.ndarray:
    """OpenCV world-to-camera matrices [F, 4, 4] of OpenGL camera-to-world matrices [F, 4, 4]."""
    return OPENCV_FROM_OPENGL @ np.linalg.inv(camera_to_world)


def eyes_of(viewmats: np.ndarray) -> np.ndarray:
    """Camera centres [..., 3] of world-to-camera matrices [..., 4, 4]."""
    return -np.einsum("...ji,...j->...i", viewmats[..., :3, :3], viewmats[..., :3, 3])


def rigid(viewmats: np.ndarray) -> np.ndarray:
    """World-to-camera matrices [F, 4, 4] with the nearest rotations, the camera centres where they are.

    Poses from files are rotations up to how they were rounded, and every use of such a matrix makes something else of
    the rest: an error of 8e-4 at 30 m from the origin moves the picture by 2.4 cm, or not, by which inverse is taken.

    Raises:
        ValueError: a matrix is far from a rotation, mirrored, or not finite.
    """
    rotations = viewmats[:, :3, :3]
    off = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    if not (off <= LARGEST_SKEW).all() or (np.linalg.det(rotations) < 0).any():
        raise ValueError(f"the pose of frame {int(off.argmax())} is not a rotation (or a mirrored one)")
    left, _, right = np.linalg.svd(rotations)
    nearest = viewmats.copy()
    nearest[:, :3, :3] = left @ right
    eyes = -np.linalg.solve(rotations, viewmats[:, :3, 3, None])
    nearest[:, :3, 3:] = -nearest[:, :3, :3] @ eyes
    return np.where((off < ROUNDING)[:, None, None], viewmats, nearest)


def moved(points: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Points [..., 3] in the frame that a transform [4, 4] leads to, of the points' own precision."""
    return points @ transform[:3, :3].T.astype(points.dtype) + transform[:3, 3].astype(points.dtype)


def moved_back(points: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Points [..., 3] in the frame that a rigid transform [4, 4] comes from."""
    return (points - transform[:3, 3].astype(points.dtype)) @ transform[:3, :3].astype(points.dtype)


def intrinsics(
    width: int, height: int, *, fov_x_deg: float | None = None, fov_y_deg: float | None = None
) -> np.ndarray:
    """Pixel intrinsics [3, 3] of a centred camera with square pixels; one of the fields of view is given."""
    if fov_x_deg is not None:
        focal = width / 2 / np.tan(np.radians(fov_x_deg) / 2)
    else:
        assert fov_y_deg is not None
        focal = height / 2 / np.tan(np.radians(fov_y_deg) / 2)
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
