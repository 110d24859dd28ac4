"""Parametric surfaces, each cut into cells; a cell becomes one flat Gaussian.

A surface maps (s, t) in [0, 1] x [0, 1] to points and to the two tangents along s and t; their cross product points
outward. Cells are small at edges and at the material's cuts (joints, panels) and grow towards the middle, so that
outlines stay sharp while plain areas cost few Gaussians.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from blueprint.demo.materials import Material

Shape = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
Vector = Sequence[float]

LARGEST_CELL_M = 0.5  # larger ones would blur the light and reach around corners


@dataclass(frozen=True)
class Surface:
    """One piece of a skin in the scene."""

    shape: Shape  # (s [n], t [n]) -> points [n, 3], tangents along s and t [n, 3], metres
    size_m: tuple[float, float]  # lengths along s and t
    material: Material
    wraps: bool = False  # s is an angle: no edge at its ends
    bends_m: tuple[float, ...] = ()  # places along t where the surface turns a corner: no cell straddles one

    def cells(self, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Borders of the cells along s [a + 1] and t [b + 1], in 0-1; cells are ``scale`` times the material's size."""
        along_s, along_t = self.material.cuts_m(*self.size_m)
        cuts = along_s, [*along_t, *self.bends_m]
        borders = []
        for axis in (0, 1):
            cell = min(self.material.cell_m[axis] * scale, LARGEST_CELL_M)
            edge = cell if self.wraps and axis == 0 else min(self.material.edge_m * scale, cell)
            least = 1 if axis or not self.wraps else 12 if self.size_m[0] > 0.2 else 8
            borders.append(graded(self.size_m[axis], cell, edge, cuts[axis], least) / self.size_m[axis])
        return borders[0], borders[1]


def graded(length: float, cell: float, edge: float, cuts: Sequence[float] = (), least: int = 1) -> np.ndarray:
    """Cell borders [n + 1] on [0, length]: ``edge`` wide at both ends and each cut, doubling inwards to ``cell``."""
    stops = [0.0, *sorted(cut for cut in cuts if edge / 4 < cut < length - edge / 4), length]
    borders = [0.0]
    for start, stop in pairwise(stops):
        span = stop - start
        if edge >= cell or span <= 2 * edge:
            count = max(least, math.ceil(span / cell - 1e-6))
            widths = [span / count] * count
        else:
            half, width, filled = [], edge, 0.0
            while filled + width / 2 < span / 2:
                half.append(width)
                filled += width
                width = min(2 * width, cell)
            widths = np.array([*half, *reversed(half)]) * span / (2 * filled)
        borders += list(start + np.cumsum(widths))
    return np.array(borders)


def _length(vector: np.ndarray) -> float:
    """Length in metres to the nanometre: numbers of cells depend on it and must not depend on the machine."""
    return round(float(np.sqrt((vector**2).sum())), 9)


def quad(corner: Vector, along_s: Vector, along_t: Vector, material: Material) -> Surface:
    """A parallelogram; it faces ``along_s x along_t``."""
    origin, u, v = (np.array(vector, float) for vector in (corner, along_s, along_t))

    def shape(s: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        points = origin + s[:, None] * u + t[:, None] * v
        return points, np.broadcast_to(u, points.shape), np.broadcast_to(v, points.shape)

    return Surface(shape, (_length(u), _length(v)), material)


def box(low: Vector, high: Vector, material: Material, faces: str = "nsewt") -> list[Surface]:
    """Faces of an axis-aligned box, named by compass (north is +y, east is +x), t(op) and b(ottom)."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    dx, dy, dz = x1 - x0, y1 - y0, z1 - z0
    corners = {
        "n": ((x1, y1, z0), (-dx, 0, 0), (0, 0, dz)),
        "s": ((x0, y0, z0), (dx, 0, 0), (0, 0, dz)),
        "e": ((x1, y0, z0), (0, dy, 0), (0, 0, dz)),
        "w": ((x0, y1, z0), (0, -dy, 0), (0, 0, dz)),
        "t": ((x0, y0, z1), (dx, 0, 0), (0, dy, 0)),
        "b": ((x0, y1, z0), (dx, 0, 0), (0, -dy, 0)),
    }
    return [quad(*corners[face], material) for face in faces]


def lathe(
    centre: Vector, profile: Sequence[tuple[float, float]], material: Material, axis: Vector = (0, 0, 1)
) -> Surface:
    """A surface of revolution about ``axis``.

    Args:
        profile: (radius, height) in metres, up the outside and in over the top: outward is to the right of the way.
    """
    origin, up = np.array(centre, float), np.array(axis, float)
    side = np.array([0.0, 0.0, 1.0]) if abs(up[2]) < 0.5 else np.array([1.0, 0.0, 0.0])
    side = side - (side @ up) * up
    across = np.cross(up, side)
    radii, heights = np.array(profile, float).T
    steps = np.hypot(np.diff(radii), np.diff(heights))
    stations = np.concatenate([[0.0], np.cumsum(steps)])
    length = _length(stations[-1:])
    slopes = np.stack([np.diff(radii), np.diff(heights)], 1) / np.maximum(steps, 1e-9)[:, None]

    def shape(s: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        way = t * length
        radius = np.maximum(np.interp(way, stations, radii), 1e-4)[:, None]
        height = np.interp(way, stations, heights)[:, None]
        slope = slopes[np.clip(np.searchsorted(stations, way, "right") - 1, 0, len(slopes) - 1)] * length
        angle = 2 * np.pi * s[:, None]
        outward = np.cos(angle) * side + np.sin(angle) * across
        around = np.cos(angle) * across - np.sin(angle) * side
        return (
            origin + radius * outward + height * up,
            2 * np.pi * radius * around,
            slope[:, :1] * outward + slope[:, 1:] * up,
        )

    return Surface(shape, (float(2 * np.pi * radii.max()), length), material, wraps=True, bends_m=tuple(stations[1:-1]))


def tube(path: Sequence[Vector], radius_m: float, material: Material, plane: Vector) -> Surface:
    """A round bar along a polyline that lies in the plane with normal ``plane``."""
    stops, normal = np.array(path, float), np.array(plane, float)
    steps = np.diff(stops, axis=0)
    lengths = np.sqrt((steps**2).sum(1))
    stations = np.concatenate([[0.0], np.cumsum(lengths)])
    length = _length(stations[-1:])

    def shape(s: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        way = t * length
        segment = np.clip(np.searchsorted(stations, way, "right") - 1, 0, len(steps) - 1)
        along = steps[segment] / lengths[segment, None]
        centre = stops[segment] + (way - stations[segment])[:, None] * along
        side = np.cross(along, normal)
        angle = 2 * np.pi * s[:, None]
        outward = np.cos(angle) * side - np.sin(angle) * normal
        around = -np.sin(angle) * side - np.cos(angle) * normal
        return centre + radius_m * outward, 2 * np.pi * radius_m * around, along * length

    return Surface(shape, (2 * np.pi * radius_m, length), material, wraps=True, bends_m=tuple(stations[1:-1]))
