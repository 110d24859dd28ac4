"""The layouts of a dataset: one writer each, by the name that the configuration uses.

A writer is given episodes with their side of the split and an empty folder; it returns, per episode, the files that
hold it (relative to the folder). Videos are copied as they are wherever the layout allows it, so that nothing is
encoded twice.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blueprint import depth, poses, video
from blueprint.errors import UserError
from blueprint.export import windows
from blueprint.export.episodes import Episode, Split
from blueprint.files import write_text

Assigned = Sequence[tuple[Episode, Split]]
Files = dict[str, list[str]]
HOLE_ALPHA = 0.5
"""Below this alpha the render shows less scene than background."""


@dataclass(frozen=True)
class Layout:
    """One way to lay a dataset out."""

    title: str
    read_by: str
    """The programs that read it."""
    environment: str
    """``envs/<environment>.yaml``, which its rule runs in."""
    write: Callable[[Assigned, Path, dict[str, Any]], Files]


def holes(depth_m: Path) -> np.ndarray:
    """Where a frame shows no scene and nothing must be learned: bool ``[F, H, W]``."""
    return np.stack([alpha < HOLE_ALPHA for _, alpha in depth.iterate_depth(depth_m)])


def camera_states(cameras: Path) -> np.ndarray:
    """Pose of the camera in each frame: float32 ``[F, 7]``, position in metres (scene frame) and the quaternion
    ``w, x, y, z`` that turns OpenCV camera axes (x right, y down, z forward) into the scene's, with ``w >= 0``."""
    from scipy.spatial.transform import Rotation

    to_world = np.linalg.inv(poses.read(cameras).viewmats)
    quats = Rotation.from_matrix(to_world[:, :3, :3]).as_quat(canonical=True, scalar_first=True)
    return np.concatenate([to_world[:, :3, 3], quats], axis=1).astype(np.float32)


def write_cosmos(episodes: Assigned, folder: Path, _: dict[str, Any]) -> Files:
    """``<split>/videos/*.mp4`` with ``<split>/metas/*.txt``, the layout of Cosmos post-training, and what we add."""
    made: Files = {}
    for episode, side in episodes:
        root = folder / side
        targets = {
            root / "videos" / f"{episode.name}.mp4": episode.video,
            root / "depth" / f"{episode.name}.mp4": episode.depth,
            root / "depth_m" / f"{episode.name}.npz": episode.depth_m,
            root / "cameras" / f"{episode.name}.json": episode.cameras,
        }
        for target, source in targets.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        caption, mask = root / "metas" / f"{episode.name}.txt", root / "masks" / f"{episode.name}.npz"
        write_text(caption, episode.caption + "\n")
        mask.parent.mkdir(exist_ok=True)
        np.savez_compressed(mask, holes=holes(episode.depth_m))
        made[episode.name] = [path.relative_to(folder).as_posix() for path in (*targets, caption, mask)]
    return made


def write_webdataset(episodes: Assigned, folder: Path, options: dict[str, Any]) -> Files:
    """``<split>-000000.tar`` shards; one sample per episode, keyed by its name."""
    from webdataset import TarWriter

    made: Files = {}
    size = options["episodes_per_shard"]
    for side in ("train", "test"):
        members = [episode for episode, assigned in episodes if assigned == side]
        for shard, start in enumerate(range(0, len(members), size)):
            path = folder / f"{side}-{shard:06d}.tar"
            # A fixed time and owner: equal clips give equal shards.
            with TarWriter(str(path), mtime=0, user="blueprint", group="blueprint") as writer:
                for episode in members[start : start + size]:
                    writer.write(_sample(episode))
                    made[episode.name] = [path.name]
    return made


def _sample(episode: Episode) -> dict[str, Any]:
    mask = io.BytesIO()
    np.savez_compressed(mask, holes=holes(episode.depth_m))
    return {
        "__key__": episode.name,
        "mp4": episode.video.read_bytes(),
        "txt": episode.caption,
        "json": _facts(episode),
        "cameras.json": episode.cameras.read_bytes(),
        "depth.mp4": episode.depth.read_bytes(),
        "depth.npz": episode.depth_m.read_bytes(),
        "mask.npz": mask.getvalue(),
    }


