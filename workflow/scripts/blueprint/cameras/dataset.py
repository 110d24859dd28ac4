"""The photos that a scene was made from, whichever program wrote down their cameras.

Read are nerfstudio's ``transforms.json`` (also of instant-ngp, and ``transforms_train.json`` with its siblings of
Blender's synthetic scenes), COLMAP's sparse models, and the ``cameras.json`` that the code of 3DGS's paper (INRIA)
leaves beside a splat. Poses come out in the dataset's own coordinates and units, as rotations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from blueprint.axes import rigid
from blueprint.cameras.colmap import MODEL_SUFFIXES, model_files, model_folder, read_model
from blueprint.cameras.nerfstudio import read_transforms
from blueprint.cameras.photo import Photo, mask_beside, picture_size, pixel_matrix
from blueprint.errors import UserError
from blueprint.files import read_json

__all__ = ["Photo", "dataset_files", "read_photos"]

TRANSFORMS = ("transforms.json", "transforms_train.json", "transforms_val.json", "transforms_test.json")
IMAGE_SUFFIXES = (".jpg", ".JPG", ".jpeg", ".JPEG", ".png", ".PNG")


def read_photos(path: Path, metres_per_unit: float = 1.0) -> list[Photo]:
    """The photos of a dataset with their cameras.

    Args:
        path: a ``transforms.json``, an INRIA ``cameras.json``, a COLMAP model (its folder or its ``images`` file), or
            the folder of a dataset that holds one of these.
        metres_per_unit: length of the dataset's units; poses come out in metres.

    Raises:
        UserError: there is no such dataset, it is damaged or empty, or a camera is of a kind that cannot be rendered.
    """
    files = dataset_files(path)
    read_one_by_one = files[0].suffix not in MODEL_SUFFIXES
    photos = [photo for file in files for photo in _read(file)] if read_one_by_one else read_model(files[0].parent)
    if not photos:
        raise UserError(f"{path}: holds no cameras.")
    names = [photo.name for photo in photos]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{path}: the photo {twice} stands more than once. Remove all but one.")
    for photo in photos:
        photo.viewmat[:3, 3] *= metres_per_unit
    return photos


def dataset_files(path: Path) -> list[Path]:
    """The files in which a dataset's cameras stand; for COLMAP, ``cameras`` and ``images``.

    Raises:
        UserError: there are none.
    """
    if path.is_file():
        return model_files(path.parent) if path.suffix in MODEL_SUFFIXES else [path]
    found = [path / name for name in TRANSFORMS if (path / name).is_file()]
    if found:
        return found[:1] if found[0].name == TRANSFORMS[0] else found
    if (folder := model_folder(path)) is not None:
        return model_files(folder)
    if (path / "cameras.json").is_file():
        return [path / "cameras.json"]
    raise UserError(
        f"{path}: no dataset is there: neither transforms.json (nerfstudio), nor cameras and images as .bin or .txt in "
        "it or in sparse/0 (COLMAP), nor cameras.json (INRIA). Correct the path, or copy the files there."
    )


def _read(file: Path) -> list[Photo]:
    if isinstance(found := read_json(file), list):
        return _read_inria(file, found)
    return read_transforms(file)


def _read_inria(path: Path, found: list[Any]) -> list[Photo]:
    """INRIA's list of cameras: camera to world in OpenCV axes, the principal point in the middle."""
    try:
        poses = np.tile(np.eye(4), (len(found), 1, 1))
        for pose, camera in zip(poses, found, strict=True):
            pose[:3, :3], pose[:3, 3] = camera["rotation"], camera["position"]
        viewmats = rigid(np.linalg.inv(poses))
        photos = []
        for viewmat, camera in zip(viewmats, found, strict=True):
            width, height = picture_size(camera, "width", "height")
            image = _image_named(path.parent / "images", str(camera["img_name"]))
            photos.append(
                Photo(
                    name=image.name,
                    image=image,
                    mask=mask_beside(path.parent, image.name),
                    viewmat=viewmat,
                    K=pixel_matrix(float(camera["fx"]), float(camera["fy"]), width / 2, height / 2),
                    width=width,
                    height=height,
                    lens=None,
                    split=None,
                )
            )
    except (KeyError, TypeError, ValueError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path}: this is not a cameras.json of INRIA's 3DGS ({said}).") from error
    return photos


def _image_named(folder: Path, name: str) -> Path:
    """The image of a name that may lack its suffix."""
    candidates = [folder / name, *(folder / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES)]
    return next((candidate for candidate in candidates if candidate.is_file()), candidates[0])
