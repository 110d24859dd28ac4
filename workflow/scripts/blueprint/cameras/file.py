"""``cameras.json``: the poses and intrinsics of every frame of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.errors import UserError
from blueprint.files import read_json, write_json

DECIMALS = 9


@dataclass(frozen=True)
class Cameras:
    """OpenCV cameras of a clip; pixel (row, column) has its centre at (column + 0.5, row + 0.5)."""

    viewmats: np.ndarray  # [F, 4, 4] float64, world to camera, metres
    Ks: np.ndarray  # [F, 3, 3] float64, pixels
    width: int
    height: int
    fps: int
    up_axis: str
    floor_height_m: float
    path: str
    spec: dict[str, Any]
    """The configuration that the path was made from."""
    placement: dict[str, Any]
    """How the path was placed in the scene."""


def write(target: Path, cameras: Cameras) -> None:
    """Write ``cameras.json``."""
    frames = [
        {"viewmat": (viewmat.round(DECIMALS) + 0.0).tolist(), "K": (K.round(DECIMALS) + 0.0).tolist()}
        for viewmat, K in zip(cameras.viewmats, cameras.Ks, strict=True)
    ]
    keys = ("width", "height", "fps", "up_axis", "floor_height_m", "path", "spec", "placement")
    write_json(target, {"convention": "opencv", **{key: getattr(cameras, key) for key in keys}, "frames": frames})


def read(path: Path) -> Cameras:
    """Read ``cameras.json``.

    Raises:
        UserError: absent, not JSON, or not such a file.
    """
    found = read_json(path)
    try:
        if found["convention"] != "opencv":
            raise ValueError(f"convention {found['convention']!r}, expected 'opencv'")
        viewmats = np.array([frame["viewmat"] for frame in found["frames"]], dtype=np.float64)
        Ks = np.array([frame["K"] for frame in found["frames"]], dtype=np.float64)
        if viewmats.shape[1:] != (4, 4) or Ks.shape[1:] != (3, 3):
            raise ValueError(
                f"viewmats {list(viewmats.shape)} and Ks {list(Ks.shape)}, expected [F, 4, 4] and [F, 3, 3]"
            )
        return Cameras(
            viewmats,
            Ks,
            width=found["width"],
            height=found["height"],
            fps=found["fps"],
            up_axis=found["up_axis"],
            floor_height_m=found["floor_height_m"],
            path=found["path"],
            spec=found["spec"],
            placement=found.get("placement", {}),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: is no file of cameras ({error}). Delete it and run again.") from error
