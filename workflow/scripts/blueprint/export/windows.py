"""Windows of frames as files that DreamDojo's video dataset reads whole, from one start only.

Its loader drops every file whose path holds a word of `DROPPED`, without saying so, and takes folders whose path holds
a word of `ROBOTS` for a robot's recordings. It draws the start of its N frames with ``randint(0, frames - N - 1)``: a
file of N + 1 frames has one start, so training and evaluation see the same frames in every run; a file of N frames is
never read at all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from blueprint import video
from blueprint.errors import UserError

DROPPED = ("left", "right", "resize", "pad")
ROBOTS = ("gr1", "g1", "yam", "agibot", "xdof", "egodex_21")


def refuse_dropped(folder: Path, where: str) -> None:
    """Check that DreamDojo reads what lies in a folder, whatever is in its path.

    Args:
        folder: where windows are to lie.
        where: what the user can change to have it elsewhere.

    Raises:
        UserError: it would drop the files or take them for something else.
    """
    resolved = str(folder.resolve()).lower()
    if found := [word for word in (*DROPPED, *ROBOTS) if word in resolved]:
        raise UserError(
            f"{folder.resolve()}: DreamDojo would read this path wrongly or drop it silently, since it holds "
            f"{', '.join(found)}. Choose another {where}."
        )


def windows_of(path: Path, length: int) -> Iterator[list[np.ndarray]]:
    """Consecutive windows of a video that do not overlap; frames that fill no window are left out."""
    frames = video.read_video(path)
    while len(window := list(itertools.islice(frames, length))) == length:
        yield window


def write_window(path: Path, frames: list[np.ndarray], source: Path) -> None:
    """Write a window at the rate of the video that it is from."""
    video.write_video(path, frames, round(video.probe(source).fps))
