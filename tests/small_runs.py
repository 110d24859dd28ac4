"""Configurations small enough to run in seconds, and what the workflow makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gsply
import numpy as np


def small_config(**changes: Any) -> dict[str, Any]:
    """One facility, two clips of four frames, three variants."""
    return {
        "facilities": [
            {"name": "kitchen", "scene": "resources/demo/kitchen.ply", "description": "a small kitchen"},
        ],
        "render": {"width": 192, "height": 176, "fps": 8, "frames": 4},
        "clips": [{"name": "orbit", "path": "orbit"}, {"name": "sweep", "path": "sweep"}],
        "enrich": {
            "engine": "photometric",
            "variants": [
                {"name": "evening", "preset": "warm_evening"},
                {"name": "neon", "preset": "cold_fluorescent"},
                {"name": "fog", "preset": "haze"},
            ],
        },
        "metrics": {"names": ["psnr", "ssim", "ms_ssim"]},
        **changes,
    }


def write_splat(path: Path, count: int = 8) -> None:
    """Write a few Gaussians as a 3DGS PLY."""
    path.parent.mkdir(parents=True, exist_ok=True)
    positions = np.random.default_rng(0).uniform(-1, 1, (count, 3)).astype(np.float32)
    quats = np.tile(np.float32([1, 0, 0, 0]), (count, 1))
    gsply.plywrite(path, positions, np.full_like(positions, -4), quats, np.zeros(count, np.float32), positions)
