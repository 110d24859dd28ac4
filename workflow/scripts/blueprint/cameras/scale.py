"""How long a unit of a scene is: captures from photos alone have units of any length."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import model_validator

from blueprint.axes import eyes_of, level_from_world, moved
from blueprint.cameras.dataset import read_photos
from blueprint.errors import UserError
from blueprint.files import read_json
from blueprint.section import Section, key

WAYS = (("points", "distance_m"), ("photos", "camera_height_m", "floor_point"), ("dataparser_transforms",))


class Scale(Section):
    """How the length of a unit is found: by two points, by the photos' cameras, or by nerfstudio's own scaling."""

    points: list[list[float]] | None = key(
        "Two points of the scene, in its own coordinates and units as splat editors show them.",
        None,
        min_length=2,
        max_length=2,
    )
    distance_m: float | None = key("How far these are apart, in metres.", None, gt=0)
    photos: str | None = key(
        "The photos that the scene was made from (nerfstudio, COLMAP or INRIA), in its coordinates.", None, min_length=1
    )
    camera_height_m: float | None = key("How high above the floor they were taken, in metres (the median).", None, gt=0)
    floor_point: list[float] | None = key(
        "A point on the floor, in the scene's own coordinates and units.", None, min_length=3, max_length=3
    )
    dataparser_transforms: str | None = key(
        "nerfstudio `dataparser_transforms.json` of a scene in the coordinates that nerfstudio trained in, whose "
        "capture was in metres (by LiDAR or ARKit, for example).",
        None,
        min_length=1,
    )

    @model_validator(mode="after")
    def _one_way(self) -> Scale:
        given = tuple(name for way in WAYS for name in way if getattr(self, name) is not None)
        if given not in WAYS:
            ways = "; or ".join(", ".join(way) for way in WAYS)
            raise ValueError(f"found {', '.join(given) or 'nothing'}; a scale takes {ways}. Give one of these")
        if self.points and (any(len(point) != 3 for point in self.points) or self.points[0] == self.points[1]):
            raise ValueError("points: two different points of three coordinates are expected")
        return self


def metres_per_unit(facility: Mapping[str, Any]) -> float:
    """How many metres a unit of a facility's scene is; 1 unless its configuration says otherwise.

    Raises:
        UserError: a file that the scale is taken from cannot be read, or contradicts it.
    """
    scale = facility.get("scale")
    if scale is None:
        return float(facility.get("metres_per_unit", 1.0))
    if "points" in scale:
        return scale["distance_m"] / float(np.linalg.norm(np.subtract(*scale["points"])))
    if "photos" in scale:
        return _by_height(facility, scale)
    path = Path(scale["dataparser_transforms"])
    found = read_json(path)
    try:
        factor = float(found["scale"])
        if not 0 < factor < np.inf:
            raise ValueError(f"scale {factor}")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: this is not a nerfstudio dataparser_transforms file ({error}).") from error
    return 1 / factor


def _by_height(facility: Mapping[str, Any], scale: Mapping[str, Any]) -> float:
    eyes = eyes_of(np.stack([photo.viewmat for photo in read_photos(Path(scale["photos"]))]))
    level = level_from_world(facility["up_axis"], 0.0)
    height = float(np.median(moved(eyes, level)[:, 2]) - moved(np.array(scale["floor_point"], float), level)[2])
    if height <= 0:
        raise UserError(
            f"{scale['photos']}: the photos were taken {-height:.3g} units below floor_point along up_axis "
            f"{facility['up_axis']}. Correct up_axis or floor_point of {facility['name']}."
        )
    return scale["camera_height_m"] / height
