"""Which depth is nearer to the truth: the expected one or the median one?

    .venv/bin/python benchmarks/depth.py        half a minute

A room with a table, a cupboard and a thin post, as a capture holds it: overlapping Gaussians that lie some way off the
surfaces, partly transparent, and a haze of floaters. The true depth of every pixel is that of the ray's first surface.
The control column is the error of the control video, in its 255 grey levels, linear in inverse depth.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from blueprint.axes import intrinsics, opencv_viewmats
from blueprint.render.cpu import CpuRenderer
from blueprint.splat import Splat

ROOM_M = ((-2.5, -2.0, 0.0), (2.5, 2.0, 2.6))
BOXES_M = (
    ((-0.6, -0.4, 0.0), (0.6, 0.4, 0.75)),
    ((1.7, 1.0, 0.0), (2.5, 2.0, 2.1)),
    ((-1.2, 0.8, 0.0), (-1.16, 0.84, 2.0)),
)
WIDTH, HEIGHT, VIEWS = 320, 240, 8
OFF_M = 0.05
EDGE_PX = 3


def scene(off_m: float, opacity: float, haze: float, seed: int = 0) -> Splat:
    """Gaussians about every 3 cm, ``off_m`` from the surfaces, of ``opacity`` or more; ``haze`` floaters to each."""
    rng = np.random.default_rng(seed)
    points, normals = [], []
    for low, high in np.array([ROOM_M, *BOXES_M]):
        for axis in range(3):
            area = np.prod(np.delete(high - low, axis))
            for side in (low, high):
                face = rng.uniform(low, high, (int(area / 0.03**2) + 1, 3))
                face[:, axis] = side[axis] + rng.normal(0, off_m, len(face))
                points.append(face)
                normals.append(np.full(len(face), axis))
    solid, axes = np.concatenate(points), np.concatenate(normals)
    floating = rng.uniform(*ROOM_M, (int(haze * len(solid)), 3))
    scales = np.full((len(solid) + len(floating), 3), 0.025)
    scales[np.arange(len(solid)), axes] = 0.005
    opacities = np.concatenate([rng.uniform(opacity, 1, len(solid)), rng.uniform(0.02, 0.2, len(floating))])
    quats = np.tile([1.0, 0, 0, 0], (len(scales), 1))
    sh = np.zeros((len(scales), 1, 3))
    means = np.concatenate([solid, floating])
    return Splat(*(np.ascontiguousarray(array, np.float32) for array in (means, scales, quats, opacities, sh)))


def true_depth(viewmat: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Depth [H, W] of the first surface along each pixel's ray, metres along the optical axis."""
    u, v = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], -1) @ viewmat[:3, :3]
    eye = -viewmat[:3, :3].T @ viewmat[:3, 3]
    low, high = np.array(ROOM_M)
    depth = np.where(rays > 0, (high - eye) / rays, (low - eye) / rays).min(-1)
    for low, high in np.array(BOXES_M):
        near, far = np.sort(np.stack([(low - eye) / rays, (high - eye) / rays]), axis=0)
        enter, leave = near.max(-1), far.min(-1)
        depth = np.where((enter < leave) & (enter > 0), np.minimum(depth, enter), depth)
    return depth


def errors(found: np.ndarray, truth: np.ndarray, shown: np.ndarray) -> list[float]:
    """Median error in mm, shares in per cent off by more than 5 cm (all, at edges), control error in grey levels."""
    off = np.abs(found - truth)
    inverse = 1 / truth
    low, high = np.percentile(inverse, [0.5, 99.5])
    grey = np.abs(np.clip((1 / np.maximum(found, 0.01) - low) / (high - low), 0, 1) - (inverse - low) / (high - low))
    jump = cv2.morphologyEx(np.float32(truth), cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0.1 * truth
    edges = cv2.dilate(np.uint8(jump), np.ones((2 * EDGE_PX + 1, 2 * EDGE_PX + 1))).astype(bool) & shown
    return [
        1e3 * float(np.median(off[shown])),
        100 * float((off > OFF_M)[shown].mean()),
        100 * float((off > OFF_M)[edges].mean()),
        255 * float(grey[shown].mean()),
    ]


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    angles = np.linspace(0, 2 * np.pi, VIEWS, endpoint=False)
    eyes = np.stack([1.6 * np.cos(angles), 1.3 * np.sin(angles), np.full(VIEWS, 1.5)], -1)
    forwards = np.array([0.2, 0.1, 0.8]) - eyes
    viewmats = opencv_viewmats(eyes, forwards / np.linalg.norm(forwards, axis=1, keepdims=True))
    K = intrinsics(WIDTH, HEIGHT, fov_x_deg=75)
    table = Table(title=f"{VIEWS} views of {WIDTH}x{HEIGHT}", title_justify="left")
    for column in ("scene", "depth", "median error mm", "> 5 cm off %", "at edges %", "control, grey levels"):
        table.add_column(column, justify="right")
    for name, options in {
        "clean": {"off_m": 0.002, "opacity": 0.9, "haze": 0.0},
        "fair": {"off_m": 0.01, "opacity": 0.4, "haze": 0.02},
        "poor": {"off_m": 0.02, "opacity": 0.2, "haze": 0.1},
    }.items():
        renderer = CpuRenderer(scene(**options), WIDTH, HEIGHT, threads=2)
        rows: dict[str, list[list[float]]] = {"expected": [], "median": []}
        for viewmat in viewmats:
            frame, truth = renderer.frame(viewmat, K), true_depth(viewmat, K)
            for kind, found in (("expected", frame.depth_m), ("median", frame.median_m)):
                rows[kind].append(errors(found, truth, frame.alpha >= 0.5))
        for kind, values in rows.items():
            table.add_row(name, kind, *(f"{value:.2f}" for value in np.mean(values, axis=0)))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
