"""A photo that a scene was made from, with the camera that took it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from blueprint.lens import MODELS, Lens

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Photo:
    """A photo and its camera; pixel (row, column) has its centre at (column + 0.5, row + 0.5)."""

    name: str
    """Unique in its dataset: the path of the image in it."""
    image: Path
    """Need not exist: cameras may have been copied without their photos."""
    mask: Path | None
    """A file that exists; white where the photo shows the scene, black where it is to be ignored."""
    viewmat: np.ndarray  # [4, 4] float64, OpenCV axes, world to camera, units of the dataset
    K: np.ndarray  # [3, 3] float64, pixels of a picture of `width` times `height`
    width: int
    height: int
    """What the camera was calibrated for; the file may be a reduced copy."""
    lens: Lens | None
    """Its distortion; None for a pinhole."""
    split: Split | None
    """Whether the trainer saw the photo, where that is recorded."""


def pixel_matrix(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    """Pixel intrinsics [3, 3].

    Raises:
        ValueError: focal lengths that are not positive, or values that are not finite.
    """
    if not (all(map(math.isfinite, (fx, fy, cx, cy))) and fx > 0 and fy > 0):
        raise ValueError(f"intrinsics fx {fx}, fy {fy}, cx {cx}, cy {cy}")
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=np.float64)


def lens_of(model: str, coefficients: Sequence[float]) -> Lens | None:
    """A lens of any number of coefficients in OpenCV's order; None for one that bends nothing.

    Raises:
        ValueError: as `Lens`.
    """
    found = [float(value) for value in coefficients]
    if model == "PINHOLE" or (model == "OPENCV" and not any(found)):
        return None
    while len(found) > 4 and found[-1] == 0:
        del found[-1]
    size = next((count for count in MODELS[model] if count >= len(found)), len(found))
    return Lens(model, tuple(found + [0.0] * (size - len(found))))  # type: ignore[arg-type] - checked by Lens


def picture_size(found: Mapping[str, Any], width: str, height: str) -> tuple[int, int]:
    """Width and height that a file gives, in pixels.

    Raises:
        ValueError: no positive whole numbers below 100,000.
        KeyError: not given.
    """
    size = int(found[width]), int(found[height])
    if not all(0 < pixels < 100_000 for pixels in size) or size != (found[width], found[height]):
        raise ValueError(f"a picture of {found[width]} x {found[height]} pixels")
    return size


def mask_beside(root: Path, name: str) -> Path | None:
    """The mask of an image that lies where COLMAP and nerfstudio look for it, if there is one."""
    inner = Path(name)
    stems = [Path(*inner.parts[1:]), inner] if len(inner.parts) > 1 else [inner]
    for stem in stems:
        for candidate in (f"{stem}.png", f"{stem.with_suffix('.png')}"):
            if (found := root / "masks" / candidate).is_file():
                return found
    return None
