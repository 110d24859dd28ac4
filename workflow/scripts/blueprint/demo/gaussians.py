"""From a scene description to Gaussians: every cell of every surface becomes one flat disc."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import gsply
import numpy as np

from blueprint.demo.kitchen import kitchen
from blueprint.demo.light import COEFFICIENTS, bake, nodes_of
from blueprint.demo.noise import hashed
from blueprint.demo.room import Room
from blueprint.demo.surfaces import Surface, Vector
from blueprint.demo.warehouse import warehouse
from blueprint.errors import UserError
from blueprint.files import whole_file
from blueprint.splat import Splat

SCENES: dict[str, Callable[[Mapping[str, Vector]], Room]] = {"kitchen": kitchen, "warehouse": warehouse}
GAUSSIANS = 240_000
SPREAD = 0.74  # standard deviation of a Gaussian over the size of its cell: no gaps, little blur
JITTER = 0.12  # of a cell
THICKNESS_M = 0.0015
OPACITY = 0.98
SH_C0 = 0.28209479177387814


def build(
    scene: str, *, gaussians: int = GAUSSIANS, seed: int = 0, offsets_m: Mapping[str, Vector] | None = None
) -> Splat:
    """Build a demo scene.

    Args:
        scene: a key of `SCENES`.
        gaussians: at most so many; cells grow or shrink to come close to it.
        seed: of grain, specks and jitter.
        offsets_m: how far to move pieces of furniture, by name: ``{"island": (dx, dy, dz)}``.

    Raises:
        UserError: no such scene or piece, or too few Gaussians for the scene.
    """
    if scene not in SCENES:
        raise UserError(f"--scene: there is no demo scene {scene!r}. Choose one of: {', '.join(SCENES)}.")
    room = SCENES[scene](offsets_m or {})
    room.refuse_unknown_pieces()
    scale = _scale_for(room.surfaces, gaussians)
    lights, mirrors = _light_of(room)
    parts = [
        _discs(surface, scale, light, mirror, seed * 100_003 + 101 * index)
        for index, (surface, light, mirror) in enumerate(zip(room.surfaces, lights, mirrors, strict=True))
    ]
    # Rounding hides the last bits in which the mathematics libraries of two machines differ.
    columns = [np.concatenate(column).round(5).astype(np.float32) for column in zip(*parts, strict=True)]
    means, scales, quats, sh = columns
    return Splat(means, scales, quats, np.full(len(means), OPACITY, np.float32), sh)


def write(splat: Splat, path: Path) -> None:
    """Write a scene as a PLY in the layout of the 3DGS reference code (log scales, logit opacities)."""
    opacities = splat.opacities.astype(np.float64)
    with whole_file(path) as part:
        gsply.plywrite(
            part,
            splat.means,
            np.log(splat.scales.astype(np.float64)).round(5).astype(np.float32),
            splat.quats,
            np.log(opacities / (1 - opacities)).round(5).astype(np.float32),
            np.ascontiguousarray(splat.sh[:, 0]),
            np.ascontiguousarray(splat.sh[:, 1:]),
        )


def _scale_for(surfaces: list[Surface], gaussians: int) -> float:
    """The finest scale of the cells that needs no more than so many Gaussians."""

    def count(scale: float) -> int:
        borders = [surface.cells(scale) for surface in surfaces]
        return sum((len(s) - 1) * (len(t) - 1) for s, t in borders)

    fine, coarse = 0.2, 20.0
    if count(coarse) > gaussians:
        raise UserError(f"--gaussians: {gaussians} is too few for this scene; it needs at least {count(coarse)}.")
    for _ in range(12):
        middle = (fine * coarse) ** 0.5
        fine, coarse = (fine, middle) if count(middle) <= gaussians else (middle, coarse)
    return coarse


def _light_of(room: Room) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Baked light per surface: irradiance [a, b, 3] and mirrored SH [a, b, 9, 3] on its grid of nodes."""
    grids = [nodes_of(surface, room.light_node_m) for surface in room.surfaces]
    points, normals = [], []
    for surface, (a, b) in zip(room.surfaces, grids, strict=True):
        s, t = np.meshgrid(np.linspace(0, 1, a), np.linspace(0, 1, b), indexing="ij")
        position, along_s, along_t = surface.shape(s.ravel(), t.ravel())
        points.append(position)
        normals.append(_frame(along_s, along_t)[:, :, 2])
    light, mirrored = bake(room, np.concatenate(points), np.concatenate(normals))
    stops = np.cumsum([a * b for a, b in grids])[:-1]
    lights = [part.reshape(*grid, 3) for part, grid in zip(np.split(light, stops), grids, strict=True)]
    mirrors = [
        part.reshape(*grid, COEFFICIENTS, 3) for part, grid in zip(np.split(mirrored, stops), grids, strict=True)
    ]
    return lights, mirrors


