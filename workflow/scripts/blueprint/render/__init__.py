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
from blueprint.render.interface import Frame, Renderer
from blueprint.splat import Splat

__all__ = ["Frame", "Renderer", "choose_backend", "rasterize"]

log = logging.getLogger(__name__)


def choose_backend(name: Literal["auto", "cpu", "gsplat"]) -> type[Renderer]:
    """The renderer class of a backend; ``auto`` takes gsplat where it can run and logs what it took and why.

    Raises:
        UserError: ``gsplat`` is asked for and cannot run here.
    """
    obstacle = "" if name == "cpu" else _gsplat_obstacle()
    if name == "gsplat" and obstacle:
        raise UserError(f"render.backend: gsplat cannot run here: {obstacle}. Use a CUDA machine, or `cpu` or `auto`.")
    if name == "cpu" or obstacle:
        from blueprint.render.cpu import CpuRenderer

        log.info("rasterizer: cpu (%s)", "as configured" if name == "cpu" else f"auto: no gsplat, {obstacle}")
        return CpuRenderer
    from blueprint.render.gsplat import GsplatRenderer

    log.info("rasterizer: gsplat (%s)", "as configured" if name == "gsplat" else "auto: a CUDA device is present")
    return GsplatRenderer


def _gsplat_obstacle() -> str:
    """Why gsplat cannot run here; empty if it can."""
    try:
        import torch
    except ImportError:
        return "torch is not installed"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no CUDA device"
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
    threads: int = 1,
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
        threads=threads,
    )
    return renderer.frame(viewmat, K)
