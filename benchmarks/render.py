"""How fast scenes are rendered, and how much memory that takes.

    .venv/bin/python benchmarks/render.py            all sizes; some minutes, most of them for the peer
    .venv/bin/python benchmarks/render.py --quick    one size, without the large scene: under a minute
    .venv/bin/python benchmarks/render.py --beside CHECKOUT --captures FILE ...    against another version

Frames/s of the CPU rasterizer against Gaussians, pixels and threads, on the demo kitchen at several densities (all with
harmonics of degree 3). Beside each figure: the plain PyTorch reference on the same view in the same run, and two floors
of this machine: copying the bytes that a frame touches, and as many calls of `numpy.exp` as pixels were evaluated.
Then the peak memory of a process that renders a large scene, and the whole render stage (start, load, rasterize,
encode, write) against rasterizing alone; on a machine with CUDA the latter is bare `gsplat.rasterization`.
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
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numba import njit
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from blueprint import demo, video
from blueprint.render import Renderer, choose_backend, reference
from blueprint.render.cpu import CpuRenderer
from blueprint.render.kernels import (
    ALONG_X,
    ALONG_Y,
    LANES,
    NEARLY_INVISIBLE,
    PEAK,
    TILE,
    U,
    V,
    W,
    X,
    Y,
    met_blocks,
)
from blueprint.splat import Splat

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow" / "scripts"
FOV_DEG = 75.0
VIEWS = 6
MEMORY_LIMIT_GB = 4.0
STAGE_FRAMES = 240


def kitchen(gaussians: int) -> Splat:
    """The demo kitchen with about so many Gaussians, and weak harmonics up to degree 3."""
    splat = demo.build("kitchen", gaussians=gaussians)
    sh = np.random.default_rng(0).normal(0, 0.02, (len(splat), 16, 3)).astype(np.float32)
    sh[:, : splat.sh.shape[1]] = splat.sh
    return replace(splat, sh=sh)


def intrinsics(width: int, height: int) -> np.ndarray:
    """Pixel intrinsics [3, 3]."""
    focal = 0.5 * width / np.tan(np.radians(FOV_DEG) / 2)
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])


def views(count: int) -> np.ndarray:
    """World-to-camera matrices [F, 4, 4] of a camera at standing height that turns once around."""
    matrices = np.tile(np.eye(4), (count, 1, 1))
    for matrix, angle in zip(matrices, np.linspace(0, 2 * np.pi, count, endpoint=False), strict=True):
        forward = np.array([np.cos(angle), np.sin(angle), -0.25]) / np.hypot(1, 0.25)
        right = np.cross(forward, (0, 0, 1)) / np.linalg.norm(np.cross(forward, (0, 0, 1)))
        matrix[:3, :3] = right, np.cross(forward, right), forward
        matrix[:3, 3] = -matrix[:3, :3] @ (0.2 * np.sin(angle), -0.3 + 0.2 * np.cos(angle), 1.5)
    return matrices


def best_s(work: Callable[[], object], repeats: int) -> float:
    """The shortest of several runs: what the machine can do, other programs permitting."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


class CountingRenderer(CpuRenderer):
    """Counts what a frame touches."""

    def count(self, viewmat: np.ndarray, K: np.ndarray) -> tuple[int, int]:
        """Bytes read and written, and pixels evaluated, for one frame."""
        self.pairs = self.blocks = self.coloured = 0
        self.frame(viewmat, K)
        splat, pixels = self.splat, self.width * self.height
        gaussian, projected = 4 * (3 + 6 + 1 + 1), 4 * (10 + 1 + 2 + 4)
        colours = splat.sh[0].nbytes + 2 * 64
        touched = len(splat) * gaussian + self.coloured * (2 * projected + colours) + self.pairs * (2 * 8 + 2 * 4 + 64)
        return touched + 2 * self._states.nbytes + pixels * 4 * 6, self.blocks * LANES

    def _draw_chunk(self, order: np.ndarray, first: int, eye: np.ndarray) -> int:
        last = super()._draw_chunk(order, first, eye)
        pairs = int(self._starts[-1])
        members = self._lists[:pairs]
        self.pairs += pairs
        self.coloured += len(np.unique(members))
        self.blocks += count_blocks(self._across, self._starts, members, self._coloured)
        return last


