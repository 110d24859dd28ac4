"""Baked light: how bright every place of the scene is, and what its glossy surfaces mirror.

Light is gathered at a coarse grid of nodes per surface and interpolated. A node sees the windows and lamps (area
lights with shadow rays against the solids) and an even ambient light dimmed by ambient occlusion. The mirrored light of
a glossy surface is a cosine-power lobe around the mirror direction, projected to spherical harmonics of degree 2.
"""

from __future__ import annotations

import numpy as np

from blueprint.demo.room import Room
from blueprint.demo.surfaces import Surface

NODE_M = 0.1
AMBIENT = np.array([0.36, 0.355, 0.34])
OCCLUSION_M = 0.9
RAYS = 24
LOBE_POWER = 10
COEFFICIENTS = 9  # spherical harmonics of degree 2


def nodes_of(surface: Surface) -> tuple[int, int]:
    """Number of light nodes along s and t."""
    return tuple(int(np.clip(round(size / NODE_M) + 1, 2, 80)) for size in surface.size_m)


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
        count = 3 if area > 0.1 else 1
        steps = (np.arange(count) + 0.5) / count
        received = np.zeros(len(points))
        towards = np.zeros_like(points)
        for s in steps:
            for t in steps:
                way = corner + s * along_s + t * along_t - start
                distance = np.sqrt((way**2).sum(1))
                way = way / distance[:, None]
                cosines = np.clip((way * normals).sum(1), 0, 1) * np.clip(-(way @ facing), 0, 1)
                patch = area / count**2
                arriving = cosines * patch / (np.pi * (distance**2 + patch))
                lit = np.flatnonzero(arriving > 1e-5)
                free = first_hit(room, start[lit], way[lit]) > distance[lit] - 0.02
                received[lit] += arriving[lit] * free
                towards[lit] += way[lit] * (free * np.sqrt(arriving[lit]))[:, None]
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
        distance = np.minimum(first_hit(room, start, direction), to_the_walls(room, start, direction))
        open_share += np.sqrt(np.clip(distance / OCCLUSION_M, 0, 1)) / RAYS
    return open_share


def first_hit(room: Room, start: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Distance [n] along rays (start and unit direction [n, 3]) to the first solid; infinity when there is none."""
    nearest = np.full(len(start), np.inf)
    inverse = 1 / np.where(np.abs(direction) < 1e-9, 1e-9, direction)
    begin, inverse = np.ascontiguousarray(start.T), np.ascontiguousarray(inverse.T)
    for low, high in room.solids:
        enter, leave = np.full(len(start), 0.0), np.full(len(start), np.inf)
        for axis in range(3):
            one = (low[axis] - begin[axis]) * inverse[axis]
            two = (high[axis] - begin[axis]) * inverse[axis]
            np.maximum(enter, np.minimum(one, two), out=enter)
            np.minimum(leave, np.maximum(one, two), out=leave)
        hit = enter < leave
        nearest[hit] = np.minimum(nearest[hit], enter[hit])
    return nearest


def to_the_walls(room: Room, start: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Distance [n] along rays to the inside of the room's walls."""
    inverse = 1 / np.where(np.abs(direction) < 1e-9, 1e-9, direction)
    ends = np.where(direction > 0, np.array(room.high), np.array(room.low))
    return np.clip((ends - start) * inverse, 0, None).min(1)


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
