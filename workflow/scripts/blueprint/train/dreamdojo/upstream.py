"""DreamDojo's repository (commit 02f119b): its command lines, and how its programs are run.

They run in a folder of links to the checkout, so that the weights, which are looked for at a fixed place in the folder
they run in, need not be put into the installation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from blueprint import nvidia
from blueprint.engines.gpu import Gpu
from blueprint.errors import UserError
from blueprint.train.trainers import PRETRAINED

CONFIG = "cosmos_predict2/_src/predict2/action/configs/action_conditioned/config.py"
EXPERIMENT = "dreamdojo_2b_480_640_gr1"
"""Of its post-training configurations any would do: data, weights and steps are given on the command line."""
TRAINED_FRAMES = 13
CHUNK_FRAMES = 12
JOB = ("blueprint", "training", "model")
"""Its project, group and name, which are folders below the output."""
PROGRAM = "examples/action_conditioned.py"
WEIGHTS = "checkpoints/DreamDojo"
ASKED_FOR = {  # by its docs/ISSUES.md
    "TORCH_NCCL_ENABLE_MONITORING": "0",
    "TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC": "1800",
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
    "FI_EFA_USE_DEVICE_RDMA": "1",
    "RDMAV_FORK_SAFE": "1",
    "TORCH_DIST_INIT_BARRIER": "1",
}
LONGEST_ARGUMENT = 128 * 1024 - 1  # bytes; Linux takes no longer one


def root_of(machine: Mapping[str, Any]) -> Path:
    """The checkout.

    Raises:
        UserError: there is none.
    """
    given = machine.get("dreamdojo_root")
    return nvidia.installation("DreamDojo", PROGRAM, "dreamdojo", "train.dreamdojo_root", given)


def working_folder(root: Path, weights: Path, folder: Path) -> Path:
    """A folder of links to the checkout, with the weights where its programs look for them."""
    folder.mkdir()
    for path in root.iterdir():
        if path.name != "checkpoints" and not path.name.startswith("."):
            (folder / path.name).symlink_to(path)
    (folder / WEIGHTS).parent.mkdir()
    (folder / WEIGHTS).symlink_to(weights.resolve())
    return folder


def training_command(root: Path, windows: Path, settings: Mapping[str, Any], seed: int, every: int) -> list[str]:
    """The command line of one training; Hydra reads what follows ``--``.

    Args:
        root: the checkout.
        windows: folder of mp4 files.
        settings: the keys of `DreamDojoKeys` that decide the parameters.
        seed: of its random numbers.
        every: steps between checkpoints.
    """
    quoted = str(windows.resolve()).replace("\\", "\\\\").replace("'", "\\'")
    project, group, name = JOB
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={settings['gpus']}"]
    overrides = {
        "experiment": EXPERIMENT,
        "job.project": project,
        "job.group": group,
        "job.name": name,
        "job.wandb_mode": "disabled",
        "trainer.max_iter": settings["steps"],
        "trainer.seed": seed,
        "checkpoint.save_iter": every,
        "checkpoint.load_path": f"{WEIGHTS}/{PRETRAINED}",
        "dataloader_train.batch_size": settings["batch_size"],
        "dataloader_train.dataset.dataset_path": f"['{quoted}']",
        "dataloader_train.dataset.data_split": "full",
    }
    given = [f"{key}={value}" for key, value in overrides.items()]
    return [
        *(nvidia.python_of(root), *launch, "-m", "scripts.train", f"--config={CONFIG}", "--"),
        *(*given, "~dataloader_train.dataloaders"),
    ]


def evaluation_command(root: Path, windows: Sequence[Path], frames: int, model: Path, folder: Path) -> list[str]:
    """The command line that predicts and measures windows.

    Each window is a dataset of its own, and they are sampled evenly: so number ``i`` of its files is of window ``i``.

    Args:
        root: the checkout.
        windows: a folder for each, with one mp4 of ``frames`` + 1 frames.
        frames: of a window.
        model: ``checkpoints/<iteration>/model_ema_bf16.pt``, with ``latest_checkpoint.txt`` in ``checkpoints``.
        folder: where its files go.

    Raises:
        UserError: more windows than one command line can name, or a path with a comma.
    """
    paths = [str(window.resolve()) for window in windows]
    if any("," in path for path in paths):
        raise UserError(
            f"{paths[0]}: DreamDojo parts its datasets by commas. Work in a folder without one in its path."
        )
    datasets = ",".join(paths)
    if len(os.fsencode(datasets)) > LONGEST_ARGUMENT:
        raise UserError(
            f"train: {len(windows)} held-out windows are more than one command line of DreamDojo can name. Lower "
            "export.held_out_share, or work in a folder with a shorter path."
        )
    options = {
        "-o": folder / "log",
        "--checkpoints-dir": model.parent.parent,
        "--checkpoint-path": model,
        "--experiment": EXPERIMENT,
        "--save-dir": folder / "made",
        "--num-frames": frames,
        "--num-samples": len(windows),
        "--dataset-path": datasets,
        "--data-split": "full",
    }
    given = [str(word) for option in options.items() for word in option]
    return [nvidia.python_of(root), PROGRAM, *given, "--deterministic-uniform-sampling"]


def run(
    command: Sequence[str], folder: Path, output: Path, gpus: Sequence[Gpu], during: Callable[[], None] = lambda: None
) -> int:
    """Run one of its programs to its end (see `blueprint.nvidia.run`).

    Args:
        command: what to run.
        folder: of links, see `working_folder`.
        output: where it puts what it trains.
        gpus: the cards that it may see.
        during: called meanwhile, and at the end.

    Returns:
        Its exit status.
    """
    folders = {"IMAGINAIRE_OUTPUT_ROOT": str(output.resolve()), "PYTHONPATH": str(folder.resolve())}
    return nvidia.run(command, folder, gpus, ASKED_FOR | folders, during)
