"""Which clips go into a dataset, and on which side of its split each trajectory stands.

An episode is one video along one trajectory: the render itself or one of its variants. All episodes that see a place
from the same poses belong to one trajectory and stand on one side: a model that has seen the render of a trajectory
has seen its variants' geometry too.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from blueprint import poses
from blueprint.errors import UserError
from blueprint.files import file_digest, read_json, value_digest

RENDER = "render"
"""The name of the look that a clip was rendered with, beside the names of its variants."""
Split = Literal["train", "test"]


@dataclass(frozen=True)
class Episode:
    """One video with all that is known of it."""

    facility: str
    clip: str
    look: str
    """`RENDER`, or the name of a variant."""
    video: Path
    cameras: Path
    depth: Path
    """Control video: relative inverse depth, grey."""
    depth_m: Path
    """Metric depth and alpha, see `blueprint.depth`."""
    caption: str
    trajectory: str
    """Digest of the scene and of the poses: equal for all looks of a clip, and for clips along the same path."""
    verdict: str | None
    made_by: str
    """The engine; `RENDER` for the render."""
    provenance: dict[str, Any]

    @property
    def name(self) -> str:
        """A name that is unique in the dataset and fit for a file."""
        return f"{self.facility}__{self.clip}__{self.look}"


def collect(results: Path, spec: dict[str, Any]) -> list[Episode]:
    """The episodes that a dataset takes from the results.

    Args:
        results: the folder ``results``.
        spec: ``facilities``: per name ``description`` and ``clips``; ``verdicts``: which verdicts of a variant are good
            enough; ``render``: whether the renders themselves are taken.

    Raises:
        UserError: a file of the results is absent or is not what its record says, or nothing is left to export.
    """
    episodes = []
    for facility, facts in spec["facilities"].items():
        folder = results / facility
        summary = read_json(folder / "summary.json")
        scene = read_json(folder / "preflight.json")["scene"]["sha256"]
        for clip in facts["clips"]:
            cameras = poses.read(folder / "clips" / clip / "cameras.json")
            trajectory = value_digest([scene, cameras.viewmats.round(6).tolist(), cameras.Ks.round(3).tolist()])[:16]
            common = {"facility": facility, "clip": clip, "trajectory": trajectory, **_files(folder / "clips" / clip)}
            if spec["render"]:
                episodes.append(
                    Episode(
                        **common,
                        look=RENDER,
                        video=folder / "clips" / clip / "rgb.mp4",
                        caption=facts["description"] or facility,
                        verdict=None,
                        made_by=RENDER,
                        provenance={"scene": scene},
                    )
                )
            for look, judged in summary["clips"][clip].items():
                if judged["verdict"] in spec["verdicts"]:
                    episodes.append(_variant(folder, clip, look, judged["verdict"], facts["description"], common))
    if not episodes:
        raise UserError(
            f"{results}: no clip has a verdict among {', '.join(spec['verdicts'])}. Look at report.html, or let "
            "export.verdicts take more (warn)."
        )
    return episodes


def _files(clip: Path) -> dict[str, Path]:
    return {"cameras": clip / "cameras.json", "depth": clip / "depth.mp4", "depth_m": clip / "depth.npz"}


def _variant(folder: Path, clip: str, look: str, verdict: str, description: str, common: dict[str, Any]) -> Episode:
    video = folder / "enriched" / clip / f"{look}.mp4"
    record = read_json(video.with_suffix(".json"))
    if record["sha256"] != file_digest(video):
        raise UserError(
            f"{video}: it is not the file that {video.with_suffix('.json').name} records (sha256 differs). Delete both "
            "and run again; a dataset must hold what was scored."
        )
    variant = record["variant"]
    caption = variant["prompt"] or ", ".join(filter(None, (description, look.replace("_", " "))))
    return Episode(
        **common, look=look, video=video, caption=caption, verdict=verdict, made_by=record["engine"], provenance=record
    )


def split(
    episodes: Sequence[Episode], held_out_share: float, held_out_facilities: Iterable[str] = ()
) -> dict[str, Split]:
    """Assign each trajectory to one side.

    Of every facility, the trajectories whose digests come first are held out, as many as the share asks for (rounded
    up, but one is always left to train on). The same trajectories give the same split on every machine.

    Args:
        episodes: what is to be split.
        held_out_share: 0 to 1, of the trajectories of each facility.
        held_out_facilities: facilities that are tested on and not trained on.

    Returns:
        ``train`` or ``test`` for each trajectory.
    """
    places: dict[str, set[str]] = {}
    for episode in episodes:
        places.setdefault(episode.facility, set()).add(episode.trajectory)
    held_out: set[str] = set()
    for facility, trajectories in places.items():
        order = sorted(trajectories, key=lambda trajectory: hashlib.sha256(trajectory.encode()).hexdigest())
        wanted = math.ceil(held_out_share * len(order))
        share = len(order) if facility in held_out_facilities else min(wanted, len(order) - 1)
        # Two facilities of one scan may share a trajectory: held out for one, it is held out for both.
        held_out |= set(order[:share])
    return {
        trajectory: "test" if trajectory in held_out else "train"
        for trajectories in places.values()
        for trajectory in trajectories
    }
