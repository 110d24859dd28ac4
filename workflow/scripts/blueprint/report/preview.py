"""A clip as the report shows it: one small video that holds render, depth and every variant, and its worst frames.

All views of a clip are tiles of one video, so in the page they cannot fall out of step, and a browser decodes one
stream instead of many. The page cuts the tiles apart again.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from blueprint import video
from blueprint.metrics import geometry
from blueprint.metrics.catalogue import METRICS
from blueprint.metrics.verdicts import worst_frame

CRF = 30
PICTURE_QUALITY = 60
"""WebP's, 0-100."""
AGREED, LOST, INVENTED = (235, 235, 235), (245, 130, 32), (64, 150, 255)
"""Colours (RGB) of edges in both frames, only in the render, only in the variant; distinct without red and green."""


def make_preview(
    target: Path, render: Path, depth: Path, variants: dict[str, Path], scores: dict[str, dict[str, Any]], width_px: int
) -> dict[str, Any]:
    """Write the preview video of a clip and picture its worst frames.

    Args:
        target: the video to write.
        render: the rendered clip.
        depth: its depth as a grey video.
        variants: the enriched clips by name; all clips have the same number of frames.
        scores: the scores of each variant, by name.
        width_px: width of one tile; frames narrower than that are not enlarged.

    Returns:
        What the page needs beside the video: ``columns`` and ``tile`` (width, height in pixels) of the mosaic, filled
        row by row with render, depth, variants; ``fps``, ``frames``; ``poster``, a WebP picture of the render's middle
        frame in base64; ``worst``: pictures of the worst frames.

    Raises:
        UserError: a clip cannot be read, or they differ in length.
    """
    info = video.probe(render)
    tile = _tile(info, width_px)
    columns = math.ceil(math.sqrt(2 + len(variants)))
    rows = math.ceil((2 + len(variants)) / columns)
    wanted = worst_frames({name: scores[name] for name in variants})
    pictures: dict[tuple[str, int], dict[str, str]] = {}
    posters: list[str] = []

    paths = [render, depth, *variants.values()]
    views = video.in_step(*((path, video.read_video(path)) for path in paths))

    def mosaics() -> Iterator[np.ndarray]:
        for index, frames in enumerate(views):
            for name, frame in zip(variants, frames[2:], strict=True):
                if any(entry["variant"] == name and entry["frame"] == index for entry in wanted):
                    pictures[name, index] = _picture(frames[0], frame, tile)
            if index == info.frames // 2:
                posters.append(_webp(_resized(frames[0], tile)))
            mosaic = np.zeros((rows * tile[1], columns * tile[0], 3), np.uint8)
            for place, frame in enumerate(frames):
                top, left = place // columns * tile[1], place % columns * tile[0]
                mosaic[top : top + tile[1], left : left + tile[0]] = _resized(frame, tile)
            yield mosaic

    count = video.write_video(target, mosaics(), round(info.fps), crf=CRF)
    return {
        "columns": columns,
        "tile": tile,
        "fps": round(info.fps),
        "frames": count,
        "poster": posters[0],
        "worst": [{**entry, **pictures[entry["variant"], entry["frame"]]} for entry in wanted],
    }


def worst_frames(scores: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The worst frame of each variant in each score of geometry and time (in its first score when it has none).

    A frame that is the worst in several scores is listed once, with all of them.
    """
    found = []
    for variant, entry in scores.items():
        names = [name for name in entry["names"] if METRICS[name].family != "appearance"] or entry["names"][:1]
        by_frame: dict[int, list[str]] = {}
        for name in names:
            frame = worst_frame(name, entry["frames"][name])
            if frame is not None:
                by_frame.setdefault(frame, []).append(name)
        found += [
            {"variant": variant, "frame": frame, "scores": {name: entry["frames"][name][frame] for name in worst}}
            for frame, worst in by_frame.items()
        ]
    return found


def _tile(info: video.VideoInfo, width_px: int) -> tuple[int, int]:
    """Width and height of a tile, even as 4:2:0 video needs."""
    width = min(width_px, info.width) // 2 * 2
    return width, max(2, round(width * info.height / info.width / 2) * 2)


def _resized(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def _picture(render: np.ndarray, variant: np.ndarray, tile: tuple[int, int]) -> dict[str, str]:
    """Render, variant and their edges as WebP in base64."""
    views = {"render": render, "picture": variant, "edges": edge_overlay(variant, render)}
    return {name: _webp(_resized(view, tile)) for name, view in views.items()}


def edge_overlay(variant: np.ndarray, render: np.ndarray) -> np.ndarray:
    """Edges over the dimmed render: agreed, lost and invented ones in their colours, [H, W, 3] uint8 RGB."""
    radius = geometry.tolerance_px(*render.shape[:2])
    (found, found_weak), (expected, expected_weak) = geometry.edges(variant), geometry.edges(render)
    picture = cv2.cvtColor(cv2.cvtColor(render, cv2.COLOR_RGB2GRAY) // 4, cv2.COLOR_GRAY2RGB)
    picture[expected > 0] = AGREED
    picture[(expected > 0) & (geometry.near(found_weak, radius) == 0)] = LOST
    picture[(found > 0) & (geometry.near(expected_weak, radius) == 0)] = INVENTED
    return picture


def _webp(picture: np.ndarray) -> str:
    options = [cv2.IMWRITE_WEBP_QUALITY, PICTURE_QUALITY]
    _, data = cv2.imencode(".webp", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    return base64.b64encode(data.tobytes()).decode()