def _facts(episode: Episode) -> dict[str, Any]:
    keys = ("facility", "clip", "look", "trajectory", "verdict", "made_by")
    return {key: getattr(episode, key) for key in keys}


def write_dreamdojo(episodes: Assigned, folder: Path, options: dict[str, Any]) -> Files:
    """``<split>/w000000.mp4``: windows of equal length, named by number so that no word in a name can drop one."""
    windows.refuse_dropped(folder, "working directory or `output:`")
    made: Files = {}
    number = 0
    for episode, side in episodes:
        for window in windows.windows_of(episode.video, options["window_frames"]):
            path = folder / side / f"w{number:06d}.mp4"
            path.parent.mkdir(exist_ok=True)
            windows.write_window(path, window, episode.video)
            made.setdefault(episode.name, []).append(path.relative_to(folder).as_posix())
            number += 1
    return made


def write_lerobot(episodes: Assigned, folder: Path, options: dict[str, Any]) -> Files:
    """LeRobot dataset v3 through the `lerobot` package, one dataset per split.

    ``observation.state`` is the pose of the camera (`camera_states`). There is no ``action``: nothing acted here, and
    an invented action would be learned from.
    """
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    made: Files = {}
    for side in ("train", "test"):
        members = [episode for episode, assigned in episodes if assigned == side]
        if not members:
            continue
        dataset = LeRobotDataset.create(
            f"{options['name']}_{side}",
            fps=_one_rate(members),
            features=_lerobot_features(members),
            root=folder / side,
            use_videos=True,
            vcodec="h264",
            image_writer_threads=4,
        )
        for episode in members:
            states = camera_states(episode.cameras)
            for frame, state in zip(video.read_video(episode.video), states, strict=True):
                dataset.add_frame({LEROBOT_IMAGE: frame, "observation.state": state, "task": episode.caption})
            dataset.save_episode()
        dataset.finalize()
        shutil.rmtree(folder / side / "images", ignore_errors=True)  # what the package leaves of its scratch frames
        files = sorted(path.relative_to(folder).as_posix() for path in (folder / side).rglob("*") if path.is_file())
        made.update({episode.name: files for episode in members})
    return made


LEROBOT_IMAGE = "observation.images.camera"


def _lerobot_features(members: Sequence[Episode]) -> dict[str, Any]:
    sizes = {(info.height, info.width) for info in (video.probe(episode.video) for episode in members)}
    if len(sizes) > 1:
        found = ", ".join(f"{width} x {height}" for height, width in sorted(sizes))
        raise UserError(f"A LeRobot dataset holds frames of one size; these clips have {found}. Give them one size.")
    ((height, width),) = sizes
    names = ["x_m", "y_m", "z_m", "qw", "qx", "qy", "qz"]
    return {
        LEROBOT_IMAGE: {"dtype": "video", "shape": (height, width, 3), "names": ["height", "width", "channels"]},
        "observation.state": {"dtype": "float32", "shape": (len(names),), "names": names},
    }


def _one_rate(members: Sequence[Episode]) -> int:
    rates = {round(video.probe(episode.video).fps) for episode in members}
    if len(rates) > 1:
        found = ", ".join(map(str, sorted(rates)))
        raise UserError(f"A LeRobot dataset has one frame rate; these clips have {found} Hz. Give them one rate.")
    return rates.pop()


LAYOUTS = {
    "cosmos": Layout("Cosmos post-training", "the VideoDataset of Cosmos-Predict2.5", "metrics", write_cosmos),
    "webdataset": Layout("WebDataset", "the webdataset package", "metrics", write_webdataset),
    "lerobot": Layout("LeRobot v3", "the lerobot package", "lerobot", write_lerobot),
    "dreamdojo": Layout("DreamDojo windows", "the VideoDataset of DreamDojo", "metrics", write_dreamdojo),
}
