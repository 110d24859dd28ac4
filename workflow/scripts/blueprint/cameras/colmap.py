"""COLMAP's sparse models: ``cameras`` and ``images``, as .bin or .txt (https://colmap.github.io/format.html).

Poses are world to camera in OpenCV axes, quaternions w first; a pixel's centre lies at half a pixel, as here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from blueprint.cameras.photo import Photo, lens_of, mask_beside, picture_size, pixel_matrix
from blueprint.errors import UserError


class _Model(NamedTuple):
    name: str
    parameters: int
    focal_lengths: int
    lens: str | None  # None: cannot be rendered


MODELS = (
    _Model("SIMPLE_PINHOLE", 3, 1, "PINHOLE"),
    _Model("PINHOLE", 4, 2, "PINHOLE"),
    _Model("SIMPLE_RADIAL", 4, 1, "OPENCV"),
    _Model("RADIAL", 5, 1, "OPENCV"),
    _Model("OPENCV", 8, 2, "OPENCV"),
    _Model("OPENCV_FISHEYE", 8, 2, "OPENCV_FISHEYE"),
    _Model("FULL_OPENCV", 12, 2, "OPENCV"),
    _Model("FOV", 5, 2, None),
    _Model("SIMPLE_RADIAL_FISHEYE", 4, 1, "OPENCV_FISHEYE"),
    _Model("RADIAL_FISHEYE", 5, 1, "OPENCV_FISHEYE"),
    _Model("THIN_PRISM_FISHEYE", 12, 2, None),
)
"""COLMAP's camera models by their number in .bin files; parameters are focal lengths, cx, cy, distortion."""
MODEL_SUFFIXES = (".bin", ".txt")
BY_NAME = {model.name: model for model in MODELS}
POINT_BYTES = 24  # x, y and the number of a 3D point


class _Camera(NamedTuple):
    model: _Model
    width: int
    height: int
    parameters: tuple[float, ...]


class _Image(NamedTuple):
    quaternion: tuple[float, ...]  # w first, world to camera
    translation: tuple[float, ...]
    camera: int
    name: str


def model_folder(path: Path) -> Path | None:
    """The folder that holds ``cameras`` and ``images``: the given one, or one inside it where tools put it."""
    for inner in ("", "sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", "colmap", "0"):
        if any((path / inner / f"cameras{suffix}").is_file() for suffix in MODEL_SUFFIXES):
            return path / inner
    return None


def model_files(folder: Path) -> list[Path]:
    """The files of a sparse model that its photos are read from: ``cameras`` and ``images``."""
    suffix = next((suffix for suffix in MODEL_SUFFIXES if (folder / f"cameras{suffix}").is_file()), MODEL_SUFFIXES[-1])
    return [folder / f"{name}{suffix}" for name in ("cameras", "images")]


def read_model(folder: Path) -> list[Photo]:
    """The photos of a sparse model, sorted by name.

    Raises:
        UserError: a file is absent or damaged, or a camera is of a kind that cannot be rendered.
    """
    cameras_file, images_file = model_files(folder)
    binary = cameras_file.suffix == ".bin"
    cameras: dict[int, _Camera] = dict(_read(cameras_file, _binary_cameras if binary else _text_cameras))
    images: list[_Image] = list(_read(images_file, _binary_images if binary else _text_images))
    pictures = _pictures(folder)
    photos = []
    for image in sorted(images, key=lambda image: image.name):
        try:
            photos.append(_photo(pictures, image, cameras))
        except (KeyError, ValueError) as error:
            said = f"camera {error} is not in {cameras_file.name}" if isinstance(error, KeyError) else str(error)
            raise UserError(f"{images_file}: {image.name}: {said}.") from error
    return photos


