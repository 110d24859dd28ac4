"""Which modules must import in the environment of each stage before anything is computed there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from blueprint.files import file_digest

MODULES = {
    "render": ("torch", "numpy", "scipy", "numba", "gsply", "av", "cv2"),
    "metrics": ("torch", "torchvision", "piq", "numpy", "av", "pandas", "plotly", "jinja2"),
    "cosmos-diffusers": ("torch", "torchvision", "diffusers", "transformers", "accelerate", "numpy", "av", "cv2"),
    "cosmos-transfer": ("numpy", "av", "cv2", "huggingface_hub"),
    "dreamdojo": ("numpy", "av"),
}
UPSTREAM = {
    "cosmos-transfer": {
        "root": "COSMOS_TRANSFER_ROOT",
        "modules": ("torch", "natsort", "sam2", "transformer_engine.pytorch", "cosmos_transfer2.config"),
    },
    "dreamdojo": {
        "root": "DREAMDOJO_ROOT",
        "modules": ("torch", "piq", "transformer_engine.pytorch", "cosmos_predict2.action_conditioned.inference"),
    },
}
"""Environments that hold an upstream repository with an interpreter of its own, at ``$<root>/.venv``."""


def check_spec(environment: str, folder: Path) -> dict[str, Any]:
    """All that the check of an environment depends on: its lock and the modules. Nothing about machine or run.

    Args:
        environment: such as ``render``.
        folder: where the environment files are.
    """
    locks = (folder / f"{environment}.yaml", folder / f"{environment}.post-deploy.sh")
    return {
        "environment": environment,
        "modules": MODULES[environment],
        "upstream": UPSTREAM.get(environment),
        "lock": {path.name: file_digest(path) for path in locks if path.exists()},
    }
