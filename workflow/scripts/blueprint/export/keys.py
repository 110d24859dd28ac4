"""The keys of `export`."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from blueprint.section import Section, key


class Export(Section):
    """How the clips that passed become training data (`snakemake export`)."""

    layouts: list[Literal["cosmos", "webdataset", "lerobot", "dreamdojo"]] = key(
        "Layouts to write; docs/export.md shows each.", ["cosmos", "webdataset"], min_length=1
    )
    name: str = key(
        "Name of the dataset.", "blueprint", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", min_length=1, max_length=96
    )
    verdicts: list[Literal["pass", "warn", "fail"]] = key(
        "Verdicts of a variant that is good enough to train on.", ["pass"], min_length=1
    )
    render: bool = key("Take the renders themselves besides their variants.", True)
    held_out_share: float = key(
        "Share of each facility's trajectories (0-1) that is kept for testing; at least one is always trained on.",
        0.2,
        ge=0,
        lt=1,
    )
    held_out_facilities: list[str] = key("Facilities that are tested on and not trained on.", [])
    episodes_per_shard: int = key("Episodes in one WebDataset shard.", 64, ge=1)
    window_frames: int = key(
        "Frames of one DreamDojo window. Its loader reads 13 and needs one more: 14 give every window one fixed start.",
        14,
        ge=14,
    )

    @model_validator(mode="after")
    def _each_once(self) -> Export:
        for name in ("layouts", "verdicts", "held_out_facilities"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} ({', '.join(values)}) names one twice. Keep one")
        return self
