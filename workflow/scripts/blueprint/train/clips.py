"""What a world model is trained and tested on: short windows of frames with the camera's motion as the action.

The windows are fixed: the same clips give the same windows in every run, so a model before and after training is asked
the same questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from blueprint import poses, video
from blueprint.export.episodes import Episode


@dataclass(frozen=True)
class Window:
    """Consecutive frames of one episode."""

    episode: str
    facility: str
    look: str
    frames: np.ndarray  # [F, H, W, 3] uint8 RGB
    motions: np.ndarray  # [F - 1, 4, 4] float32, from the OpenCV camera of one frame to that of the next, metres
    K: np.ndarray  # [3, 3] float32, pixels at this size


def windows(episodes: Sequence[Episode], length: int, width: int, height: int) -> Iterator[Window]:
    """Windows of ``length`` frames, one after the other without overlap, resized to ``width`` x ``height`` pixels.

    Frames that fill no window are left out.
    """
    for episode in episodes:
        cameras = poses.read(episode.cameras)
        scale = np.diag([width / cameras.width, height / cameras.height, 1.0])
        frames = np.stack(
            [
                cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
                for frame in video.read_video(episode.video)
            ]
        )
        motions = cameras.viewmats[1:] @ np.linalg.inv(cameras.viewmats[:-1])
        for start in range(0, len(frames) - length + 1, length):
            end = start + length
            yield Window(
                f"{episode.name}@{start}",
                episode.facility,
                episode.look,
                frames[start:end],
                motions[start : end - 1].astype(np.float32),
                (scale @ cameras.Ks[start]).astype(np.float32),
            )
