"""Fill the environment of this Python, which conda has just made, with all that its lock names."""

from __future__ import annotations

import sys
from pathlib import Path

from blueprint import cli
from blueprint.environments.fill import fill

ENVS = Path(__file__).resolve().parents[2] / "envs"


def main() -> None:
    """Take the environment's name from the command line."""
    fill(Path(sys.prefix), ENVS, sys.argv[1])


if __name__ == "__main__":
    cli.run(main)
