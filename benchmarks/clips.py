"""What the files of a rendered clip cost and keep: fidelity, size and processor time of colour and depth.

    .venv/bin/snakemake resources/demo/kitchen.ply
    .venv/bin/python benchmarks/clips.py
    .venv/bin/python benchmarks/clips.py --scene ../shared/data/guitar.compressed.ply --up-axis -y --path manipulation

Peers: the same frames as lossless 4:2:0 (x264 at CRF 0), which is the best any 4:2:0 video can do, and depth written
with `numpy.savez_compressed`.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from blueprint import depth, splat, video
from blueprint.cameras.place import place
from blueprint.depth_control import DepthControl
from blueprint.render.cpu import CpuRenderer

REPEATS = 3


def cpu_ms(work: Callable[[], object], frames: int) -> float:
    """Processor time of all threads per frame, the best of several."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return 1000 * best / frames


def worst_psnr_db(path: Path, frames: list[np.ndarray]) -> float:
    """PSNR of the worst decoded frame."""
    errors = [
        np.mean((read - frame.astype(float)) ** 2) for read, frame in zip(video.read_video(path), frames, strict=True)
    ]
    return float(10 * np.log10(255**2 / max(errors)))


def main() -> None:
    """Parse the command line, render a few frames, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=Path, default=Path("resources/demo/kitchen.ply"))
    parser.add_argument("--up-axis", default="z")
    parser.add_argument("--path", choices=["orbit", "sweep", "manipulation"], default="orbit")
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--frames", type=int, default=12)
    arguments = parser.parse_args()

    width, height = arguments.size
    scene = splat.load(arguments.scene)
    spec = {"path": arguments.path, "frames": 93, "fps": 24, "up_axis": arguments.up_axis, "floor_height_m": 0.0}
    path = place(scene, {**spec, "width": width, "height": height})
    renderer = CpuRenderer(scene, width, height, threads=os.cpu_count() or 1)
    count = min(arguments.frames, len(path.viewmats))
    drawn = list(renderer.frames(path.viewmats[:count], path.Ks[:count]))
    colour = [np.rint(frame.rgb * 255).astype(np.uint8) for frame in drawn]
    depths = [(frame.depth_m, frame.median_m, frame.alpha) for frame in drawn]
    with tempfile.TemporaryFile() as spool:
        control = DepthControl(spool)
        control.add_all((frame.median_m, frame.alpha) for frame in drawn)
        grey = [np.repeat(image[..., None], 3, axis=-1) for image in control.images()]

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, PyAV {version('av')}; "
          f"{arguments.scene.name}, {arguments.path}, {count} frames of {width}x{height}")  # fmt: skip
    table = Table("file", "kB per frame", "CPU ms per frame", "worst frame")
    with tempfile.TemporaryDirectory() as folder:

        def row(name: str, target: Path, work: Callable[[], object], kept: Callable[[], str]) -> None:
            spent_ms = cpu_ms(work, count)
            table.add_row(name, f"{target.stat().st_size / 1024 / count:.1f}", f"{spent_ms:.1f}", kept())

        for name, frames, crf in (
            ("rgb.mp4", colour, video.CRF),
            ("rgb, CRF 0", colour, 0),
            ("depth.mp4", grey, video.CRF),
        ):
            target = Path(folder) / "clip.mp4"
            row(
                name,
                target,
                lambda target=target, frames=frames, crf=crf: video.write_video(target, frames, 24, crf=crf),
                lambda target=target, frames=frames: f"{worst_psnr_db(target, frames):.2f} dB PSNR",
            )
        target = Path(folder) / "depth.npz"
        row("depth.npz", target, lambda: depth.write_depth(target, depths), lambda: "1/65536 of the depth")
        stacked = {
            "depth_m": np.stack([depth_m for depth_m, _, _ in depths]),
            "median_m": np.stack([median_m for _, median_m, _ in depths]),
            "alpha": np.rint(255 * np.stack([alpha for _, _, alpha in depths])).astype(np.uint8),
        }
        row("numpy.savez_compressed", target, lambda: np.savez_compressed(target, **stacked), lambda: "exact")
    Console().print(table)


if __name__ == "__main__":
    main()
