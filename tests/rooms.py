"""Small scenes for the tests of camera paths: a furnished room and an object, in any orientation."""

from __future__ import annotations

import gsply
import numpy as np
from scipy.spatial.transform import Rotation

from blueprint.axes import level_from_world
from blueprint.splat import Splat
from splats import make_splat

ROOM_M = (5.0, 4.0, 2.6)
TABLE = ((2.0, 1.6, 0.0), (3.2, 2.4, 0.75))
CUPBOARD = ((0.0, 3.4, 0.0), (1.2, 4.0, 2.2))
SPACING_M = 0.09
LEVEL_QUATS = {0: (np.sqrt(0.5), 0, np.sqrt(0.5), 0), 1: (np.sqrt(0.5), np.sqrt(0.5), 0, 0), 2: (1, 0, 0, 0)}


def box_faces(low, high, spacing_m=SPACING_M):
    """Centres [N, 3] and normal axes [N] of a box's surface."""
    low, high = np.array(low), np.array(high)
    points, normals = [], []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        steps = [np.arange(low[other] + spacing_m / 2, high[other], spacing_m) for other in others]
        grid = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 2)
        for side in (low, high):
            face = np.empty((len(grid), 3))
            face[:, others], face[:, axis] = grid, side[axis]
            points.append(face)
            normals.append(np.full(len(face), axis))
    return np.concatenate(points), np.concatenate(normals)


def boxes(*bounds, spacing_m=SPACING_M, colours=((0.7, 0.6, 0.5), (0.5, 0.3, 0.2), (0.3, 0.4, 0.6))) -> Splat:
    """A splat of flat Gaussians on the surfaces of boxes."""
    parts = [box_faces(low, high, spacing_m) for low, high in bounds]
    points = np.concatenate([part[0] for part in parts])
    normals = np.concatenate([part[1] for part in parts])
    shade = np.concatenate([np.tile(colours[i % 3], (len(part[0]), 1)) for i, part in enumerate(parts)])
    checks = 0.75 + 0.25 * (np.floor(points.sum(axis=1) * 2.5) % 2)
    return make_splat(
        points,
        (0.6 * spacing_m, 0.6 * spacing_m, 0.002),
        quats=np.array([LEVEL_QUATS[axis] for axis in normals]),
        opacities=0.95,
        colours=shade * checks[:, None],
    )


def room() -> Splat:
    """A room of 5 x 4 x 2.6 m with a table and a cupboard; z up, floor at 0."""
    return boxes(((0, 0, 0), ROOM_M), TABLE, CUPBOARD)


def turned(splat: Splat, up_axis: str, floor_height_m: float = 0.0, was: str = "z") -> Splat:
    """The same scene (its colours of degree 0) with another axis up than it was, and another floor height."""
    to_world = np.linalg.inv(level_from_world(up_axis, floor_height_m)) @ level_from_world(was, 0.0)
    w, x, y, z = rotation_to_quat(to_world[:3, :3])
    a, b, c, d = splat.quats.T
    quats = np.stack(
        [
            w * a - x * b - y * c - z * d,
            w * b + x * a + y * d - z * c,
            w * c - x * d + y * a + z * b,
            w * d + x * c - y * b + z * a,
        ],
        axis=1,
    )
    means = splat.means @ to_world[:3, :3].T + to_world[:3, 3]
    return Splat(np.float32(means), splat.scales, np.float32(quats), splat.opacities, splat.sh[:, :1])


def rotation_to_quat(rotation):
    """Unit quaternion, w first, of a rotation matrix."""
    x, y, z, w = Rotation.from_matrix(rotation).as_quat()
    return w, x, y, z


def write_ply(path, splat: Splat) -> None:
    """Write a splat as a 3DGS PLY."""
    data = gsply.GSData.from_arrays(
        means=splat.means,
        scales=np.log(splat.scales),
        quats=splat.quats,
        opacities=np.float32(np.log(splat.opacities / (1 - splat.opacities))),
        sh0=np.ascontiguousarray(splat.sh[:, 0]),
        format="ply",
    )
    gsply.plywrite(path, data)


def clip(path, **keys):
    """The specification of a clip as the workflow hands it to the camera program."""
    common = {"frames": 24, "width": 64, "height": 48, "fps": 12, "up_axis": "z", "floor_height_m": 0.0}
    return {**common, "path": path, "index": 0, **keys}
