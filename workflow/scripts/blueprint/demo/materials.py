"""Materials: colour as a function of the place on a surface, gloss, and how finely it must be sampled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from blueprint.demo.noise import clouds, hashed, smooth

Colour = Callable[[np.ndarray, np.ndarray, int], np.ndarray]  # (u_m [n], v_m [n], key of the surface) -> sRGB [n, 3]
Cuts = Callable[[float, float], tuple[list[float], list[float]]]  # (length_u_m, length_v_m) -> stops along u and v


def no_cuts(length_u_m: float, length_v_m: float) -> tuple[list[float], list[float]]:
    """A surface in one piece."""
    return [], []


@dataclass(frozen=True)
class Material:
    """How a surface looks."""

    colour: Colour
    cell_m: tuple[float, float] = (0.05, 0.05)  # largest Gaussian along u and v
    edge_m: float = 0.012  # smallest, at edges and cuts
    gloss: float = 0.0  # strength of the mirrored window and lamps
    glow: float = 0.0  # light it emits itself; such a surface is not lit
    cuts_m: Cuts = no_cuts

    def turned(self) -> Material:
        """The material with u and v exchanged (grain that runs the other way)."""
        return replace(
            self,
            colour=lambda u, v, key: self.colour(v, u, key),
            cell_m=self.cell_m[::-1],
            cuts_m=lambda u, v: self.cuts_m(v, u)[::-1],
        )


def rgb(code: str) -> np.ndarray:
    """sRGB in 0-1 [3] of a colour written as ``#rrggbb``."""
    return np.frombuffer(bytes.fromhex(code[1:]), np.uint8) / 255.0


