"""What the weights are called on the hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CONTROLNETS = {"edge": "edge", "depth": "depth", "seg": "seg", "vis": "blur"}


def controlnet_revision(settings: Mapping[str, Any], control: str) -> str:
    """Revision of the weights' repository that holds a control's ControlNet."""
    return settings["diffusers_controlnet_revision"].replace("{control}", CONTROLNETS[control])
