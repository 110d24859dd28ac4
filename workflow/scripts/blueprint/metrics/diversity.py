"""How different do the variants of a clip look from one another? Training data wants them far apart."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from blueprint import video
from blueprint.errors import UserError

LONGEST_SIDE_PX = 160
"""Frames are averaged down to this size: looks differ at large, texture and noise do not make a look."""


def diversity(variants: dict[str, Path]) -> dict[str, Any]:
    """Mean colour difference between the variants of a clip.

    The difference is CIE 1976 Delta E*ab per pixel of the reduced frames: 0 is the same, 2.3 just noticeable,
    100 black against white.

    Args:
        variants: clips of equal length by name.

    Returns:
        ``pairs``: a list of ``{"variants": [a, b], "delta_e": value}``; ``mean`` over the pairs and ``closest`` pair
        (both None for a single variant).

    Raises:
        UserError: a clip cannot be read, or they differ in length or size.
    """
    pairs = list(itertools.combinations(variants, 2))
    totals = dict.fromkeys(pairs, 0.0)
    count = 0
    moments = video.in_step(*((path, video.read_video(path)) for path in variants.values()))
    for frames in moments:
        if len({frame.shape for frame in frames}) > 1:
            raise UserError(f"{', '.join(map(str, variants.values()))}: differ in size. Enrich the clip again.")
        count += 1
        labs = dict(zip(variants, map(_reduced_lab, frames), strict=True))
        for first, second in pairs:
            totals[first, second] += float(np.linalg.norm(labs[first] - labs[second], axis=-1).mean())
    means = {pair: round(total / count, 4) for pair, total in totals.items()}
    return {
        "pairs": [{"variants": list(pair), "delta_e": value} for pair, value in means.items()],
        "mean": round(sum(means.values()) / len(means), 4) if means else None,
        "closest": list(min(means, key=means.__getitem__)) if means else None,
    }


def _reduced_lab(frame: np.ndarray) -> np.ndarray:
    """[H, W, 3] uint8 RGB -> [h, w, 3] float32 CIE L*a*b*"""
    height, width = frame.shape[:2]
    scale = min(1.0, LONGEST_SIDE_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    reduced = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(reduced.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
