"""A textured room, traced exactly: frames, depth and cameras whose geometry and light tests can change on purpose."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blueprint.depth import write_depth
from blueprint.video import write_video

WIDTH, HEIGHT, FPS = 224, 176, 12
ROOM_LOW, ROOM_HIGH = np.array([-3.0, -1.0, 0.0]), np.array([3.0, 5.0, 3.0])
BOXES = ((-0.9, 2.4, 0.0, 0.1, 3.2, 1.1), (0.9, 3.0, 0.0, 1.7, 3.6, 1.9))


@dataclass
class Clip:
    frames: np.ndarray  # [F, H, W, 3] uint8
    depth_m: np.ndarray  # [F, H, W]
    viewmats: np.ndarray  # [F, 4, 4] world to camera, OpenCV
    Ks: np.ndarray  # [F, 3, 3]

    def write(self, folder: Path) -> dict[str, Path]:
        """Write rgb.mp4, depth.npz and cameras.json as the workflow does; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        height, width = self.frames.shape[1:3]
        write_video(folder / "rgb.mp4", self.frames, FPS, crf=0)
        write_depth(folder / "depth.npz", [(depth, depth, (depth > 0).astype(np.float32)) for depth in self.depth_m])
        cameras = {
            "convention": "opencv",
            "width": width,
            "height": height,
            "fps": FPS,
            "up_axis": "z",
            "floor_height_m": 0.0,
            "path": "sweep",
            "spec": {},
            "frames": [
                {"viewmat": view.tolist(), "K": K.tolist()} for view, K in zip(self.viewmats, self.Ks, strict=True)
            ],
        }
        (folder / "cameras.json").write_text(json.dumps(cameras))
        return {name: folder / name for name in ("rgb.mp4", "depth.npz", "cameras.json")}


def room(
    count: int = 6,
    width: int = WIDTH,
    height: int = HEIGHT,
    box_offset_m: tuple[float, float, float] = (0, 0, 0),
    light: tuple[float, float, float] = (1, 1, 1),
) -> Clip:
    """A camera moving sideways through the room; the first box can be moved and the light tinted."""
    focal = 0.75 * width
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack([(u - width / 2) / focal, (v - height / 2) / focal, np.ones_like(u)], -1)
    rotation = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=float)  # looks along +y, z is up
    clip = Clip(np.empty((count, height, width, 3), np.uint8), np.empty((count, height, width), np.float32), [], [])
    for index in range(count):
        centre = np.array([-0.15 + 0.03 * index, 0.0, 1.4])
        colour, depth = _trace(centre, rays @ rotation, np.array(box_offset_m))
        clip.frames[index] = np.rint(np.clip(colour * np.array(light), 0, 1) * 255)
        clip.depth_m[index] = depth
        view = np.eye(4)
        view[:3, :3], view[:3, 3] = rotation, -rotation @ centre
        clip.viewmats.append(view)
        clip.Ks.append(K)
    clip.viewmats, clip.Ks = np.array(clip.viewmats), np.array(clip.Ks)
    return clip


def _trace(centre: np.ndarray, rays: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour [H, W, 3] and depth [H, W] (the rays have unit length along the optical axis)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.where(rays > 0, (ROOM_HIGH - centre) / rays, (ROOM_LOW - centre) / rays)
    depth, axis = far.min(-1), far.argmin(-1)
    surface, origin = np.zeros(depth.shape, int), np.zeros((*depth.shape, 3))
    for number, box in enumerate(BOXES, start=1):
        shift = offset if number == 1 else np.zeros(3)
        with np.errstate(divide="ignore", invalid="ignore"):
            a, b = ((np.array(box[i : i + 3]) + shift - centre) / rays for i in (0, 3))
        near, leave = np.minimum(a, b), np.maximum(a, b).min(-1)
        enter = near.max(-1)
        hit = (enter < leave) & (enter > 0) & (enter < depth)
        depth, axis = np.where(hit, enter, depth), np.where(hit, near.argmax(-1), axis)
        surface, origin = np.where(hit, number, surface), np.where(hit[..., None], shift, origin)
    point = centre + rays * depth[..., None] - origin  # furniture carries its texture along
    others = np.array([[1, 2], [0, 2], [0, 1]])[axis]
    s, t = np.moveaxis(np.take_along_axis(point, others, -1), -1, 0)
    tiles = (np.floor(s * 2.0) + np.floor(t * 2.0)) % 2
    grain = 0.5 + 0.25 * np.sin(9 * s + 2 * np.sin(7 * t)) + 0.25 * np.sin(11 * t + 2 * np.sin(5 * s))
    albedo = np.array([[0.75, 0.7, 0.62], [0.45, 0.28, 0.2], [0.2, 0.35, 0.5]])[surface]
    shade = np.array([0.8, 0.9, 1.0])[axis]
    return albedo * (shade * (0.62 + 0.16 * tiles + 0.22 * grain))[..., None], depth