def _discs(
    surface: Surface, scale: float, light: np.ndarray, mirror: np.ndarray, key: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Means [n, 3], scales [n, 3], quaternions [n, 4] and SH [n, 9, 3] of a surface's cells."""
    borders_s, borders_t = surface.cells(scale)
    s, t = (
        grid.ravel()
        for grid in np.meshgrid(
            (borders_s[1:] + borders_s[:-1]) / 2, (borders_t[1:] + borders_t[:-1]) / 2, indexing="ij"
        )
    )
    width, height = (grid.ravel() for grid in np.meshgrid(np.diff(borders_s), np.diff(borders_t), indexing="ij"))
    index = np.arange(len(s))
    s_jittered = s + JITTER * (hashed(index, key, 1) - 0.5) * width
    t_jittered = t + JITTER * (hashed(index, key, 2) - 0.5) * height
    points, along_s, along_t = surface.shape(s_jittered, t_jittered)
    lengths = [np.sqrt((along**2).sum(1)) for along in (along_s, along_t)]
    scales = np.stack(
        [
            np.maximum(SPREAD * lengths[0] * width, THICKNESS_M),
            np.maximum(SPREAD * lengths[1] * height, THICKNESS_M),
            np.full(len(s), THICKNESS_M),
        ],
        axis=1,
    )
    colour = surface.material.colour(s * surface.size_m[0], t * surface.size_m[1], key)
    colour = np.broadcast_to(colour, (len(s), 3))
    sh = np.zeros((len(s), COEFFICIENTS, 3))
    if surface.material.glow:
        shown = np.clip(colour * surface.material.glow, 0, 1.2)
    else:
        shown = _to_display(_linear(colour) * _interpolated(light, s, t))
        if surface.material.gloss:
            sh = surface.material.gloss * _interpolated(mirror, s, t)
    sh[:, 0] += (shown - 0.5) / SH_C0
    return points, scales, _quaternions(_frame(along_s, along_t)), sh


def _interpolated(grid: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Bilinear samples [n, ...] of node values [a, b, ...] at s and t in 0-1."""
    x, y = s * (grid.shape[0] - 1), t * (grid.shape[1] - 1)
    i = np.minimum(x.astype(int), grid.shape[0] - 2)
    j = np.minimum(y.astype(int), grid.shape[1] - 2)
    trailing = (slice(None), *[None] * (grid.ndim - 2))
    u, v = (x - i)[trailing], (y - j)[trailing]
    low = grid[i, j] * (1 - u) + grid[i + 1, j] * u
    high = grid[i, j + 1] * (1 - u) + grid[i + 1, j + 1] * u
    return low * (1 - v) + high * v


def _linear(srgb: np.ndarray) -> np.ndarray:
    srgb = np.clip(srgb, 0, 1)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _to_display(radiance: np.ndarray) -> np.ndarray:
    """Linear radiance to sRGB with a soft shoulder above 0.7, as a camera exposes."""
    over = np.maximum(radiance - 0.7, 0)
    tamed = np.minimum(radiance, 0.7) + 0.3 * (1 - np.exp(-over / 0.3))
    return np.where(tamed <= 0.0031308, tamed * 12.92, 1.055 * np.maximum(tamed, 1e-9) ** (1 / 2.4) - 0.055)


def _frame(along_s: np.ndarray, along_t: np.ndarray) -> np.ndarray:
    """Rotations [n, 3, 3] whose columns are the directions of s, of t (made orthogonal) and of the normal."""
    x = along_s / np.sqrt((along_s**2).sum(1))[:, None]
    normal = np.cross(along_s, along_t)
    normal = normal / np.sqrt((normal**2).sum(1))[:, None]
    return np.stack([x, np.cross(normal, x), normal], axis=2)


def _quaternions(rotation: np.ndarray) -> np.ndarray:
    """Unit quaternions [n, 4] (w first) of rotations [n, 3, 3].

    The matrix 4 q q^T is linear in the rotation (Bar-Itzhack 2000); its row of largest norm is q, up to sign.
    """
    m = rotation
    w, x, y, z = (1 + m[:, 0, 0] * a + m[:, 1, 1] * b + m[:, 2, 2] * c for a, b, c in
                  ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)))  # fmt: skip
    wx, wy, wz = m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]
    xy, xz, yz = m[:, 0, 1] + m[:, 1, 0], m[:, 0, 2] + m[:, 2, 0], m[:, 1, 2] + m[:, 2, 1]
    outer = np.stack([w, wx, wy, wz, wx, x, xy, xz, wy, xy, y, yz, wz, xz, yz, z], 1).reshape(-1, 4, 4)
    largest = np.stack([w, x, y, z], 1).round(6).argmax(1)
    row = outer[np.arange(len(m)), largest]
    row = row / np.sqrt((row**2).sum(1))[:, None]
    # q and -q are the same rotation; take the one whose first component that is not zero is positive.
    first = (np.abs(row) > 1e-6).argmax(1)
    return row * np.sign(row[np.arange(len(m)), first])[:, None]
