"""The keys of `train`."""

from __future__ import annotations

from blueprint.section import Section, key


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
