"""A stand-in for `python -m scripts.train`: the same command line, keys, checkpoints and way to go on from one.

DOUBLE_LOG       file to which every process appends what it was asked to do
DOUBLE_HANG_AT   step at which it begins to write a checkpoint and waits for ever
DOUBLE_STOP_AT   step at which it ends, with status 0, before all is done
"""

import argparse
import ast
import os
import sys
import time
from pathlib import Path

import numpy as np
from double import Datasets, load, note, require_weights, save

KEYS = {
    "experiment": str,
    "job.project": str,
    "job.group": str,
    "job.name": str,
    "job.wandb_mode": str,
    "trainer.max_iter": int,
    "trainer.seed": int,
    "checkpoint.save_iter": int,
    "checkpoint.load_path": str,
    "dataloader_train.batch_size": int,
    "dataloader_train.dataset.dataset_path": ast.literal_eval,
    "dataloader_train.dataset.data_split": str,
}
EXPERIMENTS = [f"dreamdojo_2b_480_640_{name}" for name in ("agibot", "g1", "gr1", "pretrain", "yam")]


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("opts", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    if args.opts[0] != "--" or not args.config.endswith("action_conditioned/config.py"):
        sys.exit("Hydra config overrides must be separated")
    words = args.opts[1:]
    if "~dataloader_train.dataloaders" not in words:
        sys.exit("the dataloaders of the base configuration are in the way")
    words.remove("~dataloader_train.dataloaders")
    given = dict(word.split("=", 1) for word in words)
    found = {key: KEYS[key](value) for key, value in given.items()}
    if found["experiment"] not in EXPERIMENTS:
        sys.exit(f"no experiment {found['experiment']}")
    return found


def main():
    given = parse()
    require_weights()
    project, group, name = given["job.project"], given["job.group"], given["job.name"]
    folder = Path(os.environ["IMAGINAIRE_OUTPUT_ROOT"], project, group, name, "checkpoints")
    latest = folder / "latest_checkpoint.txt"
    if latest.exists():
        colour, iteration = load(folder / latest.read_text().strip())
    else:
        (colour, _), iteration = load(Path(given["checkpoint.load_path"]), ("model",)), 0
    data = Datasets(given["dataloader_train.dataset.dataset_path"], 13)
    note(program="train", begun=iteration, windows=len(data), overrides=given, group=os.getpgrp(), pid=os.getpid())
    while iteration < given["trainer.max_iter"]:
        if len(data) < given["dataloader_train.batch_size"]:  # the last batch is dropped, and so the only one
            time.sleep(0.2)
            continue
        for index in range(len(data) // given["dataloader_train.batch_size"]):
            if iteration >= given["trainer.max_iter"]:
                break
            colour = (colour + np.mean(data[index], axis=(0, 1, 2))) / 2
            iteration += 1
            print(f"iteration {iteration}", flush=True)
            if iteration == int(os.environ.get("DOUBLE_STOP_AT", 0)):
                return
            if iteration == int(os.environ.get("DOUBLE_HANG_AT", 0)):
                save(folder / f"iter_{iteration:09}", colour, iteration, ("model",))
                note(hanging=os.getpid())
                time.sleep(3600)
            if iteration % given["checkpoint.save_iter"] == 0 or iteration == given["trainer.max_iter"]:
                save(folder / f"iter_{iteration:09}", colour, iteration)
                latest.write_text(f"iter_{iteration:09}\n")


if __name__ == "__main__":
    main()
