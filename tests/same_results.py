"""Tell whether two runs made the same results, file by file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blueprint.video import read_video


def differences(one: Path, other: Path) -> list[str]:
    """What differs between two `results` folders; empty when they are the same.

    Videos are compared by their decoded frames, archives by their arrays, parameters by
    their tensors, JSON and pages without what they keep under
    the key ``run`` (seconds, machine, time of day), everything else by its bytes. Hidden files do not count.
    """
    files = {path: root for root in (other, one) for path in visible_files(root)}
    return [
        str(path)
        for path in sorted(files)
        if not ((one / path).exists() and (other / path).exists() and same_file(one / path, other / path))
    ]


def visible_files(root: Path) -> Iterator[Path]:
    """Paths below ``root`` of which no part begins with a dot."""
    for path in root.rglob("*"):
        relative = path.relative_to(root)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            yield relative


def same_file(one: Path, other: Path) -> bool:
    """Whether two files hold the same result."""
    match one.suffix:
        case ".mp4":
            frames = list(read_video(one)), list(read_video(other))
            return len(frames[0]) == len(frames[1]) and all(map(np.array_equal, *frames))
        case ".npz":
            arrays = dict(np.load(one)), dict(np.load(other))
            return arrays[0].keys() == arrays[1].keys() and all(
                np.array_equal(arrays[0][key], arrays[1][key]) for key in arrays[0]
            )
        case ".pt":  # an archive that holds the name of the file it was first written to
            tensors = [torch.load(path, weights_only=True) for path in (one, other)]
            return tensors[0].keys() == tensors[1].keys() and all(
                torch.equal(tensors[0][key], tensors[1][key]) for key in tensors[0]
            )
        case ".json":
            return without_run(json.loads(one.read_text())) == without_run(json.loads(other.read_text()))
        case ".html":
            return visible_text(one) == visible_text(other)
        case _:
            return one.read_bytes() == other.read_bytes()


def without_run(value: Any) -> Any:
    """A JSON value without the facts of one run."""
    if isinstance(value, dict):
        return {key: without_run(child) for key, child in value.items() if key != "run"}
    if isinstance(value, list):
        return [without_run(child) for child in value]
    return value


def visible_text(page: Path) -> list[str]:
    """Headings and table cells of a page that hold no measured time."""
    text = re.sub(r"<(script|style)\b.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    cells = re.findall(r"<(?:h[1-4]|th)\b[^>]*>(.*?)</(?:h[1-4]|th)>", text, flags=re.DOTALL)
    return [re.sub(r"<[^>]+>|\s+", " ", cell).strip() for cell in cells]