@njit
def count_blocks(across, starts, members, coloured):  # noqa: ANN001, ANN201
    """Blocks of tiles that the listed Gaussians meet (those that early termination spares included)."""
    blocks = 0
    for tile in range(len(starts) - 1):
        left, top = np.float32(tile % across * TILE + 0.5), np.float32(tile // across * TILE + 0.5)
        for pair in range(starts[tile], starts[tile + 1]):
            splat = coloured[members[pair]]
            shape = splat[U], splat[V], splat[W], splat[PEAK] - NEARLY_INVISIBLE, splat[ALONG_X], splat[ALONG_Y]
            met = met_blocks(left - splat[X], top - splat[Y], *shape)
            while met:
                blocks += 1
                met &= met - 1
    return blocks


def measure(
    scenes: dict[int, Splat], sizes: list[tuple[int, int]], threads: list[int], repeats: int, console: Console
) -> None:
    """Print frames/s, peer and floors for all scenes, sizes and numbers of threads, and how the cost grows."""
    table = Table(title="CPU rasterizer", title_justify="left")
    for column in ("Gaussians", "pixels", "threads", "frames/s", "ms", "PyTorch ms", "ratio", "copy ms", "exp ms"):
        table.add_column(column, justify="right")
    seconds: dict[tuple[int, int, int], float] = {}
    cameras = views(VIEWS)
    for count, splat in scenes.items():
        for width, height in sizes:
            K = intrinsics(width, height)
            touched, evaluated = np.mean([CountingRenderer(splat, width, height).count(v, K) for v in cameras], axis=0)
            copy, exp = copy_s(int(touched)), exp_s(int(evaluated))
            for thread_count in threads:
                torch.set_num_threads(thread_count)
                plain = partial(reference.rasterize, splat, cameras[0], K, width, height, dtype=torch.float32)
                peer = best_s(plain, 1)
                renderer = CpuRenderer(splat, width, height, threads=thread_count)
                first = best_s(partial(renderer.frame, cameras[0], K), repeats + 1)
                frame = best_s(partial(render_all, renderer, cameras, K), repeats) / VIEWS
                seconds[count, width * height, thread_count] = frame
                table.add_row(
                    *(f"{len(splat):,}", f"{width}x{height}", str(thread_count)),
                    *(f"{1 / frame:.1f}", f"{frame * 1e3:.1f}", f"{peer * 1e3:.0f}", f"{peer / first:.0f}x"),
                    *(f"{copy * 1e3:.1f}", f"{exp * 1e3 / thread_count:.1f}"),
                )
    console.print(table)
    console.print(
        "ratio: PyTorch over ours, same view, same number of threads. exp: shared by the threads. copy: one thread."
    )
    for label, axis in (("Gaussians", 0), ("pixels", 1)):
        for fixed in sorted({(key[1 - axis], key[2]) for key in seconds}):
            points = sorted((key[axis], s) for key, s in seconds.items() if (key[1 - axis], key[2]) == fixed)
            if len(points) > 1:
                slope = np.polyfit(*np.log(np.array(points)).T, 1)[0]
                at = f"{fixed[0]:,} {'pixels' if axis == 0 else 'Gaussians'}, {fixed[1]} thread(s)"
                console.print(f"cost grows as {label}^{slope:.2f} at {at} (1 is linear)")


def render_all(renderer: Renderer, cameras: np.ndarray, K: np.ndarray) -> None:
    """Render all views and drop them."""
    for _ in renderer.frames(cameras, [K] * len(cameras)):
        pass


def copy_s(size: int) -> float:
    """Seconds to copy memory such that ``size`` bytes are read or written in all."""
    source = np.ones(size // 8, np.float32)
    target = np.empty_like(source)
    return best_s(lambda: np.copyto(target, source), 5)


def exp_s(count: int) -> float:
    """Seconds of one thread for ``count`` float32 exponentials, in blocks that stay in the cache."""
    block = np.linspace(-8, 0, 4096, dtype=np.float32)
    result = np.empty_like(block)
    return best_s(lambda: np.exp(block, out=result), 200) * count / len(block)


BESIDE = """
import sys, time
checkout, scene, gaussians = sys.argv[1:]
sys.path[:0] = [f"{checkout}/benchmarks", f"{checkout}/workflow/scripts"]
from pathlib import Path
import numpy as np
import render as benchmark
from blueprint.render.cpu import CpuRenderer
from blueprint.splat import load
if scene == "kitchen":
    splat, cameras = benchmark.kitchen(int(gaussians)), benchmark.views(6)
else:
    splat = load(Path(scene))
    low, middle, high = np.percentile(splat.means, [2, 50, 98], axis=0)
    cameras = np.tile(np.eye(4), (6, 1, 1))
    for camera, angle in zip(cameras, range(6)):
        offset = 0.7 * (high - low).max() * np.array([np.sin(angle), 0.2 * np.cos(3 * angle), np.cos(angle)])
        forward = -offset / np.linalg.norm(offset)
        right = np.cross(forward, (0, -1, 0)) / np.linalg.norm(np.cross(forward, (0, -1, 0)))
        camera[:3, :3] = right, np.cross(forward, right), forward
        camera[:3, 3] = -camera[:3, :3] @ (middle + offset)
renderer, K = CpuRenderer(splat, 640, 480, threads=1), benchmark.intrinsics(640, 480)
best = 1e9
for _ in range(8):
    start = time.thread_time()
    for camera in cameras:
        renderer.frame(camera, K)
    best = min(best, time.thread_time() - start)
print(best / len(cameras) * 1e3)
"""


def print_beside(checkout: str, captures: list[str], gaussians: int, console: Console) -> None:
    """CPU time per frame at 640x480 on one thread beside that of another checkout, in turns, the best of each."""
    here = str(Path(__file__).resolve().parents[1])
    table = Table(title=f"CPU ms per frame, one thread, beside {checkout}", title_justify="left")
    for column in ("scene", "there", "here", "there/here"):
        table.add_column(column, justify="right")
    for scene in ["kitchen", *captures]:
        found = {here: 1e9, checkout: 1e9}
        for _ in range(2):
            for root in found:
                command = [sys.executable, "-c", BESIDE, root, scene, str(gaussians)]
                found[root] = min(found[root], float(subprocess.check_output(command)))
        name = f"{gaussians:,} kitchen" if scene == "kitchen" else Path(scene).name
        ratio = found[checkout] / found[here]
        table.add_row(name, f"{found[checkout]:.1f}", f"{found[here]:.1f}", f"{ratio:.2f}x")
    console.print(table)


def print_memory(gaussians: int, console: Console) -> None:
    """Peak memory of a process that renders a scene of so many Gaussians, made there at little cost."""
    command = [sys.executable, __file__, "--render-large", str(gaussians)]
    found = json.loads(subprocess.check_output(command))
    console.print(
        f"memory: {gaussians:,} Gaussians of degree 3 at 1280x720: peak {found['peak_gb']:.2f} GB "
        f"(limit {MEMORY_LIMIT_GB}), {found['scene_gb']:.2f} GB of it the scene; {found['frame_s'] * 1e3:.0f} ms/frame"
    )


def render_large(gaussians: int) -> None:
    """Child process of `print_memory`: a box of random Gaussians seen from within."""
    rng = np.random.default_rng(0)
    means = rng.random((gaussians, 3), np.float32) * 6 - 3
    means[np.arange(gaussians), rng.integers(0, 3, gaussians)] = rng.choice(np.float32([-3, 3]), gaussians)
    splat = Splat(
        means=means,
        scales=rng.random((gaussians, 3), np.float32) * 0.01 + 0.001,
        quats=rng.random((gaussians, 4), np.float32) + 0.1,
        opacities=rng.random(gaussians, np.float32),
        sh=rng.random((gaussians, 16, 3), np.float32) * 0.1,
    )
    renderer = CpuRenderer(splat, 1280, 720, threads=os.cpu_count() or 1)
    K = intrinsics(1280, 720)
    seconds = best_s(lambda: renderer.frame(views(VIEWS)[0], K), 3)
    scene = sum(array.nbytes for array in vars(splat).values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"peak_gb": peak / 1e9, "scene_gb": scene / 1e9, "frame_s": seconds}))


