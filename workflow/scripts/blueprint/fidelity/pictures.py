"""The pictures of the stage: the map of where a camera may stand, and the worst views."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from blueprint.cameras.space import Space
from blueprint.fidelity.standing import Standing
from blueprint.fidelity.views import Trust
from blueprint.files import whole_file

MAP_PX = 640
MARGIN_PX = 24
LEGEND_PX = 56
GREEN, AMBER, RED, GREY = np.array([(46, 139, 87), (230, 160, 30), (200, 40, 40), (150, 150, 150)])
INK = (40, 40, 40)
TILE_PX = 240
ERROR_WHITE = 0.25  # difference that is drawn brightest


@dataclass(frozen=True)
class Track:
    """A line on the map: the places of a clip's cameras, or those of photos."""

    name: str
    eyes: np.ndarray  # [F, 3] level frame
    connected: bool = True


def trust_colour(trust: float) -> tuple[int, int, int]:
    """Red, green, blue of a share of trustworthy pixels: green from 0.9, red to 0.4, grey where nothing is in view."""
    if np.isnan(trust):
        return tuple(map(int, GREY))
    share = float(np.clip((trust - 0.4) / 0.5, 0, 1))
    low, high, along = (RED, AMBER, 2 * share) if share < 0.5 else (AMBER, GREEN, 2 * share - 1)
    return tuple(int(value) for value in low + (high - low) * along)


