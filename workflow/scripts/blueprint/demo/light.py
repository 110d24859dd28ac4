"""Baked light: how bright every place of the scene is, and what its glossy surfaces mirror.

Light is gathered at a coarse grid of nodes per surface and interpolated. A node sees the windows and lamps (area
lights with shadow rays against the solids) and an even ambient light dimmed by ambient occlusion. The mirrored light of
a glossy surface is a cosine-power lobe around the mirror direction, projected to spherical harmonics of degree 2.
"""

from __future__ import annotations

import numpy as np

from blueprint.demo.room import Room
from blueprint.demo.surfaces import Surface

AMBIENT = np.array([0.36, 0.355, 0.34])
OCCLUSION_M = 0.9
RAYS = 24
CHUNK = 2048  # rays traced together: few enough that most solids are out of their reach
LOBE_POWER = 10
COEFFICIENTS = 9  # spherical harmonics of degree 2


def nodes_of(surface: Surface, node_m: float) -> tuple[int, int]:
    """Number of light nodes along s and t, about ``node_m`` metres apart."""
    return tuple(max(2, round(size / node_m) + 1) for size in surface.size_m)


def bake(room: Room, points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Light that arrives at nodes.

    Args:
        points: [n, 3] metres.
        normals: [n, 3] unit, outward.

    Returns:
        Irradiance over pi [n, 3] (linear RGB) and SH coefficients [n, 9, 3] of the mirrored light of a perfect gloss.
    """
    start = points + 0.012 * normals
    light = AMBIENT * ambient_occlusion(room, start, normals)[:, None]
    mirrored = np.zeros((len(points), COEFFICIENTS, 3))
    for lamp in room.lamps:
        corner, along_s, along_t = (np.array(v, float) for v in (lamp.corner, lamp.along_s, lamp.along_t))
        facing = np.cross(along_s, along_t)
        area = np.sqrt(facing @ facing)
        facing = facing / area
        count = 1 + int(area > 0.1) + int(area > 1)
        steps = (np.arange(count) + 0.5) / count
        received = np.zeros(len(points))
        towards = np.zeros_like(points)
        for s in steps:
            for t in steps:
                way = corner + s * along_s + t * along_t - start
                distance = np.sqrt((way**2).sum(1))
                cosines = np.clip((way * normals).sum(1), 0, None) * np.clip(-(way * facing).sum(1), 0, None)
                patch = area / count**2
                arriving = cosines / distance**2 * patch / (np.pi * (distance**2 + patch))
                lit = np.flatnonzero(arriving > 1e-5)
                free = np.isinf(first_hit(room.solids, start[lit], 0.99 * way[lit]))
                received[lit] += arriving[lit] * free
                towards[lit] += way[lit] * (free * np.sqrt(arriving[lit]) / distance[lit])[:, None]
        light += received[:, None] * np.array(lamp.radiance)
        reach = np.sqrt((towards**2).sum(1))
        direction = towards / np.maximum(reach, 1e-9)[:, None]
        mirror = 2 * (direction * normals).sum(1)[:, None] * normals - direction
        strength = np.minimum(reach, 1.0)[:, None] * np.array(lamp.radiance) / max(lamp.radiance)
        mirrored += lobe(mirror)[:, :, None] * strength[:, None, :]
    return light, mirrored


def ambient_occlusion(room: Room, start: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Share [n] of the ambient light that reaches each point; near walls and solids less arrives."""
    helper = np.where(np.abs(normals[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    side = np.cross(helper, normals)
    side /= np.sqrt((side**2).sum(1))[:, None]
    across = np.cross(normals, side)
    open_share = np.zeros(len(start))
    for ray in range(RAYS):  # cosine-weighted spiral over the hemisphere
        radius, angle = np.sqrt((ray + 0.5) / RAYS), ray * 2.399963229728653
        direction = radius * np.cos(angle) * side + radius * np.sin(angle) * across + np.sqrt(1 - radius**2) * normals
        way = OCCLUSION_M * direction
        free = np.minimum(first_hit(room.solids, start, way), to_the_walls(room, start, way))
        open_share += np.sqrt(np.minimum(free, 1)) / RAYS
    return open_share


def first_hit(solids: list[tuple[np.ndarray, np.ndarray]], start: np.ndarray, way: np.ndarray) -> np.ndarray:
    """How far [n] segments (start and way [n, 3], metres) are free of solids, as a share of the way; else infinity."""
    lows, highs = np.array(solids).transpose(1, 0, 2)
    nearest = np.full(len(start), np.inf)
    for first in range(0, len(start), CHUNK):
        chunk = slice(first, first + CHUNK)
        begin, inverse = np.ascontiguousarray(start[chunk].T), np.ascontiguousarray(_inverse(way[chunk]).T)
        ends = start[chunk] + way[chunk]
        least = np.minimum(start[chunk], ends).min(0)
        most = np.maximum(start[chunk], ends).max(0)
        for solid in np.flatnonzero(((lows < most) & (highs > least)).all(1)):
            enter, leave = np.zeros(begin.shape[1]), np.ones(begin.shape[1])
            for axis in range(3):
                one = (lows[solid, axis] - begin[axis]) * inverse[axis]
                two = (highs[solid, axis] - begin[axis]) * inverse[axis]
                np.maximum(enter, np.minimum(one, two), out=enter)
                np.minimum(leave, np.maximum(one, two), out=leave)
            enter[enter >= leave] = np.inf
            np.minimum(nearest[chunk], enter, out=nearest[chunk])
    return nearest


def to_the_walls(room: Room, start: np.ndarray, way: np.ndarray) -> np.ndarray:
    """How far [n] it is to the inside of the room's walls, as a share of the way [n, 3]; above 1 beyond its end."""
    ends = np.where(way > 0, np.array(room.high), np.array(room.low))
    return np.clip((ends - start) * _inverse(way), 0, None).min(1)


def _inverse(way: np.ndarray) -> np.ndarray:
    return 1 / np.where(np.abs(way) < 1e-9, 1e-9, way)


def lobe(axis: np.ndarray) -> np.ndarray:
    """SH coefficients [n, 9] of max(0, cos)^LOBE_POWER around unit axes [n, 3], scaled to a peak of about 1.

    ``axis`` points from the surface to the viewer; 3DGS evaluates its harmonics along the opposite direction.
    """
    p = LOBE_POWER
    moments = np.array([1 / (p + 1), 1 / (p + 2), (3 / (p + 3) - 1 / (p + 1)) / 2])
    peak = (np.array([0.5, 1.5, 2.5]) * moments).sum()
    per_band = 2 * np.pi * moments / peak
    return sh_basis(-axis) * np.repeat(per_band, [1, 3, 5])


def sh_basis(direction: np.ndarray) -> np.ndarray:
    """Real spherical harmonics [n, 9] of unit directions [n, 3], signed as in 3D Gaussian splatting (Kerbl 2023)."""
    x, y, z = direction.T
    return np.stack(
        [
            np.full_like(x, 0.28209479177387814),
            -0.4886025119029199 * y,
            0.4886025119029199 * z,
            -0.4886025119029199 * x,
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (2 * z * z - x * x - y * y),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (x * x - y * y),
        ],
        axis=1,
    )