def measure_stage(splat: Splat, size: tuple[int, int], frames: int, console: Console) -> None:
    """Print frames/s of the whole render stage beside rasterizing and encoding alone, with the best backend here."""
    backend = choose_backend("auto")
    threads = os.cpu_count() or 1
    cameras, K = views(frames), intrinsics(*size)
    if backend.name == "gsplat":
        bare, what = bare_gsplat_s(splat, cameras, K, size), "bare gsplat.rasterization"
    else:
        console.print("skipped: whole stage against bare gsplat.rasterization (no CUDA device); on the CPU instead:")
        renderer = backend(splat, *size, threads=threads)
        renderer.frame(cameras[0], K)
        bare, what = best_s(partial(render_all, renderer, cameras, K), 1), "bare CPU rasterizer"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demo.write(splat, folder / "scene.ply")
        path = {"convention": "opencv", "width": size[0], "height": size[1], "fps": 24, "path": "turn", "spec": {}}
        path |= {"up_axis": "z", "floor_height_m": 0.0}
        path["frames"] = [{"viewmat": view.tolist(), "K": K.tolist()} for view in cameras]
        (folder / "cameras.json").write_text(json.dumps(path))
        spec = {"sh_degree": 3, "background": [0, 0, 0], "near_m": 0.05, "far_m": 100}
        options = {"scene": "scene.ply", "cameras": "cameras.json", "spec": json.dumps(spec), "threads": str(threads)}
        options |= {"backend": backend.name, "rgb": "rgb.mp4", "depth": "depth.mp4", "depth-m": "depth.npz"}
        command = [sys.executable, str(SCRIPTS / "render.py"), *(f"--{key}={value}" for key, value in options.items())]
        stage = best_s(lambda: subprocess.run(command, check=True, cwd=folder, stderr=subprocess.DEVNULL), 1)
        images = list(video.read_video(folder / "rgb.mp4"))
        encode = best_s(lambda: video.write_video(folder / "again.mp4", iter(images), 24), 1)
    console.print(
        f"stage: {frames} frames of {size[0]}x{size[1]}, {len(splat):,} Gaussians: {frames / stage:.1f} frames/s with "
        f"start, load, encode and write; {what} {frames / bare:.1f} frames/s (stage/bare {bare / stage:.0%}); "
        f"encoding one of the two videos alone {frames / encode:.1f} frames/s"
    )


