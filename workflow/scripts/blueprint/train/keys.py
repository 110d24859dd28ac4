"""The keys of `train`."""

from __future__ import annotations

from typing import Literal

from blueprint.section import Section, key

TRAINING_SETS = {
    "render": "renders alone",
    "variants": "renders and variants",
}
"""What a model is post-trained on: the worth of enrichment is the difference."""


class Train(Section):
    """The keys of `train` that are the same for every trainer; `engine` is added for each."""

    engine: str
    facilities: list[str] = key(
        "Facilities whose clips are trained on (when empty, the first); on the others it shows what is forgotten.", []
    )
    seed: int = key("Seed of the training.", 0, ge=0)
    least_gain_db: float = key(
        "PSNR in dB by which held-out trajectories must get better for the verdict `pass`.", 0.2, ge=0
    )
    most_loss_db: float = key("PSNR in dB that other facilities may get worse before the verdict is `warn`.", 1.0, ge=0)
    window_frames: int = key("Frames of one window that a model is tested on; the first is given.", 8, ge=2)


class TinyKeys(Section):
    """Keys of the trainer `tiny`."""

    steps: int = key("Training steps of 16 pairs of frames.", 200, ge=1)


class DreamDojoKeys(Section):
    """Keys of the trainer `dreamdojo`."""

    steps: int = key("Training steps (its authors' default is 100,000).", 2000, ge=1)
    batch_size: int = key("Windows of 13 frames in one step on each GPU (its authors' configurations have 4).", 4, ge=1)
    gpus: int = key("GPUs of one training; the batch grows with them.", 1, ge=1)
    window_frames: Literal[13, 25, 37, 49, 61, 73, 85, 97] = key(
        "Frames of one window that a model is tested on, 1 + 12 n; the first is given. A clip needs one more.", 49
    )
    checkpoint_steps: int = key("Steps from one checkpoint, that a lost machine costs at most, to the next.", 500, ge=1)
    dreamdojo_root: str = key(
        "Folder of an installation of NVIDIA's DreamDojo; empty for that of the conda environment `dreamdojo`.", ""
    )
    weights: str = key(
        "Folder with the files of nvidia/DreamDojo on Hugging Face (LAM_400k.ckpt, 2B_pretrain/); empty to fetch them.",
        "",
    )
