"""``cameras.json``: the poses and intrinsics of every frame of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.axes import rigid
from blueprint.errors import UserError
from blueprint.files import read_json, write_json
from blueprint.lens import Lens

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
    lenses: tuple[Lens | None, ...] = ()
    """The lens of every frame, None for a pinhole; empty when all are pinholes."""
    metres_per_unit: float = 1.0
    """Of the scene's file, which the cameras are for."""


def write(target: Path, cameras: Cameras) -> None:
    """Write ``cameras.json``."""
    frames: list[dict[str, Any]] = [
        {"viewmat": (viewmat.round(DECIMALS) + 0.0).tolist(), "K": (K.round(DECIMALS) + 0.0).tolist()}
        for viewmat, K in zip(cameras.viewmats, cameras.Ks, strict=True)
    ]
    for frame, lens in zip(frames, cameras.lenses, strict=bool(cameras.lenses)):
        if lens:
            frame["lens"] = {"model": lens.model, "coefficients": list(lens.coefficients)}
    keys = ("width", "height", "fps", "up_axis", "floor_height_m", "metres_per_unit", "path", "spec", "placement")
    write_json(target, {"convention": "opencv", **{key: getattr(cameras, key) for key in keys}, "frames": frames})


def read(path: Path) -> Cameras:
    """Read ``cameras.json``.

    Poses are made rotations to the last digit. A frame may have a ``lens``, and a ``width`` and ``height`` that its
    ``K`` is for when these are not the clip's.

    Raises:
        UserError: absent, not JSON, or not such a file.
    """
    found = read_json(path)
    try:
        if found["convention"] != "opencv":
            raise ValueError(f"convention {found['convention']!r}, expected 'opencv'")
        viewmats = np.array([frame["viewmat"] for frame in found["frames"]], dtype=np.float64)
        Ks = np.array([frame["K"] for frame in found["frames"]], dtype=np.float64)
        size = found["width"], found["height"]
        if viewmats.shape[1:] != (4, 4) or Ks.shape[1:] != (3, 3):
            raise ValueError(
                f"viewmats {list(viewmats.shape)} and Ks {list(Ks.shape)}, expected [F, 4, 4] and [F, 3, 3]"
            )
        lenses = tuple(_lens(frame) for frame in found["frames"])
        return Cameras(
            rigid(viewmats),
            np.stack([_fitted(K, frame, *size) for K, frame in zip(Ks, found["frames"], strict=True)]),
            width=size[0],
            height=size[1],
            fps=found["fps"],
            up_axis=found["up_axis"],
            floor_height_m=found["floor_height_m"],
            path=found["path"],
            spec=found["spec"],
            placement=found.get("placement", {}),
            lenses=lenses if any(lenses) else (),
            metres_per_unit=found.get("metres_per_unit", 1.0),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: this is not a camera file ({error}). Delete it and run again.") from error


def _lens(frame: dict[str, Any]) -> Lens | None:
    lens = frame.get("lens")
    return None if lens is None else Lens(lens["model"], tuple(map(float, lens["coefficients"])))


def _fitted(K: np.ndarray, frame: dict[str, Any], width: int, height: int) -> np.ndarray:
    """Intrinsics [3, 3] of a picture of the clip's size, from those of the frame's own size."""
    share = np.array([width / frame.get("width", width), height / frame.get("height", height)])
    if abs(share[0] / share[1] - 1) > 1 / min(width, height):
        raise ValueError(
            f"a frame of {frame.get('width')}x{frame.get('height')} pixels has another shape than the clip's "
            f"{width}x{height}"
        )
    return K * np.array([[share[0]], [share[1]], [1.0]])