def _read(path: Path, parse: Any) -> Iterator[Any]:
    try:
        yield from parse(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    except (ValueError, IndexError, KeyError, struct.error, MemoryError) as error:
        raise UserError(f"{path}: not a file of COLMAP, or a damaged one ({error}). Copy it again.") from error


def _pictures(folder: Path) -> Path:
    """The folder of images: `images` beside the model or above it."""
    for above in (folder, *list(folder.absolute().parents)[:3]):
        if (above / "images").is_dir():
            return above / "images"
    return folder / "images"


def _photo(pictures: Path, image: _Image, cameras: dict[int, _Camera]) -> Photo:
    camera = cameras[image.camera]
    model, values = camera.model, camera.parameters
    if model.lens is None:
        known = ", ".join(other.name for other in MODELS if other.lens)
        raise ValueError(f"its camera model {model.name} cannot be rendered; {known} can. Undistort the photos")
    fx, fy, cx, cy = values[:4] if model.focal_lengths == 2 else (values[0], *values[:3])
    viewmat = np.eye(4)
    viewmat[:3, :3] = _rotation(image.quaternion)
    viewmat[:3, 3] = image.translation
    if not np.isfinite(viewmat).all():
        raise ValueError("its pose is not finite")
    return Photo(
        name=image.name,
        image=pictures / image.name,
        mask=mask_beside(pictures.parent, str(PurePosixPath("images", image.name))),
        viewmat=viewmat,
        K=pixel_matrix(fx, fy, cx, cy),
        width=camera.width,
        height=camera.height,
        lens=lens_of(model.lens, values[2 + model.focal_lengths :]),
        split=None,
    )


def _rotation(quaternion: tuple[float, ...]) -> np.ndarray:
    from scipy.spatial.transform import Rotation  # slow to import

    return Rotation.from_quat(quaternion, scalar_first=True).as_matrix()


def _camera(model: _Model, width: int, height: int, parameters: tuple[float, ...]) -> _Camera:
    if len(parameters) != model.parameters:
        raise ValueError(f"a camera {model.name} with {len(parameters)} parameters, not {model.parameters}")
    picture_size({"width": width, "height": height}, "width", "height")
    return _Camera(model, width, height, parameters)


def _binary_cameras(data: bytes) -> Iterator[tuple[int, _Camera]]:
    (count,), at = struct.unpack_from("<Q", data), 8
    for _ in range(count):  # a wrong count ends at the end of the data
        number, model, width, height = struct.unpack_from("<IiQQ", data, at)
        if not 0 <= model < len(MODELS):
            raise ValueError(f"camera model number {model}")
        parameters = struct.unpack_from(f"<{MODELS[model].parameters}d", data, at + 24)
        at += 24 + 8 * len(parameters)
        yield number, _camera(MODELS[model], width, height, parameters)


def _binary_images(data: bytes) -> Iterator[_Image]:
    (count,), at = struct.unpack_from("<Q", data), 8
    for _ in range(count):
        _, *pose, camera = struct.unpack_from("<I7dI", data, at)
        end = data.index(b"\0", at + 64)
        (points,) = struct.unpack_from("<Q", data, end + 1)
        yield _Image(tuple(pose[:4]), tuple(pose[4:]), camera, data[at + 64 : end].decode())
        at = end + 9 + points * POINT_BYTES
        if at > len(data):
            raise ValueError(f"it ends within an image, after {len(data)} bytes")


def _lines(data: bytes) -> list[str]:
    return [line for line in data.decode().splitlines() if not line.startswith("#")]


def _text_cameras(data: bytes) -> Iterator[tuple[int, _Camera]]:
    for line in filter(str.strip, _lines(data)):
        number, name, width, height, *parameters = line.split()
        yield int(number), _camera(BY_NAME[name], int(width), int(height), tuple(map(float, parameters)))


def _text_images(data: bytes) -> Iterator[_Image]:
    lines = _lines(data)
    while lines and not lines[0].strip():
        del lines[0]
    for line in lines[::2]:  # every other line lists an image's points, and may be empty
        if line.strip():
            _, *pose, camera, name = line.split(maxsplit=9)
            values = tuple(map(float, pose))
            yield _Image(values[:4], values[4:], int(camera), name.strip())
