"""Whether the coverage of a scan is told right, and what holding it against its photos takes.

    python benchmarks/fidelity.py coverage
    python benchmarks/fidelity.py photos [--photos 300] [--size 1280x720] [--gaussians 1000000] [--backend cpu]

Coverage: the demo kitchen is photographed towards one side only. What a camera sees of it in any direction is compared,
pixel by pixel, with the truth: whether three photos had the point in their picture with nothing before it, by depth
maps of a denser build of the room at three times the resolution. Photos: time and memory per photo, compared with the
render at its camera, and with that camera moved to where it matches best.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "workflow" / "scripts"), str(REPOSITORY / "tests")]

import kitchen_photos  # noqa: E402
from blueprint import demo  # noqa: E402
from blueprint.axes import direction, intrinsics, level_from_world, opencv_viewmats  # noqa: E402
from blueprint.cameras.photo import Photo  # noqa: E402
from blueprint.cameras.space import survey_space  # noqa: E402
from blueprint.fidelity.gaussians import coherence  # noqa: E402
from blueprint.fidelity.job import see_from_photos  # noqa: E402
from blueprint.fidelity.photo_scores import compare_photos  # noqa: E402
from blueprint.fidelity.photos import Shot, shots_of  # noqa: E402
from blueprint.fidelity.scan import LEAST_PHOTOS, Scan  # noqa: E402
from blueprint.render import choose_backend  # noqa: E402
from blueprint.render.cpu import CpuRenderer  # noqa: E402

FINER = 3
TOWARDS = (0, 45, 315)
LEVEL = level_from_world("z", 0)


def scan_of(splat, make_renderer, threads: int) -> Scan:  # noqa: ANN001
    """A scene as the stage looks at it."""
    options = {"sh_degree": 3, "threads": threads}
    return Scan(make_renderer, splat, options, LEVEL, survey_space(splat, LEVEL), True, coherence(splat))


def coverage() -> None:
    """Precision and recall of the pixels marked as seen by too few photos."""
    splat, room = kitchen_photos.build()
    scan = scan_of(splat, CpuRenderer, 2)
    with tempfile.TemporaryDirectory() as folder:
        damage = replace(kitchen_photos.DAMAGES[0], headings_deg=TOWARDS)
        shots = shots_of({"path": str(kitchen_photos.photograph(room, Path(folder), damage))})
    see_from_photos(scan, shots)
    eyes = np.repeat([(-1.7, -1.3, 1.5), (1.4, -1.2, 1.5), (-0.4, -1.2, 1.5)], 6, axis=0)
    forwards = direction(np.tile(np.arange(6) * np.pi / 3, 3), np.full(18, np.radians(10)))
    viewmats, K = opencv_viewmats(eyes, forwards), intrinsics(96, 72, fov_x_deg=75)
    depths = [finer_depth(room, shot) for shot in shots]
    truths = CpuRenderer(room, 96, 72, threads=2)
    counts = np.zeros((2, 2), int)  # [truth, marked]
    for viewmat, view in zip(viewmats, scan.trust((96, 72)).views(viewmats, np.tile(K, (18, 1, 1))), strict=True):
        depth_m = truths.frame(viewmat, K).median_m
        rows, columns = np.indices(depth_m.shape)
        rays = np.stack([(columns + 0.5 - K[0, 2]) / K[0, 0], (rows + 0.5 - K[1, 2]) / K[1, 1], np.ones_like(rows)], -1)
        points = (rays * depth_m[..., None] - viewmat[:3, 3]) @ viewmat[:3, :3]
        photographed = sum(shows(shot, depth, points) for shot, depth in zip(shots, depths, strict=True))
        np.add.at(counts, ((photographed < LEAST_PHOTOS).astype(int), view.causes["unseen"].astype(int)), 1)
    (_, false), (missed, right) = counts
    share = (missed + right) / counts.sum()
    print(f"{len(shots)} photos of one side, {counts.sum()} pixels of 18 views, {share:.0%} of them unseen")
    print(f"precision {right / (right + false):.3f}, recall {right / (right + missed):.3f}")


def finer_depth(room, shot: Shot) -> np.ndarray:  # noqa: ANN001
    """Depth of what a photo shows, in the denser room."""
    size = shot.photo.width * FINER, shot.photo.height * FINER
    return CpuRenderer(room, *size, threads=2).frame(shot.photo.viewmat, shot.K(size)).median_m


def shows(shot: Shot, depth_m: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether a photo shows points [..., 3], of which it has a depth map."""
    height, width = depth_m.shape
    seen = points @ shot.photo.viewmat[:3, :3].T + shot.photo.viewmat[:3, 3]
    pixels = seen @ shot.K((width, height)).T
    with np.errstate(divide="ignore", invalid="ignore"):
        column, row = np.floor(pixels[..., 0] / seen[..., 2]), np.floor(pixels[..., 1] / seen[..., 2])
    inside = (seen[..., 2] > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    surface = depth_m[np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int)]
    return inside & (seen[..., 2] < 1.03 * surface + 0.02)


def photos(count: int, size: tuple[int, int], gaussians: int, backend: str) -> None:
    """Time and memory of comparing photos."""
    splat = demo.build("kitchen", gaussians=gaussians)
    make_renderer = choose_backend(backend)
    K = intrinsics(*size, fov_x_deg=75)
    random = np.random.default_rng(0)
    headings = random.uniform(0, 2 * np.pi, count)
    viewmats = opencv_viewmats(np.tile((-0.4, -1.3, 1.5), (count, 1)), direction(headings, np.full(count, 0.2)))
    with tempfile.TemporaryDirectory() as folder:
        shots = []
        for number, (viewmat, frame) in enumerate(
            zip(viewmats, make_renderer(splat, *size, threads=2).frames(viewmats, [K] * count), strict=True)
        ):
            image = Path(folder) / f"{number}.jpg"
            cv2.imwrite(str(image), np.rint(frame.rgb[..., ::-1] * 230 + random.uniform(0, 20)).astype(np.uint8))
            shots.append(Shot(Photo(image.name, image, None, viewmat, K, *size, None, None), number % 8 == 0))
        start, cpu = time.monotonic(), time.process_time()
        scan = scan_of(splat, make_renderer, 2)
        see_from_photos(scan, shots)
        prepared = time.monotonic() - start, time.process_time() - cpu
        compare_photos(scan, shots, {"refine_px": 4.0}, [], Path(folder) / "out")
        took, cpu = time.monotonic() - start, time.process_time() - cpu
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{count} photos of {size[0]}x{size[1]}, {len(splat)} Gaussians, {make_renderer.name}: {took:.0f} s")
    print(f"CPU time {cpu:.0f} s, {prepared[1]:.0f} s of it to find what photos saw; peak {peak_gb:.2f} GB")
    print(f"per photo: {(took - prepared[0]) / count:.2f} s, CPU {(cpu - prepared[1]) / count:.2f} s")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["coverage", "photos"])
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--gaussians", type=int, default=1_000_000)
    parser.add_argument("--backend", default="cpu", choices=["cpu", "gsplat", "auto"])
    arguments = parser.parse_args()
    busy = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    print(f"{platform.node()}: {os.cpu_count()} cores, load {busy}, numpy {np.__version__}, opencv {cv2.__version__}")
    if arguments.what == "coverage":
        coverage()
    else:
        width, height = map(int, arguments.size.split("x"))
        photos(arguments.photos, (width, height), arguments.gaussians, arguments.backend)


if __name__ == "__main__":
    main()
