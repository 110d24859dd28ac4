"""Configurations small enough to run in seconds, and what the workflow makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from blueprint.demo import gaussians
from splats import random_splat


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


def write_splat(path: Path, count: int = 200) -> None:
    """Write a few random Gaussians as a 3DGS PLY."""
    path.parent.mkdir(parents=True, exist_ok=True)
    gaussians.write(random_splat(count), path)
