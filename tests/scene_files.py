"""Scenes written to files, from raw columns as a trainer keeps them."""

import gsply
import numpy as np

COUNT = 600  # more than two chunks of the compressed format
REST = {0: 0, 1: 9, 2: 24, 3: 45}


def gaussians(degree=3, count=COUNT):
    """Raw columns as a trainer keeps them: logarithms, logits, quaternions of any length."""
    rng = np.random.default_rng(7)
    return {
        "means": rng.uniform([-2, -1, 0], [3, 4, 2.5], (count, 3)),
        "log_scales": rng.uniform(-5, -2, (count, 3)),
        "quats": rng.normal(size=(count, 4)) * 3,
        "logits": rng.normal(0, 2, count),
        "dc": rng.normal(0, 0.8, (count, 3)),
        "rest": rng.normal(0, 0.2, (count, REST[degree] // 3, 3)),  # [N, coefficient, channel]
    }


def write_inria(path, raw, normals=False):
    """The layout of the 3DGS paper's own code, written here byte by byte."""
    count = len(raw["means"])
    # f_rest runs through all coefficients of red, then of green, then of blue.
    rest = raw["rest"].transpose(0, 2, 1).reshape(count, raw["rest"].shape[1] * 3)
    columns = [raw["means"]] + ([np.zeros((count, 3))] if normals else [])
    columns += [raw["dc"], rest, raw["logits"][:, None], raw["log_scales"], raw["quats"]]
    names = ["x", "y", "z"] + (["nx", "ny", "nz"] if normals else []) + [f"f_dc_{i}" for i in range(3)]
    names += [f"f_rest_{i}" for i in range(rest.shape[1])] + ["opacity"]
    names += [f"scale_{i}" for i in range(3)] + [f"rot_{i}" for i in range(4)]
    write_ply(path, names, np.concatenate(columns, axis=1).astype("<f4"))
    return path


def write_ply(path, names, table, encoding="binary_little_endian", more=""):
    header = f"ply\nformat {encoding} 1.0\nelement vertex {len(table)}\n"
    header += "".join(f"property float {name}\n" for name in names) + more + "end_header\n"
    path.write_bytes(header.encode() + table.tobytes())


def gsdata(raw):
    return gsply.GSData.from_arrays(
        means=np.float32(raw["means"]),
        scales=np.float32(raw["log_scales"]),
        quats=np.float32(raw["quats"] / np.linalg.norm(raw["quats"], axis=1, keepdims=True)),
        opacities=np.float32(raw["logits"]),
        sh0=np.float32(raw["dc"]),
        shN=np.float32(raw["rest"]) if raw["rest"].shape[1] else None,
        format="ply",
    )
