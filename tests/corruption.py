"""A rendered clip in memory, and how a way in which its variant can be wrong is registered (see `corruptions`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from blueprint import depth, poses, video
from blueprint.axes import moved_back

NEVER = float("inf")


@dataclass(frozen=True)
class Scene:
    """A rendered clip in memory."""

    frames: np.ndarray  # [F, H, W, 3] uint8 RGB
    depth_m: np.ndarray  # [F, H, W] float32
    alpha: np.ndarray  # [F, H, W] float32
    viewmats: np.ndarray  # [F, 4, 4] world to camera
    Ks: np.ndarray  # [F, 3, 3]
    fps: int

    @classmethod
    def read(cls, folder: Path) -> Scene:
        """The clip whose files lie in a folder."""
        cameras = poses.read(folder / "cameras.json")
        depths, alphas = zip(*depth.iterate_depth(folder / "depth.npz"), strict=True)
        frames = np.stack(list(video.read_video(folder / "rgb.mp4")))
        fps = round(video.probe(folder / "rgb.mp4").fps)
        return cls(frames, np.stack(depths), np.stack(alphas), cameras.viewmats, cameras.Ks, fps)

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.frames.shape[1:3]

    @property
    def unit(self) -> float:
        """Pixels of this clip per pixel of one 640 wide."""
        return self.size[1] / 640

    @property
    def px_per_deg(self) -> float:
        """Pixels per degree of view in the middle."""
        return float(self.Ks[0, 0, 0]) * np.pi / 180

    @cached_property
    def grid(self) -> np.ndarray:
        """Pixel indices [H, W, 2] float32."""
        height, width = self.size
        return np.dstack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)))

    @cached_property
    def points(self) -> np.ndarray:
        """World positions [F, H, W, 3] float32."""
        found = []
        for depth_m, viewmat, K in zip(self.depth_m, self.viewmats, self.Ks, strict=True):
            x, y = (self.grid[..., 0] + 0.5 - K[0, 2]) / K[0, 0], (self.grid[..., 1] + 0.5 - K[1, 2]) / K[1, 1]
            found.append(moved_back(np.dstack([x, y, np.ones_like(x)]) * depth_m[..., None], viewmat))
        return np.stack(found).astype(np.float32)

    def project(self, point: np.ndarray, index: int) -> np.ndarray:
        """Pixel indices x, y and depth of a point of the world."""
        seen = self.viewmats[index] @ [*point, 1]
        x, y, z = self.Ks[index] @ seen[:3]
        return np.array([x / z - 0.5, y / z - 0.5, z])

    @cached_property
    def thing(self) -> tuple[np.ndarray, float]:
        """Centre [3] and radius of a ball of the world: a thing before its background, in view all along."""
        middle = self.count // 2
        depth_m, (height, width) = self.depth_m[middle], self.size
        far = np.where(depth_m > 0, depth_m, 50).astype(np.float32)
        jump = cv2.dilate(far, np.ones((5, 5))) / cv2.erode(far, np.ones((5, 5))) > 1.08
        cell = max(4, width // 16)
        busy = cv2.blur(jump.astype(np.float32), (2 * cell, 2 * cell))
        solid = cv2.erode((self.alpha[middle] > 0.95).astype(np.uint8), np.ones((5, 5))) > 0
        margin = np.zeros_like(solid)
        margin[height // 4 : -height // 4, width // 4 : -width // 4] = True
        near = solid & margin & (cv2.erode(far, np.ones((5, 5))) > 0.98 * far)
        y, x = np.unravel_index(np.argmax(np.where(near, busy - 1e-3 * far, -9)), near.shape)
        radius = 0.09 * width / self.Ks[middle, 0, 0] * depth_m[y, x]
        return self.points[middle, y, x], float(radius)

    def thing_mask(self, index: int) -> np.ndarray:
        """Where the thing is seen [H, W] uint8 0 or 255."""
        centre, radius = self.thing
        inside = np.linalg.norm(self.points[index] - centre, axis=-1) < radius
        inside &= self.alpha[index] > 0.5
        return cv2.morphologyEx(inside.astype(np.uint8) * 255, cv2.MORPH_OPEN, np.ones((3, 3)))


@dataclass(frozen=True)
class Corruption:
    """One way of being wrong, or right."""

    name: str
    unit: str
    strengths: tuple[float, ...]
    wrong_from: float
    make: Callable[[Scene, np.ndarray, float], np.ndarray]


def codes(frames: np.ndarray) -> np.ndarray:
    """Rounded to uint8."""
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


REGISTERED: list[Corruption] = []


def corruption(unit: str, strengths: tuple[float, ...], wrong_from: float) -> Callable[..., Callable]:
    """Register a function of scene, frames of a right variant [F, H, W, 3] uint8 and strength."""

    def register(make: Callable[[Scene, np.ndarray, float], np.ndarray]) -> Callable:
        name = make.__name__.replace("_", " ")
        REGISTERED.append(Corruption(name, unit, strengths, wrong_from, make))
        return make

    return register


def moved(frame: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The frame looked up at pixel indices [H, W, 2]."""
    return cv2.remap(frame, where.astype(np.float32), None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def around_middle(scene: Scene, frames: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Frames under a linear map [2, 2] about their middle."""
    middle = np.array(scene.size[::-1]) / 2 - 0.5
    where = (scene.grid - middle) @ np.linalg.inv(matrix).T + middle
    return np.stack([moved(frame, where) for frame in frames])


def retimed(scene: Scene, frames: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The frames at other indices."""
    return frames[np.clip(np.rint(times), 0, scene.count - 1).astype(int)]
