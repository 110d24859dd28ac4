"""nerfstudio's ``transforms.json``, and its relatives of instant-ngp and of Blender's synthetic scenes.

https://docs.nerf.studio/quickstart/data_conventions.html: ``transform_matrix`` is camera to world in OpenGL axes;
intrinsics and distortion stand at the top or with a frame; ``camera_angle_x`` is a field of view in radians.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.axes import opencv_from_opengl, rigid
from blueprint.cameras.photo import Photo, Split, lens_of, mask_beside, picture_size, pixel_matrix
from blueprint.errors import UserError
from blueprint.files import read_json
from blueprint.lens import Lens

SPLITS: dict[str, Split] = {"train_filenames": "train", "val_filenames": "test", "test_filenames": "test"}
BLENDER_SPLITS: dict[str, Split] = {"train": "train", "val": "test", "test": "test"}
PERSPECTIVE = ("PINHOLE", "SIMPLE_PINHOLE", "OPENCV", "SIMPLE_RADIAL", "RADIAL", "FULL_OPENCV")
FISHEYE = ("OPENCV_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")


def read_transforms(path: Path) -> list[Photo]:
    """The photos of a ``transforms.json``, in its order.

    Raises:
        UserError: absent, not such a file, or with cameras of a kind that cannot be rendered.
    """
    found = read_json(path)
    photos, number = [], None
    try:
        splits = {name: split for key, split in SPLITS.items() for name in found.get(key, ())}
        whole = BLENDER_SPLITS.get(path.stem.removeprefix("transforms_"))
        frames = found["frames"]
        matrices = np.array([frame["transform_matrix"] for frame in frames], dtype=np.float64)
        if matrices.shape[1:] != (4, 4):
            raise ValueError(f"transform_matrix of shape {list(matrices.shape[1:])}, expected [4, 4]")
        viewmats = rigid(opencv_from_opengl(matrices))
        for number, frame in enumerate(frames):
            photos.append(_photo(path, {**found, **frame}, viewmats[number], splits, whole))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        where = "" if number is None else f"frame {number}: "
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path}: this is not a transforms.json of nerfstudio ({where}{said}).") from error
    return photos


def _photo(
    path: Path, frame: Mapping[str, Any], viewmat: np.ndarray, splits: Mapping[str, Split], whole: Split | None
) -> Photo:
    name = str(frame["file_path"])
    image = path.parent / name
    if not image.suffix and not image.is_file():  # Blender's scenes leave the suffix out
        image = image.with_name(image.name + ".png")
    width, height = _size(image, frame)
    mask = frame.get("mask_path")
    if mask is not None and not (path.parent / mask).is_file():
        raise UserError(f"{path}: the mask {mask} of {name} is not there. Copy it, or remove mask_path.")
    return Photo(
        name=name.removeprefix("./"),
        image=image,
        mask=mask_beside(path.parent, name) if mask is None else path.parent / mask,
        viewmat=viewmat,
        K=_intrinsics(frame, width, height),
        width=width,
        height=height,
        lens=_lens(frame),
        split=splits.get(name, whole),
    )


def _size(image: Path, frame: Mapping[str, Any]) -> tuple[int, int]:
    if "w" in frame or not image.is_file():
        return picture_size(frame, "w", "h")
    import cv2  # slow to import, and a plan needs the paths' keys alone

    pixels = cv2.imread(str(image), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError(f"w and h are not given, and {image} is no picture that can be read")
    return pixels.shape[1], pixels.shape[0]


def _intrinsics(frame: Mapping[str, Any], width: int, height: int) -> np.ndarray:
    def focal(length: str, angle: str, pixels: int) -> float:
        return float(frame[length]) if length in frame else 0.5 * pixels / math.tan(0.5 * float(frame[angle]))

    fx = focal("fl_x", "camera_angle_x", width)
    fy = focal("fl_y", "camera_angle_y", height) if {"fl_y", "camera_angle_y"} & frame.keys() else fx
    return pixel_matrix(fx, fy, float(frame.get("cx", width / 2)), float(frame.get("cy", height / 2)))


def _lens(frame: Mapping[str, Any]) -> Lens | None:
    k = [float(frame.get(f"k{number}", 0)) for number in range(1, 7)]
    p = [float(frame.get("p1", 0)), float(frame.get("p2", 0))]
    model = "OPENCV_FISHEYE" if frame.get("is_fisheye") else frame.get("camera_model", "OPENCV")
    if model in FISHEYE:
        return lens_of("OPENCV_FISHEYE", k[:4])
    if model not in PERSPECTIVE:
        raise ValueError(f"camera_model {model!r}; {', '.join(PERSPECTIVE + FISHEYE)} can be rendered")
    if k[3] and model != "FULL_OPENCV":
        raise ValueError(f"k4 {k[3]} of {model}, which OpenCV's model does not have; nerfstudio refuses it, too")
    return lens_of("OPENCV", [*k[:2], *p, *k[2:]])
