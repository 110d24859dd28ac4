"""Whether the coverage of a scan is told right, and what holding it against its photos takes.

    python benchmarks/fidelity.py coverage
    python benchmarks/fidelity.py photos [--photos 300] [--size 1280x720] [--gaussians 1000000] [--backend cpu]

Coverage: the demo kitchen is photographed towards one side only. What a camera sees of it in any direction is compared,
pixel by pixel, with the truth: whether three photos had the point in their picture with nothing before it, by depth
maps of a denser build of the room at three times the resolution. Photos: time and memory of the stage's own program for
a dense kitchen and photos of another build of it, with noise and with cameras that are a pixel or so off; beside it, a
plain loop that renders with the PyTorch reference and compares with piq, over one photo.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import psutil
import torch
from scipy.spatial.transform import Rotation

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "workflow" / "scripts"), str(REPOSITORY / "tests")]

import kitchen_photos  # noqa: E402
from blueprint import demo, poses  # noqa: E402
from blueprint.axes import OPENCV_FROM_OPENGL, direction, intrinsics, level_from_world, opencv_viewmats  # noqa: E402
from blueprint.cameras.space import survey_space  # noqa: E402
from blueprint.fidelity.gaussians import coherence  # noqa: E402
from blueprint.fidelity.job import see_from_photos  # noqa: E402
from blueprint.fidelity.keys import Fidelity  # noqa: E402
from blueprint.fidelity.photos import Shot, shots_of  # noqa: E402
from blueprint.fidelity.scan import LEAST_PHOTOS, Scan  # noqa: E402
from blueprint.render import Renderer, choose_backend, reference  # noqa: E402
from blueprint.render.cpu import CpuRenderer  # noqa: E402
from blueprint.splat import Splat  # noqa: E402
from piq_reference import piq  # noqa: E402

FINER = 3
CLIP_FRAMES = 24
TOWARDS = (0, 45, 315)
LEVEL = level_from_world("z", 0)


def coverage() -> None:
    """Precision and recall of the pixels marked as seen by too few photos."""
    splat, room = kitchen_photos.build()
    options = {"sh_degree": 3, "threads": 2}
    scan = Scan(CpuRenderer, splat, options, LEVEL, survey_space(splat, LEVEL), True, coherence(splat))
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


def finer_depth(room: Splat, shot: Shot) -> np.ndarray:
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
    """Time and memory of the stage's program for a scan with photos, and of a plain loop over one of them."""
    made = time.monotonic()
    scan, room = (demo.build("kitchen", gaussians=gaussians, seed=seed) for seed in (0, 7))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demo.write(scan, folder / "scene.ply")
        photograph(room, folder, count, size, choose_backend(backend))
        print(
            f"{count} photos of {size[0]}x{size[1]}, {len(scan):,} Gaussians: made in {time.monotonic() - made:.0f} s"
        )
        took, cpu, peak_gb = run_stage(folder, backend)
        found = json.loads((folder / "fidelity.json").read_text())
        compared = found["photos"]["compared"]
        shown = ", ".join(f"{figure['title']}: {figure['shown']}" for figure in found["scan"]["figures"][:4])
        print(f"fidelity.py ({found['run']['rasterizer']}): {len(compared)} compared; {shown}")
        print(f"{took:.0f} s, CPU {cpu:.0f} s, load {loads()}; peak of all its processes {peak_gb:.2f} GB")
        print(f"per photo: {took / count:.2f} s, CPU {cpu / count:.2f} s")
        shot = shots_of({"path": name})[0]
        seconds, plain = plain_comparison(scan, shot)
        ours = compared[shot.name]
    print(f"a plain loop (reference rasterizer in PyTorch, piq): {seconds:.1f} s per photo without moving its camera")
    print("difference of " + ", ".join(f"{score}: {abs(value - ours[score]):.1e}" for score, value in plain.items()))


