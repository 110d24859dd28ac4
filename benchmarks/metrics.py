"""Frames per second of the workflow's scores against a plain loop of piq calls, in the same run on the same clip.

    python benchmarks/metrics.py                                     # both, several sizes
    python benchmarks/metrics.py --frames 1000 --size 1280x720 --only workflow    # memory of a long clip

Both read the same two videos and compute the same scores; the loop calls piq once per frame and score, as one would
write it down. The numbers are compared as well. Times are the best of several rounds. Without the loop, the workflow
computes its scores of geometry and time too.
"""

from __future__ import annotations

import argparse
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests")]

import piq_reference  # noqa: E402
import synthetic_room  # noqa: E402
from blueprint.metrics.catalogue import METRICS  # noqa: E402
from blueprint.metrics.score import ClipFiles, choose_device, score  # noqa: E402
from blueprint.video import write_video  # noqa: E402

NAMES = list(piq_reference.FUNCTIONS)


def make_clip(folder: Path, width: int, height: int, count: int) -> tuple[ClipFiles, Path]:
    """A clip of the synthetic room, and a darker, noisy variant of it."""
    base = synthetic_room.room(1, width=width, height=height)
    random = np.random.default_rng(0)
    noise = random.normal(0, 6, base.frames[0].shape)
    still = synthetic_room.Clip(
        *(
            np.broadcast_to(part[0], (count, *part.shape[1:]))
            for part in (base.frames, base.depth_m, base.viewmats, base.Ks)
        )
    )
    paths = still.write(folder)
    variant = folder / "variant.mp4"
    altered = np.clip(np.rint(0.8 * base.frames[0] + noise), 0, 255).astype(np.uint8)
    write_video(variant, (np.roll(altered, index, 1) for index in range(count)), synthetic_room.FPS)
    return ClipFiles(paths["rgb.mp4"], paths["depth.npz"], paths["cameras.json"]), variant


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", action="append", help="WIDTHxHEIGHT; may be repeated")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", choices=["workflow"], help="leave the loop of piq calls out")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = choose_device()
    names = [name for name, metric in METRICS.items() if not metric.weights] if arguments.only else NAMES
    console = Console()
    console.print(
        f"{platform.platform()}, {arguments.threads} threads, Python {platform.python_version()}, "
        f"torch {torch.__version__}, piq {piq_reference.piq.__version__}, device {device}; scores: {', '.join(names)}"
    )
    table = Table("frames", "workflow, frames/s", "piq loop, frames/s", "ratio", "largest difference", "peak memory")
    for size in arguments.size or ["320x240", "640x480", "1280x720"]:
        width, height = map(int, size.split("x"))
        with tempfile.TemporaryDirectory() as folder:
            clip, variant = make_clip(Path(folder), width, height, arguments.frames)
            ours_s, loop_s, difference = [], [], None
            for _ in range(1 if arguments.only else arguments.rounds):
                start = time.perf_counter()
                ours = score(clip, variant, names, device)["frames"]
                ours_s.append(time.perf_counter() - start)
                if arguments.only:
                    continue
                start = time.perf_counter()
                plain = piq_reference.scores(NAMES, variant, clip.rgb)
                loop_s.append(time.perf_counter() - start)
                difference = max(float(np.abs(np.subtract(ours[name], plain[name])).max()) for name in NAMES)
        table.add_row(
            f"{arguments.frames} of {size}",
            f"{arguments.frames / min(ours_s):.1f}",
            f"{arguments.frames / min(loop_s):.1f}" if loop_s else "",
            f"{min(loop_s) / min(ours_s):.1f}" if loop_s else "",
            f"{difference:.1e}" if difference is not None else "",
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB",
        )
    console.print(table)


if __name__ == "__main__":
    main()