def shade(colour: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """A colour [3] or [n, 3] times a factor [n]."""
    return colour * factor[:, None]


def plain(code: str, *, cell_m: float = 0.06, mottle: float = 0.03, **options: object) -> Material:
    """Paint, enamel, plastic, steel: one colour, slightly uneven."""
    base = rgb(code)

    def colour(u: np.ndarray, v: np.ndarray, key: int) -> np.ndarray:
        return shade(base, 1 + mottle * (clouds(u * 6, v * 6, key) - 0.5))

    return Material(colour, (cell_m, cell_m), **options)


def wood(code: str, *, grain_m: float = 0.012, contrast: float = 0.35, gloss: float = 0.12) -> Material:
    """Wood with its grain along v."""
    base, dark = rgb(code), rgb(code) * np.array([0.72, 0.62, 0.52])

    def colour(u: np.ndarray, v: np.ndarray, key: int) -> np.ndarray:
        bend = clouds(u * 3, v * 1.2, key) * 0.12
        rings = 0.5 + 0.5 * np.sin((u + bend) * 150 + 5 * smooth(u * 9, v * 0.8, key + 5))
        streaks = clouds(u * 90, v * 2.5, key + 9, 2)
        mix = contrast * (0.45 * rings + 0.75 * streaks + 0.4 * (hashed(key, 3) - 0.5))
        return base + (dark - base) * np.clip(mix, 0, 1)[:, None]

    return Material(colour, (grain_m, 0.07), edge_m=0.009, gloss=gloss)


def boards(material: Material, pitch_m: float, gap_m: float) -> Material:
    """Boards side by side along u, with dark gaps between them."""

    def colour(u: np.ndarray, v: np.ndarray, key: int) -> np.ndarray:
        board = np.floor(u / pitch_m).astype(np.int64)
        tone = np.where(u - board * pitch_m < gap_m, 0.18, 0.85 + 0.25 * hashed(board, key))
        return shade(material.colour(u, v, key), tone)

    def cuts(length_u_m: float, length_v_m: float) -> tuple[list[float], list[float]]:
        return [k * pitch_m + d for k in range(int(length_u_m / pitch_m) + 1) for d in (0.0, gap_m)], []

    return replace(material, colour=colour, cuts_m=cuts)


def stone(code: str, *, speck: float = 0.25, cell_m: float = 0.022, gloss: float = 0.3) -> Material:
    """Polished speckled stone."""
    base = rgb(code)

    def colour(u: np.ndarray, v: np.ndarray, key: int) -> np.ndarray:
        fine = hashed(np.floor(u * 120), np.floor(v * 120), key) - 0.5
        veins = np.abs(clouds(u * 2.2, v * 2.2, 77) - 0.5)
        return shade(base, 1 + speck * fine - 0.5 * speck * np.exp(-((veins / 0.03) ** 2)))

    return Material(colour, (cell_m, cell_m), gloss=gloss)


def tiles(
    code: str,
    size_m: tuple[float, float],
    *,
    joint: str = "#8d8a84",
    joint_m: float = 0.006,
    bond: bool = False,
    variation: float = 0.08,
    cell_m: float = 0.06,
    gloss: float = 0.25,
    second: str | None = None,
) -> Material:
    """Tiles with joints; ``bond`` shifts every second row by half a tile, ``second`` makes a chequerboard."""
    base, other, grout = rgb(code), rgb(second or code), rgb(joint)
    width, height = size_m

    def colour(u: np.ndarray, v: np.ndarray, key: int) -> np.ndarray:
        row = np.floor(v / height).astype(np.int64)
        moved = u + np.where(row % 2 == 1, width / 2, 0.0) if bond else u
        column = np.floor(moved / width).astype(np.int64)
        tone = 1 + variation * (hashed(row, column, key) - 0.5) + 0.06 * (clouds(u * 8, v * 8, key + 1) - 0.5)
        tile = np.where(((row + column) % 2 == 1)[:, None], other, base) * tone[:, None]
        in_joint = (moved - column * width < joint_m) | (v - row * height < joint_m)
        return np.where(in_joint[:, None], grout, tile)

    def cuts(length_u_m: float, length_v_m: float) -> tuple[list[float], list[float]]:
        step = width / 2 if bond else width
        along_u = [k * step + d for k in range(int(length_u_m / step) + 1) for d in (0.0, joint_m)]
        along_v = [k * height + d for k in range(int(length_v_m / height) + 1) for d in (0.0, joint_m)]
        return along_u, along_v

    return Material(colour, (cell_m, cell_m), edge_m=0.014, gloss=gloss, cuts_m=cuts)


def sky(length_v_m: float) -> Material:
    """A bright view out of a window: hedge and trees below, pale sky above."""

    def colour(u: np.ndarray, v: np.ndarray, key: int) -> np.ndarray:
        height = v / length_v_m
        tree_line = 0.22 + 0.24 * clouds(u * 2.4, u * 0, key)
        leaves = rgb("#7fa05c") + (clouds(u * 22, v * 22, key + 7) - 0.5)[:, None] * np.array([0.35, 0.35, 0.2])
        up = np.clip((height - 0.2) / 0.8, 0, 1)[:, None]
        air = rgb("#eef6fd") * (1 - up) + rgb("#a9d0f5") * up
        air = air + (np.clip(clouds(u * 1.8, v * 4, key + 11) - 0.5, 0, 1) * 0.5)[:, None]
        return np.clip(np.where((height < tree_line)[:, None], leaves, air), 0, 1)

    return Material(colour, (0.03, 0.03), glow=1.0)


def concrete(code: str, *, lines_m: tuple[float, ...] = (), line: str = "#e3b52c", width_m: float = 0.1) -> Material:
    """Worn polished concrete, with lines painted along u that begin at ``lines_m`` (along v)."""
    base, paint = rgb(code), rgb(line)

    def colour(u: np.ndarray, v: np.ndarray, key: int) -> np.ndarray:
        wear = clouds(u * 0.9, v * 0.9, key, 4) - 0.5 + 0.25 * (clouds(u * 0.25, v * 5, key + 8) - 0.5)
        shown = shade(base, 1 + 0.3 * wear)
        for start in lines_m:
            painted = (v > start) & (v < start + width_m) & (clouds(u * 5, v * 5, key + 3) > 0.22)
            shown = np.where(painted[:, None], paint * (0.9 + 0.2 * wear)[:, None], shown)
        return shown

    def cuts(length_u_m: float, length_v_m: float) -> tuple[list[float], list[float]]:
        return [], [stop for start in lines_m for stop in (start, start + width_m)]

    return Material(colour, (0.09, 0.09), edge_m=0.03, gloss=0.2, cuts_m=cuts)


def corrugated(code: str, *, pitch_m: float = 0.25, gloss: float = 0.1) -> Material:
    """Profiled sheet metal, ribs along v."""
    base = rgb(code)

    def colour(u: np.ndarray, v: np.ndarray, key: int) -> np.ndarray:
        rib = np.clip(1.6 * np.sin(2 * np.pi * u / pitch_m), -1, 1)
        return shade(base, 0.94 + 0.07 * rib + 0.05 * (clouds(u, v, key) - 0.5))

    return Material(colour, (pitch_m / 5, 0.3), gloss=gloss)


def cartons(code: str, columns: int, rows: int, width_m: float, height_m: float) -> Material:
    """One side of a stack of cardboard boxes: gaps, packing tape, a label on some."""
    base, tape, label, ink = rgb(code), rgb("#c9b184"), rgb("#f2efe6"), rgb("#3a3733")
    wide, high = width_m / columns, height_m / rows

    def colour(u: np.ndarray, v: np.ndarray, key: int) -> np.ndarray:
        column, row = np.floor(u / wide).astype(np.int64), np.floor(v / high).astype(np.int64)
        x, y = u / wide - column, v / high - row
        tone = 1 + 0.22 * (hashed(column, row, key) - 0.5) + 0.1 * (clouds(u * 12, v * 3, key + 1) - 0.5)
        shown = shade(base, tone)
        shown = np.where((np.abs(x - 0.5) < 0.07)[:, None], tape * tone[:, None], shown)
        labelled = hashed(column, row, key + 2) > 0.45
        on_label = labelled & (x > 0.62) & (x < 0.9) & (y > 0.25) & (y < 0.65)
        text = on_label & (np.abs(y - 0.37) < 0.06)
        shown = np.where(on_label[:, None], label, shown)
        shown = np.where(text[:, None], ink, shown)
        gap = np.minimum(np.minimum(x, 1 - x) * wide, np.minimum(y, 1 - y) * high) < 0.006
        return np.where(gap[:, None], base * 0.35, shown)

    def cuts(length_u_m: float, length_v_m: float) -> tuple[list[float], list[float]]:
        parts = (0.0, 0.43, 0.57, 0.62, 0.9)
        return (
            [(column + part) * wide for column in range(columns) for part in parts],
            [(row + part) * high for row in range(rows) for part in (0.0, 0.25, 0.31, 0.43, 0.65)],
        )

    return Material(colour, (0.08, 0.08), edge_m=0.02, cuts_m=cuts)
