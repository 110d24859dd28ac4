"""Scenes: 3D Gaussian splats read from files, checked, and held in one activated form."""

from blueprint.splat.load import Survey, load, survey
from blueprint.splat.scene import Splat

__all__ = ["Splat", "Survey", "load", "survey"]