def photograph(room: Splat, folder: Path, count: int, size: tuple[int, int], make_renderer: type[Renderer]) -> None:
    """Write photos with noise and changing exposure, a dataset whose cameras are off by a pixel or so, and a clip."""
    K, random = intrinsics(*size, fov_x_deg=75), np.random.default_rng(0)
    eyes = np.array(kitchen_photos.EYES_M)[np.arange(count) % len(kitchen_photos.EYES_M)]
    forwards = direction(random.uniform(0, 2 * np.pi, count), random.uniform(0.1, 0.3, count))
    viewmats = opencv_viewmats(eyes + random.normal(0, 0.05, eyes.shape), forwards)
    entries = []
    renderer = make_renderer(room, *size, threads=os.cpu_count() or 1)
    for number, (viewmat, frame) in enumerate(zip(viewmats, renderer.frames(viewmats, [K] * count), strict=True)):
        photo = frame.rgb[..., ::-1] * random.uniform(0.8, 1.1) + random.normal(0, 0.01, frame.rgb.shape)
        cv2.imwrite(str(folder / f"{number:04}.jpg"), np.rint(np.clip(photo, 0, 1) * 255).astype(np.uint8))
        off = np.eye(4)
        off[:3, :3] = Rotation.from_rotvec(random.normal(0, 1 / K[0, 0], 3)).as_matrix()
        pose = np.linalg.inv(off @ viewmat) @ OPENCV_FROM_OPENGL
        entries.append({"file_path": f"{number:04}.jpg", "transform_matrix": pose.tolist()})
    camera = {"fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2], "cy": K[1, 2], "w": size[0], "h": size[1]}
    held_out = [entry["file_path"] for entry in entries[::8]]
    text = json.dumps({"camera_model": "OPENCV", **camera, "test_filenames": held_out, "frames": entries})
    (folder / "transforms.json").write_text(text)
    (folder / "clip").mkdir()
    along = viewmats[:: max(1, count // CLIP_FRAMES)][:CLIP_FRAMES]
    path = poses.Cameras(along, np.tile(K, (len(along), 1, 1)), *size, 24, "z", 0.0, "turn", {}, {})
    poses.write(folder / "clip" / "cameras.json", path)


def run_stage(folder: Path, backend: str) -> tuple[float, float, float]:
    """Run the stage's program as its rule does; seconds, CPU seconds, and the peak in GB of it and all it starts."""
    entry = {"path": str(folder), "every": 1, "refine_px": 4.0}
    spec = {"facility": "kitchen", "up_axis": "z", "floor_height_m": 0.0, "render": kitchen_photos.RENDER}
    spec |= {**Fidelity().model_dump(exclude_none=True, include={"places", "thresholds"}), "photos": entry}
    command = [sys.executable, str(REPOSITORY / "workflow" / "scripts" / "fidelity.py"), "--spec", json.dumps(spec)]
    command += ["--scene", str(folder / "scene.ply"), "--cameras", str(folder / "clip" / "cameras.json")]
    command += ["--backend", backend, "--threads", "2", "--folder", str(folder / "fidelity")]
    before, start, peak = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), 0
    with subprocess.Popen([*command, "--output", str(folder / "fidelity.json")], stderr=subprocess.DEVNULL) as program:
        while program.poll() is None:
            peak = max(peak, memory_of(program.pid))
            time.sleep(0.1)
    took, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if program.returncode:
        raise SystemExit(f"fidelity.py failed ({program.returncode})")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took, cpu, max(peak, after.ru_maxrss * 1024) / 1e9


def memory_of(pid: int) -> int:
    """Bytes of memory that a process and all that it started hold."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for part in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += part.memory_info().rss
    return total


def plain_comparison(scan: Splat, shot: Shot) -> tuple[float, dict[str, float]]:
    """Seconds and scores of one photo, compared as one would write it down."""
    photo, _ = shot.pictures(None)
    start = time.monotonic()
    size = photo.shape[1], photo.shape[0]
    render = reference.rasterize(scan, shot.photo.viewmat, shot.K(size), *size, dtype=torch.float32).rgb
    x, y = (torch.from_numpy(picture).permute(2, 0, 1)[None] for picture in (photo, render))
    scores = {"psnr": piq.psnr(x, y).item(), "ssim": piq.ssim(x, y, downsample=False).item()}
    return time.monotonic() - start, scores


def loads() -> str:
    """Processes that wanted to run, over the last 1, 5 and 15 minutes."""
    return "/".join(f"{load:.1f}" for load in os.getloadavg())


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["coverage", "photos"])
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--gaussians", type=int, default=1_000_000)
    parser.add_argument("--backend", default="cpu", choices=["cpu", "gsplat", "auto"])
    arguments = parser.parse_args()
    versions = f"numpy {np.__version__}, opencv {cv2.__version__}, torch {torch.__version__}, piq {piq.__version__}"
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {loads()}, {versions}")
    if arguments.what == "coverage":
        coverage()
    else:
        width, height = map(int, arguments.size.split("x"))
        photos(arguments.photos, (width, height), arguments.gaussians, arguments.backend)


if __name__ == "__main__":
    main()
