"""The demo scenes: procedural rooms as real 3D Gaussian splats, the same bytes for the same seed."""

from blueprint.demo.gaussians import GAUSSIANS, SCENES, build, write

__all__ = ["GAUSSIANS", "SCENES", "build", "write"]
