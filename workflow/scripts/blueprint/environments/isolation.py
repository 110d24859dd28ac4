"""What of the user's own Python must not reach an environment: neither while it is made nor when a job runs in it.

Settings that move an installation elsewhere (`PIP_USER`, `UV_PROJECT`), or packages that come before the locked ones
(`~/.local`, `PYTHONPATH`). A mirror of the package index belongs in `pip.conf` or `uv.toml`, which are still read.
"""

from __future__ import annotations

import os

PREFIXES = ("PIP_", "UV_")
NAMES = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "PYTHONUSERBASE", "VIRTUAL_ENV")


def isolation() -> dict[str, str | None]:
    """What to change in the variables of this process for a program that is to see none of it; None: to be unset."""
    found = [name for name in os.environ if name.startswith(PREFIXES) or name in NAMES]
    return {**dict.fromkeys(found), "PYTHONNOUSERSITE": "1"}


def isolate() -> None:
    """Change the variables of this process so, for all programs that it starts."""
    for name, value in isolation().items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
