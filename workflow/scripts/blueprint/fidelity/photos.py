"""The photos of a scan: which are compared, what each shows, and what each of them saw of the scene."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from blueprint.cameras.dataset import Photo, read_photos
from blueprint.errors import UserError
from blueprint.files import file_digest
from blueprint.lens import Lens

log = logging.getLogger(__name__)

LOOK_PX = 160  # longer side of the views that tell what a photo saw
BEHIND_SHARE = 0.05  # how far behind the surface that a photo shows a Gaussian still counts as seen


@dataclass(frozen=True)
class Shot:
    """A photo to look at, its camera at any resolution."""

    photo: Photo
    held_out: bool | None
    """Whether the trainer did not see it; None when nothing tells."""

    @property
    def name(self) -> str:
        """Unique in the dataset."""
        return self.photo.name

    @property
    def lens(self) -> Lens | None:
        """The lens; None for a pinhole."""
        return self.photo.lens

    def size_px(self, longest: int) -> tuple[int, int]:
        """Width and height when the longer side is so many pixels."""
        scale = longest / max(self.photo.width, self.photo.height)
        return max(1, round(self.photo.width * scale)), max(1, round(self.photo.height * scale))

    def K(self, size: tuple[int, int]) -> np.ndarray:
        """Intrinsics [3, 3] for a picture of another size."""
        scaled = self.photo.K.copy()
        scaled[0] *= size[0] / self.photo.width
        scaled[1] *= size[1] / self.photo.height
        return scaled

    def pictures(self, width_px: int | None) -> tuple[np.ndarray, np.ndarray | None]:
        """The photo [H, W, 3] in 0-1 and its mask [H, W], if it has one, reduced to a width if one is given.

        Raises:
            UserError: the photo or its mask cannot be read.
        """
        picture = _read(self.photo.image, cv2.IMREAD_COLOR)[..., ::-1]
        if width_px is not None and width_px < picture.shape[1]:
            size = width_px, max(1, round(picture.shape[0] * width_px / picture.shape[1]))
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        mask = None
        if self.photo.mask is not None:
            size = picture.shape[1], picture.shape[0]
            mask = cv2.resize(_read(self.photo.mask, cv2.IMREAD_GRAYSCALE), size, interpolation=cv2.INTER_NEAREST) > 127
        return np.ascontiguousarray(picture, np.float32) / 255, mask

    def depends_on(self) -> list[Any]:
        """All that a comparison with this photo depends on, of the photo itself."""
        files = [file_digest(path) for path in (self.photo.image, self.photo.mask) if path is not None]
        lens = None if self.lens is None else [self.lens.model, *self.lens.coefficients]
        camera = [*self.photo.viewmat.ravel().tolist(), *self.photo.K.ravel().tolist(), lens]
        return [files, camera, self.photo.width, self.photo.height, self.held_out]


def _read(path: Path, flags: int) -> np.ndarray:
    picture = cv2.imread(str(path), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None:
        raise UserError(
            f"{path}: the photo cannot be read. Copy the file there, or leave the photo out of the dataset."
        )
    return picture


def shots_of(spec: dict[str, Any], metres_per_unit: float = 1.0) -> list[Shot]:
    """All photos of a dataset, with what is known of the trainer's split.

    Args:
        spec: the facility's ``photos``: ``path`` and, optionally, ``held_out``.
        metres_per_unit: length of the units of scene and dataset.

    Raises:
        UserError: there is no dataset, or a held-out photo is not in it.
    """
    photos = read_photos(Path(spec["path"]), metres_per_unit)
    held_out = spec.get("held_out")
    if held_out is None:
        return [Shot(photo, None if photo.split is None else photo.split == "test") for photo in photos]
    known = {name for photo in photos for name in (photo.name, Path(photo.name).name)}
    if absent := sorted(set(held_out) - known):
        raise UserError(
            f"photos.held_out: found {absent[0]!r}: there is no such photo in {spec['path']}. Its photos are named "
            f"like {photos[0].name!r}."
        )
    return [Shot(photo, photo.name in held_out or Path(photo.name).name in held_out) for photo in photos]


def chosen(shots: Iterable[Shot], every: int) -> list[Shot]:
    """Every nth photo, and all that are held out.

    Raises:
        UserError: not one of them is there.
    """
    picked = [shot for number, shot in enumerate(shots) if shot.held_out or number % every == 0]
    there = [shot for shot in picked if shot.photo.image.is_file()]
    if absent := len(picked) - len(there):
        log.warning("%d of %d photos are not beside their cameras and are left out", absent, len(picked))
    if not there:
        raise UserError(
            f"photos.path: the dataset has cameras but no photos: {picked[0].photo.image} is not there. Bring the "
            "images, or take `photos` out of the facility."
        )
    return there


def by_size(shots: Iterable[Shot], longest: int) -> Iterator[tuple[tuple[int, int], list[Shot]]]:
    """The photos in groups of one picture size, so that each group needs one renderer."""
    groups: dict[tuple[int, int], list[Shot]] = {}
    for shot in shots:
        groups.setdefault(shot.size_px(longest), []).append(shot)
    yield from groups.items()


def seen_by(centres: np.ndarray, size_m: np.ndarray, shot: Shot, median_m: np.ndarray) -> np.ndarray:
    """Whether a photo shows Gaussians [N]: their centres are in the picture and not behind what it shows.

    Args:
        centres: [N, 3] in the world frame.
        size_m: [N], by how much they may lie behind.
        shot: the photo.
        median_m: [H, W] depth of what it shows, 0 where that is nothing.
    """
    height, width = median_m.shape
    viewmat = shot.photo.viewmat.astype(np.float32)
    points = centres @ viewmat[:3, :3].T + viewmat[:3, 3]
    depth = points[:, 2]
    seen = depth > 1e-6
    found = np.flatnonzero(seen)
    x, y = points[found, 0] / depth[found], points[found, 1] / depth[found]
    K = shot.K((width, height)).astype(np.float32)
    if shot.lens is not None:
        near = x * x + y * y <= shot.lens.reach**2
        found, x, y = found[near], x[near], y[near]
        x, y, *_ = shot.lens.bend(x, y)
    column, row = np.floor(K[0, 0] * x + K[0, 2]), np.floor(K[1, 1] * y + K[1, 2])
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    found, column, row = found[inside], column[inside].astype(int), row[inside].astype(int)
    surface = median_m[row, column]
    result = np.zeros(len(centres), bool)
    result[found] = (surface == 0) | (depth[found] <= (1 + BEHIND_SHARE) * surface + size_m[found])
    return result
