"""Score the variants of a clip against the render they were made from, frame by frame."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import cv2
import torch

from blueprint import cli
from blueprint.metrics import weights
from blueprint.metrics.job import score_variants
from blueprint.metrics.score import ClipFiles, choose_device


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variants", nargs="+", type=Path, help="the enriched clips; their names are the variants")
    parser.add_argument("--render", type=Path, required=True, help="rendered clip")
    parser.add_argument("--depth-m", type=Path, required=True, help="rendered depth in metres (depth.npz)")
    parser.add_argument("--cameras", type=Path, required=True, help="cameras.json of the clip")
    parser.add_argument("--scores", type=cli.json_argument, required=True, help="each score and the digest of its code")
    parser.add_argument("--torch-home", default="", help="torch cache that holds weights (default: where torch looks)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--environment", type=Path, help="marker of the environment that this runs in")
    parser.add_argument("--folder", type=Path, required=True, help="where <variant>.json go")
    arguments = parser.parse_args()
    os.environ["TORCH_HOME"] = str(weights.torch_home(arguments.torch_home))
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    device = choose_device()
    gpus = [torch.cuda.get_device_name()] if device == "cuda" else []
    clip = ClipFiles(arguments.render, arguments.depth_m, arguments.cameras)
    variants = {path.stem: path for path in arguments.variants}
    made = {"environment": arguments.environment, "gpus": gpus}
    score_variants(clip, variants, dict(arguments.scores), arguments.folder, device, **made)


if __name__ == "__main__":
    cli.run(main)