def top_view(space: Space, standing: Standing, tracks: Sequence[Track]) -> np.ndarray:
    """The map [H, W, 3] uint8: matter in grey, and at each place one sector per direction, coloured by trust.

    Level x points to the right and y up. Tracks are drawn in black, with their names.
    """
    points = [
        space.low[None, :2],
        space.high[None, :2],
        standing.places[:, :2],
        *(track.eyes[:, :2] for track in tracks),
    ]
    extent = np.concatenate(points)
    low, high = extent.min(axis=0), extent.max(axis=0)
    scale = (MAP_PX - 2 * MARGIN_PX) / float((high - low).max())
    width, height = (np.ceil((high - low) * scale).astype(int) + 2 * MARGIN_PX).tolist()

    def pixel(point: np.ndarray) -> tuple[int, int]:
        x, y = (point[:2] - low) * scale
        return round(MARGIN_PX + x), round(height - MARGIN_PX - y)

    picture = np.full((height + LEGEND_PX, width, 3), 255, np.uint8)
    _draw_matter(picture[:height], space, low, scale)
    radius = round(max(6.0, 0.45 * scale * _spacing(standing.places)))
    half = 180 / len(standing.headings_rad)
    for place, row in zip(standing.places, standing.trust, strict=True):
        for heading, trust in zip(np.degrees(standing.headings_rad), row, strict=True):
            sector = (-heading - half + 2, -heading + half - 2)
            cv2.ellipse(picture, pixel(place), (radius, radius), 0, *sector, trust_colour(trust), -1, cv2.LINE_AA)
    for track in tracks:
        line = np.array([pixel(eye) for eye in track.eyes])
        if track.connected:
            cv2.polylines(picture, [line], False, INK, 2, cv2.LINE_AA)
            cv2.circle(picture, tuple(line[0].tolist()), 4, INK, -1, cv2.LINE_AA)
            _write(picture, track.name, (line[len(line) // 2][0] + 6, line[len(line) // 2][1] - 6))
        else:
            for dot in line:
                cv2.circle(picture, tuple(dot.tolist()), 2, INK, -1, cv2.LINE_AA)
    _draw_legend(picture, height, scale)
    return picture


def _draw_matter(picture: np.ndarray, space: Space, low: np.ndarray, scale: float) -> None:
    """Shade the floor plan by how much of the height is matter."""
    share = space.solid.mean(axis=2)
    grey = np.where(share > 0, 235 - 110 * np.clip(share / 0.3, 0, 1), 255).astype(np.uint8)
    # Rows of the picture go down as y goes up.
    plan = cv2.resize(
        grey.T[::-1], None, fx=scale * space.voxel_m, fy=scale * space.voxel_m, interpolation=cv2.INTER_AREA
    )
    left = round(MARGIN_PX + (space.origin[0] - low[0]) * scale)
    bottom = round(picture.shape[0] - MARGIN_PX - (space.origin[1] - low[1]) * scale)
    top = bottom - plan.shape[0]
    rows, columns = slice(max(0, top), min(picture.shape[0], bottom)), slice(max(0, left), left + plan.shape[1])
    inner = plan[rows.start - top : rows.stop - top, columns.start - left :][:, : picture.shape[1] - columns.start]
    picture[rows, columns.start : columns.start + inner.shape[1]] = inner[..., None]


def _spacing(places: np.ndarray) -> float:
    if len(places) < 2:
        return 1.0
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    return float(np.median(np.min(apart + np.where(np.eye(len(places)), np.inf, 0), axis=1)))


def _draw_legend(picture: np.ndarray, top: int, scale: float) -> None:
    """Colours with their meaning, and a bar of one metre (or more, where that is too short)."""
    metres = next((step for step in (1, 2, 5, 10, 20, 50) if step * scale >= 40), 100)
    cv2.line(picture, (MARGIN_PX, top + 16), (MARGIN_PX + round(metres * scale), top + 16), INK, 2)
    _write(picture, f"{metres} m", (MARGIN_PX + 4, top + 12))
    left = MARGIN_PX
    for trust, text in ((1.0, "trust 90 %+"), (0.65, "65 %"), (0.3, "below 40 %"), (np.nan, "nothing in view")):
        cv2.rectangle(picture, (left, top + 30), (left + 14, top + 44), trust_colour(trust), -1)
        _write(picture, text, (left + 18, top + 42))
        left += 34 + 8 * len(text)


def _write(picture: np.ndarray, text: str, corner: tuple[int, int]) -> None:
    cv2.putText(picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)


def marked(view: Trust) -> np.ndarray:
    """A view [H, W, 3] uint8 with its untrustworthy pixels in red."""
    rgb = np.clip(view.rgb, 0, 1)
    red = 0.35 * rgb + 0.65 * np.array([0.9, 0.1, 0.1])
    return as_bytes(np.where(view.untrusted[..., None], red, rgb))


def error_map(error: np.ndarray) -> np.ndarray:
    """Differences [H, W] in 0-1 as a picture [H, W, 3] uint8, dark where there is none."""
    level = as_bytes(np.clip(error / ERROR_WHITE, 0, 1))
    return cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)[..., ::-1]


def as_bytes(picture: np.ndarray) -> np.ndarray:
    """A picture in 0-1 as uint8."""
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def strip(pictures: Iterable[np.ndarray], title: str, height_px: int = TILE_PX) -> np.ndarray:
    """Pictures [H, W, 3] uint8 side by side at one height, with a title above."""
    tiles = [
        cv2.resize(np.ascontiguousarray(picture), (round(picture.shape[1] * height_px / picture.shape[0]), height_px))
        for picture in pictures
    ]
    row = np.concatenate(tiles, axis=1)
    head = np.full((22, row.shape[1], 3), 255, np.uint8)
    _write(head, title, (4, 15))
    return np.concatenate([head, row])


def stacked(strips: Sequence[np.ndarray]) -> np.ndarray:
    """Strips one below the other, on white."""
    if not strips:
        return np.full((22, 320, 3), 255, np.uint8)
    width = max(part.shape[1] for part in strips)
    return np.concatenate(
        [np.pad(part, ((0, 0), (0, width - part.shape[1]), (0, 0)), constant_values=255) for part in strips]
    )


def save(target: Path, picture: np.ndarray) -> None:
    """Write a picture; the file appears whole."""
    with whole_file(target) as part:
        cv2.imwrite(str(part), picture[..., ::-1])
