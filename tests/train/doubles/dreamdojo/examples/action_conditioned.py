"""A stand-in for the repository's evaluation: the same command line, files, order of windows and summary.

DOUBLE_LOG    file to which every process appends what it was asked to do
DOUBLE_SKIP   number of a window whose prediction it takes to be there already: it is not in the summary
"""

import argparse
import json
import os
import subprocess
from pathlib import Path

import av
import numpy as np
from double import Datasets, note, require_weights


def parse():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-o", "--output-dir", type=Path, required=True)
    for name in ("checkpoints-dir", "checkpoint-path", "save-dir"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("experiment", "dataset-path"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--num-frames", type=int, default=37)
    parser.add_argument("--num-samples", type=int, default=100)
    parser.add_argument("--data-split", default="test")
    parser.add_argument("--deterministic-uniform-sampling", action="store_true")
    return parser.parse_args()


def write(path, frames):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "20"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def main():
    args = parse()
    require_weights()
    if not args.checkpoint_path.exists():
        raise ValueError(f"Checkpoint path '{args.checkpoint_path}' does not exist.")
    name = (args.checkpoints_dir / "latest_checkpoint.txt").read_text().strip()
    model = args.checkpoints_dir / name / "model_ema_bf16.pt"
    if not model.exists():
        subprocess.run(["sudo", "chmod", "-R", "777", str(model.parent)], check=True, capture_output=True)
    colour = np.array(json.loads(model.read_text()), float)
    folder = args.save_dir / name
    folder.mkdir(parents=True, exist_ok=True)
    paths = args.dataset_path.split(",")
    data = Datasets(paths, args.num_frames, args.num_samples, args.deterministic_uniform_sampling)
    note(program="evaluate", windows=len(data), colour=list(colour), model=str(model))
    assert (args.num_frames - 1) % 12 == 0
    rows = []
    for index in range(len(data)):
        truth = data[index]
        if index == int(os.environ.get("DOUBLE_SKIP", -1)):
            continue
        made = np.broadcast_to(colour.round().astype(np.uint8), truth.shape).copy()
        made[0] = truth[0]
        write(folder / f"{index:04d}_merged.mp4", np.concatenate([truth, made], axis=2))
        error = np.mean((made / 255 - truth / 255) ** 2, axis=(1, 2, 3)) + 1e-8
        row = {"psnr": float(np.mean(-10 * np.log10(error))), "ssim": 1 - float(error.mean()), "lpips": 0.5}
        (folder / f"{index:04d}_metrics.json").write_text(json.dumps(row))
        rows.append(row)
    means = {key: f"{sum(row[key] for row in rows) / len(rows):.3f}" for key in ("psnr", "ssim", "lpips")}
    (folder / "all_summary.json").write_text(json.dumps(means))


if __name__ == "__main__":
    main()
