"""How the controls of a variant reach a server."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

HINTS = {"depth": "depth", "edge": "edge", "vis": "blur", "seg": "seg"}
"""What the model calls a control."""
COMPUTED = ("edge", "vis")
"""What a server makes of the colour clip when it is given no control video."""


def uploads(controls: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The controls of which a server must be given a video."""
    return [name for name, control in controls.items() if name not in COMPUTED or "control_path" in control]


def is_loopback(url: str) -> bool:
    """Whether a server is on this machine, and so reads its files."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
