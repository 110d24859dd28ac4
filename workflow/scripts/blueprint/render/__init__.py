"""Rasterizers of 3D Gaussian splats: one interface, one convention, a CPU and a CUDA backend.

Backend = choose_backend("auto")
renderer = Backend(splat, width, height, sh_degree=3, background=(0, 0, 0), near_m=0.05, far_m=100, threads=2)
for frame in renderer.frames(viewmats, Ks):
    ...
"""

from __future__ import annotations

import logging
from typing import Literal

import numpy as np

from blueprint.errors import UserError
from blueprint.lens import Lens
from blueprint.render.interface import Frame, Renderer
from blueprint.splat import Splat

__all__ = ["Frame", "Renderer", "choose_backend", "rasterize"]

log = logging.getLogger(__name__)


def choose_backend(name: Literal["auto", "cpu", "gsplat"]) -> type[Renderer]:
    """The renderer class of a backend; ``auto`` takes gsplat where there is a CUDA device, and says so.

    Raises:
        UserError: ``gsplat`` is asked for and cannot run here; or ``auto``, and gsplat does not load though there is a
            CUDA device: a GPU that is paid for is not left idle with a line in a log.
    """
    no_device = "" if name == "cpu" else _no_cuda_device()
    obstacle = no_device or ("" if name == "cpu" else _gsplat_does_not_load())
    if name == "auto" and obstacle and not no_device:
        raise UserError(
            f"render.backend: there is a CUDA device, but {obstacle}. Make the environment again "
            "(docs/environments.md), or set render.backend: cpu."
        )
    if name == "gsplat" and obstacle:
        raise UserError(f"render.backend: gsplat cannot run here: {obstacle}. Use a CUDA machine, or `cpu` or `auto`.")
    if name == "cpu" or obstacle:
        from blueprint.render.cpu import CpuRenderer

        log.info("rasterizer: cpu (%s)", "as configured" if name == "cpu" else f"auto: no gsplat, {obstacle}")
        return CpuRenderer
    from blueprint.render.gsplat import GsplatRenderer

    log.info("rasterizer: gsplat (%s)", "as configured" if name == "gsplat" else "auto: a CUDA device is present")
    return GsplatRenderer


def _no_cuda_device() -> str:
    """Why torch has no CUDA device here; empty if it has one."""
    try:
        import torch
    except ImportError:
        return "torch is not installed"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return "" if torch.cuda.is_available() else f"torch {torch.__version__} finds no CUDA device"


def _gsplat_does_not_load() -> str:
    """Why gsplat's kernels do not load; empty if they do."""
    try:
        from gsplat.cuda import _backend  # loads the compiled kernels, or compiles them
    except (ImportError, OSError, RuntimeError) as error:
        return f"the gsplat package does not load ({error})"
    return "" if _backend._C else "the gsplat package has no compiled kernels and finds no CUDA toolkit to compile them"


def rasterize(
    splat: Splat,
    viewmat: np.ndarray,  # [4, 4]
    K: np.ndarray,  # [3, 3]
    width: int,
    height: int,
    *,
    sh_degree: int = 3,
    background: tuple[float, float, float] = (0.0, 0.0, 0.0),
    near_m: float = 0.05,
    far_m: float = 100.0,
    antialiased: bool = False,
    threads: int = 1,
    lens: Lens | None = None,
) -> Frame:
    """Render one view on the CPU; for several views of a scene make a `Renderer` once."""
    from blueprint.render.cpu import CpuRenderer

    renderer = CpuRenderer(
        splat,
        width,
        height,
        sh_degree=sh_degree,
        background=background,
        near_m=near_m,
        far_m=far_m,
        antialiased=antialiased,
        threads=threads,
    )
    return renderer.frame(viewmat, K, lens)
