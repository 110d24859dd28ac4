"""Stop unless this Python holds exactly what its lock names. Runs before every job, by the same interpreter."""

from __future__ import annotations

import sys
from pathlib import Path

from blueprint.environments.installed import check
from blueprint.errors import UserError

if __name__ == "__main__":
    try:
        check(Path(__file__).resolve().parents[2] / "envs")
    except UserError as error:
        sys.exit(f"error: {error}")
