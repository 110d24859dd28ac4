"""Which modules must import in the environment of each stage before anything is computed there.

The environments of engines are described by the engines; `blueprint.engines.ENVIRONMENTS` has them all.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blueprint.environments.verify import installed_driver, verify
from blueprint.errors import UserError
from blueprint.files import file_digest


@dataclass(frozen=True)
class Upstream:
    """An installation beside the environment's own packages, with an interpreter of its own at ``.venv/bin/python``."""

    root: str
    """The environment variable that names its folder."""
    modules: tuple[str, ...]
    minimum_driver: str
    """The oldest NVIDIA driver that its authors support."""


@dataclass(frozen=True)
class Needs:
    """What a stage imports: ``package.module`` or ``package.attribute``."""

    modules: tuple[str, ...]
    upstream: Upstream | None = None
    disk_gb: float = 9.0
    """Estimated size of the environment, torch with its CUDA in it."""
    gpu_modules: tuple[str, ...] = ()
    """What must import besides where there is an NVIDIA GPU: a paid one is not to be replaced by the CPU unsaid."""


STAGES = {
    "orchestration": Needs(("snakemake", "jsonschema", "rich", "jinja2", "huggingface_hub", "vastai", "psutil")),
    "render": Needs(("torch", "numpy", "scipy", "numba", "gsply", "av", "cv2"), gpu_modules=("gsplat.csrc",)),
    "metrics": Needs(("torch", "torchvision", "piq", "numpy", "av", "cv2", "pyarrow", "plotly", "jinja2")),
    "recording": Needs(("rerun", "numpy", "gsply", "av", "cv2"), disk_gb=1.0),
    "tracking": Needs(("mlflow", "rich"), disk_gb=0.4),
    "lerobot": Needs(("lerobot.datasets.lerobot_dataset", "numpy", "scipy", "av")),
    "dreamdojo": Needs(
        ("numpy", "av"),
        Upstream(
            "DREAMDOJO_ROOT",
            (
                *("torch", "transformer_engine.pytorch", "flash_attn", "lightning", "cv2"),
                "torchcodec.decoders",  # its loader would look for it again and again
                "cosmos_predict2.action_conditioned.inference",
            ),
            "570.124.06",
        ),
    ),
}


def verify_environment(name: str, needs: Needs, root: str = "") -> None:
    """Import all that a stage needs with this Python, and with the upstream one where there is one.

    Args:
        name: such as ``render``.
        needs: what it imports.
        root: folder of the upstream installation, when it is not the one that its environment variable names.

    Raises:
        UserError: what does not import and why, a driver that is too old, or an upstream that is not there.
    """
    verify(sys.executable, [*needs.modules, *(needs.gpu_modules if installed_driver() else ())])
    if upstream := needs.upstream:
        root = root or os.environ.get(upstream.root, "")
        if not root:
            raise UserError(
                f"{upstream.root} is not set: {name} needs the environment that conda makes of envs/{name}.yaml. "
                "Run with `--sdm conda`, or set it to an installation of your own (docs/environments.md)."
            )
        verify(f"{root}/.venv/bin/python", upstream.modules, upstream.minimum_driver, Path(root))


def check_spec(name: str, needs: Needs, folder: Path) -> dict[str, Any]:
    """All that the check of an environment depends on: its lock and the modules. Nothing about machine or run.

    Args:
        name: such as ``render``.
        needs: what it imports.
        folder: where the environment files are.
    """
    locks = (folder / f"{name}.yaml", folder / f"{name}.lock.txt", folder / f"{name}.post-deploy.sh")
    return {
        "environment": name,
        "modules": [*needs.modules, *(needs.upstream.modules if needs.upstream else ())],
        "lock": {path.name: file_digest(path) for path in locks if path.exists()},
    }
