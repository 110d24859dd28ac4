"""Score a variant against the render it was made from, frame by frame."""

from __future__ import annotations

import argparse
import logging
import os
import time
from pathlib import Path

import cv2
import torch

from blueprint import cli, files
from blueprint.metrics import weights
from blueprint.metrics.score import ClipFiles, choose_device, score

log = logging.getLogger(__name__)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--render", type=Path, required=True, help="rendered clip")
    parser.add_argument("--variant", type=Path, required=True, help="enriched clip, aligned with the render")
    parser.add_argument("--depth-m", type=Path, required=True, help="rendered depth in metres (depth.npz)")
    parser.add_argument("--cameras", type=Path, required=True, help="cameras.json of the clip")
    parser.add_argument("--spec", type=cli.json_argument, required=True, help='{"names": [...]}')
    parser.add_argument("--torch-home", default="", help="torch cache that holds weights (default: where torch looks)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    os.environ["TORCH_HOME"] = str(weights.torch_home(arguments.torch_home))
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    device = choose_device()
    start = time.monotonic()
    clip = ClipFiles(arguments.render, arguments.depth_m, arguments.cameras)
    scores = score(clip, arguments.variant, arguments.spec["names"], device)
    seconds = time.monotonic() - start
    log.info("%d frames in %.1f s on %s", scores["frame_count"], seconds, device)
    for name, mean in scores["mean"].items():
        log.info("%s: %s", name, mean)
    files.write_json(arguments.output, {**scores, "run": {"seconds": round(seconds, 3), "device": device}})


if __name__ == "__main__":
    cli.run(main)