def bare_gsplat_s(splat: Splat, cameras: np.ndarray, K: np.ndarray, size: tuple[int, int]) -> float:
    """Seconds for gsplat alone to rasterize all views, one call each, results left on the GPU."""
    from gsplat import rasterization

    fields = (splat.means, splat.quats, splat.scales, splat.opacities, splat.sh)
    tensors = [torch.from_numpy(array).cuda() for array in fields]
    viewmats = torch.from_numpy(cameras).float().cuda()
    Ks = torch.from_numpy(K).float().cuda()[None]

    def render() -> None:
        with torch.no_grad():
            for view in viewmats:
                rasterization(*tensors, view[None], Ks, *size, sh_degree=3, render_mode="RGB+ED", packed=False)
        torch.cuda.synchronize()

    render()
    return best_s(render, 3)


def size_argument(text: str) -> tuple[int, int]:
    """``640x480`` as a pair."""
    width, height = text.split("x")
    return int(width), int(height)


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gaussians", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument(
        "--sizes", type=size_argument, nargs="+", default=[(320, 240), (640, 480), (1280, 720)], metavar="WxH"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5, help="the best of so many runs counts (default %(default)s)")
    parser.add_argument("--memory-gaussians", type=int, default=3_000_000, help="scene of the memory test; 0 skips it")
    parser.add_argument("--stage-frames", type=int, default=STAGE_FRAMES, help="frames of the stage test; 0 skips it")
    parser.add_argument("--quick", action="store_true", help="300,000 Gaussians at 640x480 only, few repeats")
    parser.add_argument("--beside", metavar="CHECKOUT", help="only compare with the rasterizer of another checkout")
    parser.add_argument("--captures", nargs="*", default=[], help="scene files to compare on, besides the kitchen")
    parser.add_argument("--render-large", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.render_large:
        return render_large(arguments.render_large)
    if arguments.quick:
        arguments.gaussians, arguments.sizes, arguments.repeats = [300_000], [(640, 480)], 3
        arguments.memory_gaussians, arguments.stage_frames = 0, min(arguments.stage_frames, 48)
    console = Console(width=120)
    if arguments.beside:
        return print_beside(arguments.beside, arguments.captures, 300_000, console)
    console.print(f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.system()}")
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "llvmlite", "torch"))
    console.print(f"versions: Python {platform.python_version()}, {packages}")
    console.print("peer: plain PyTorch reference (float32, blueprint.render.reference)")
    scenes = {count: kitchen(count) for count in arguments.gaussians}
    measure(scenes, arguments.sizes, arguments.threads, arguments.repeats, console)
    if arguments.memory_gaussians:
        print_memory(arguments.memory_gaussians, console)
    if arguments.stage_frames:
        nearest = min(scenes, key=lambda count: abs(count - 300_000))
        measure_stage(scenes[nearest], (640, 480), arguments.stage_frames, console)


if __name__ == "__main__":
    main()
