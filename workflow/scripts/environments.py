"""Make, guard and verify the environments of the stages. `lock` is for developers; the rest runs when one is made."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from blueprint import cli

log = logging.getLogger("environments")
ENVS = Path(__file__).resolve().parents[2] / "envs"


def lock(arguments: argparse.Namespace) -> None:
    """Generate environment files from their inputs."""
    from blueprint.environments import lock as locking  # needs PyYAML, which the stages' environments lack

    for name in arguments.names or locking.names(ENVS):
        log.info("wrote %s", locking.lock(ENVS, name, ENVS / "laptop.constraints.txt"))


def constraints(_: argparse.Namespace) -> None:
    """Pin all that envs/laptop.txt pulls in, moving as few versions as possible."""
    from blueprint.environments import lock as locking

    locking.lock_constraints(ENVS / "laptop.txt", ENVS / "laptop.constraints.txt")


def main() -> None:
    """Parse the command line and run the sub-command."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    command = commands.add_parser("lock", help=lock.__doc__)
    command.add_argument("names", nargs="*", help="environments; all when none is named")
    command.set_defaults(run=lock)

    commands.add_parser("constraints", help=constraints.__doc__).set_defaults(run=constraints)

    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    cli.run(main)
