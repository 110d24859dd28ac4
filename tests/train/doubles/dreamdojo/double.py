"""What the programs of the stand-in for NVIDIA's DreamDojo (commit 02f119b) share: its dataset and its "model".

The dataset drops files by words in their paths, takes robots' folders for something else, draws the start of a window
at random, and tries other files for ever when one cannot be read, as that of the repository does. The "model" is one
colour: black before training, then ever nearer to the mean of what it was shown.
"""

import json
import os
import random
import sys
import time
from pathlib import Path

import numpy as np

LAM = Path("checkpoints/DreamDojo/LAM_400k.ckpt")
PARTS = ("model", "optim", "scheduler", "trainer")


def note(**facts):
    with Path(os.environ["DOUBLE_LOG"]).open("a") as log:
        log.write(json.dumps(facts) + "\n")


def require_weights():
    if not LAM.is_file():
        sys.exit(f"{LAM}: not found")


class VideoDataset:
    def __init__(self, root, num_frames):
        paths = list(Path(root).rglob("*.mp4"))
        if not paths:
            raise ValueError(f"No video files found in {root}")
        words = ("left", "right", "resize", "pad")
        self.paths = [path for path in paths if not any(word in str(path).lower() for word in words)]
        self.num_frames = num_frames

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        while True:
            try:
                from torchcodec.decoders import VideoDecoder

                decoder = VideoDecoder(self.paths[index], dimension_order="NHWC", seek_mode="exact")
                total = len(decoder)
                if total < self.num_frames:
                    raise ValueError(f"Video shorter than requested window: {total} < {self.num_frames}")
                start = random.randint(0, total - self.num_frames - 1)
                return np.asarray(decoder.get_frames_in_range(start, start + self.num_frames).data)
            except Exception as error:
                print("Error loading sample, retrying with a different index...")
                print(error)
                time.sleep(0.2)  # the repository does not even wait
                index = random.randint(0, len(self) - 1)


class Datasets:
    def __init__(self, paths, num_frames, restrict_len=None, even=False):
        for path in paths:
            if any(word in path.lower() for word in ("gr1", "g1", "yam", "agibot", "egodex_21")):
                raise ValueError(f"{path}: not a LeRobot dataset")
        self.datasets = [VideoDataset(path.strip(), num_frames) for path in paths]
        self.restrict_len, self.even = restrict_len, even

    def __getitem__(self, index):
        if self.even:
            least = min(len(dataset) for dataset in self.datasets)
            if self.restrict_len is not None:
                assert least >= self.restrict_len / len(self.datasets)
                least = self.restrict_len / len(self.datasets)
            dataset = self.datasets[int(index / least)]
            return dataset[int((index % least) / least * len(dataset))]
        if self.restrict_len is not None:
            index = int(index / self.restrict_len * sum(map(len, self.datasets)))
        for dataset in self.datasets:
            if index < len(dataset):
                break
            index -= len(dataset)
        return dataset[index]

    def __len__(self):
        return self.restrict_len or sum(map(len, self.datasets))


def save(folder, colour, iteration, parts=PARTS):
    for part in parts:
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / "__0_0.distcp").write_text(
            json.dumps({"colour": [float(value) for value in colour], "iteration": iteration})
        )
        (folder / part / ".metadata").write_text(part)


def load(folder, parts=PARTS):
    for part in parts:
        if (folder / part / ".metadata").read_text() != part:
            sys.exit(f"{folder / part}: damaged")
    state = json.loads((folder / parts[0] / "__0_0.distcp").read_text())
    return np.array(state["colour"], float), state["iteration"]
