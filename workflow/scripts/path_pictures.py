"""Write the pictures of docs/rendering.md: where each camera path runs in the demo kitchen, and what it sees."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from blueprint import cli, splat
from blueprint.axes import eyes_of, level_from_world, moved
from blueprint.cameras.place import place
from blueprint.cameras.space import Space, survey_space
from blueprint.files import whole_file
from blueprint.poses import Cameras
from blueprint.render.cpu import CpuRenderer
from blueprint.splat import Splat

SHOWN_FRAMES = 4
FRAMES = 93
WIDTH, HEIGHT = 240, 180
PATHS: dict[str, dict[str, Any]] = {
    "orbit": {"path": "orbit"},
    "sweep": {"path": "sweep"},
    "manipulation": {"path": "manipulation"},
    "file": {"path": "file", "file": "config/examples/kitchen_camera_path.json"},
}


def plan(space: Space, cameras: Cameras) -> np.ndarray:
    """The floor plan [HEIGHT, WIDTH, 3] with what stands on it, the way of the camera (red) and where it looks."""
    level = level_from_world(cameras.up_axis, cameras.floor_height_m)
    eyes = moved(eyes_of(cameras.viewmats), level)
    looks = cameras.viewmats[:, 2, :3] @ level[:3, :3].T
    low, high = (int((height - space.origin[2]) / space.voxel_m) for height in (0.2, float(eyes[:, 2].max())))
    filled = space.solid[:, :, max(low, 0) : max(high, 1)].mean(axis=2)
    scale = min(WIDTH / filled.shape[0], HEIGHT / filled.shape[1])
    size = (round(filled.shape[0] * scale), round(filled.shape[1] * scale))
    grey = cv2.resize(255 - (200 * np.minimum(4 * filled, 1)).T.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    corner = np.array([(WIDTH - size[0]) // 2, (HEIGHT - size[1]) // 2])
    image[corner[1] : corner[1] + size[1], corner[0] : corner[0] + size[0]] = grey[..., None]

    def pixel(points: np.ndarray) -> np.ndarray:
        return np.rint((points[..., :2] - space.origin[:2]) / space.voxel_m * scale + corner).astype(np.int32)

    for eye, look in zip(eyes[shown(len(eyes))], looks[shown(len(eyes))], strict=True):
        cv2.arrowedLine(image, pixel(eye).tolist(), pixel(eye + 0.6 * look).tolist(), (40, 90, 220), 1, cv2.LINE_AA)
    cv2.polylines(image, [pixel(eyes)], False, (220, 40, 40), 2, cv2.LINE_AA)
    return image[::-1]  # y points up


def shown(count: int) -> np.ndarray:
    """Numbers of the frames that a sheet shows."""
    return np.linspace(0, count - 1, SHOWN_FRAMES, endpoint=False).astype(int)


def sheet(scene: Splat, space: Space, cameras: Cameras) -> np.ndarray:
    """A strip of the plan and frames along the way, uint8 [HEIGHT, ..., 3]."""
    renderer = CpuRenderer(scene, WIDTH, HEIGHT, threads=2)
    frames = [renderer.frame(cameras.viewmats[i], cameras.Ks[i]).rgb for i in shown(len(cameras.viewmats))]
    return np.hstack([plan(space, cameras), *(np.rint(frame * 255).astype(np.uint8) for frame in frames)])


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", type=Path, default=Path("resources/demo/kitchen.ply"))
    parser.add_argument("--folder", type=Path, default=Path("docs/cameras"), help="where the pictures go")
    arguments = parser.parse_args()
    scene = splat.load(arguments.scene)
    space = survey_space(scene, level_from_world("z", 0.0))
    common = {"frames": FRAMES, "width": WIDTH, "height": HEIGHT, "fps": 24, "up_axis": "z", "floor_height_m": 0.0}
    for name, clip in PATHS.items():
        image = sheet(scene, space, place(scene, {**common, **clip}))
        with whole_file(arguments.folder / f"{name}.jpg") as part:
            Image.fromarray(image).save(part, quality=88)


if __name__ == "__main__":
    cli.run(main)
