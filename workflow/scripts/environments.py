"""Make, guard and verify the environments of the stages. `lock` is for developers; the rest runs when one is made."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from blueprint import cli
from blueprint.environments.verify import verify
from blueprint.errors import UserError
from blueprint.files import write_json

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


def check(arguments: argparse.Namespace) -> None:
    """Import what a stage needs, in this Python (and in the upstream one), then write the marker."""
    spec = arguments.spec
    verify(sys.executable, spec["modules"])
    if upstream := spec["upstream"]:
        root = os.environ.get(upstream["root"])
        if not root:
            raise UserError(
                f"{upstream['root']} is not set: {spec['environment']} runs in the environment that conda makes of "
                f"envs/{spec['environment']}.yaml. Run with `--sdm conda`, or set it (docs/environments.md)."
            )
        verify(f"{root}/.venv/bin/python", upstream["modules"], path=root)
    log.info("%s: %s import", spec["environment"], ", ".join(spec["modules"]))
    write_json(arguments.output, spec)


def verify_modules(arguments: argparse.Namespace) -> None:
    """Import modules and hold torch's CUDA against the driver; explain what fails."""
    found = verify(arguments.python, arguments.module, arguments.minimum_driver, path=arguments.path)
    log.info("%s: %s, %d modules import", arguments.python, found or "no torch", len(arguments.module))


def add(arguments: argparse.Namespace) -> None:
    """Install exact packages into an environment that is already made; refuse what would move torch."""
    from blueprint.environments import supplements  # needs packaging

    supplements.add(arguments.python, arguments.requirements, build_isolation=not arguments.no_build_isolation)
    log.info("%s: added %s; torch is what it was", arguments.python, ", ".join(arguments.requirements))


def main() -> None:
    """Parse the command line and run the sub-command."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    command = commands.add_parser("lock", help=lock.__doc__)
    command.add_argument("names", nargs="*", help="environments; all when none is named")
    command.set_defaults(run=lock)

    commands.add_parser("constraints", help=constraints.__doc__).set_defaults(run=constraints)

    command = commands.add_parser("check", help=check.__doc__)
    command.add_argument("--spec", type=cli.json_argument, required=True, help="environment, modules, lock (JSON)")
    command.add_argument("--output", type=Path, required=True, help="marker to write")
    command.set_defaults(run=check)

    command = commands.add_parser("verify", help=verify_modules.__doc__)
    command.add_argument("module", nargs="*", help="package.module or package.attribute")
    command.add_argument("--python", default=sys.executable, help="interpreter of the environment (default: this one)")
    command.add_argument("--path", help="folder whose modules are to be found too")
    command.add_argument("--minimum-driver", metavar="VERSION", help="oldest NVIDIA driver")
    command.set_defaults(run=verify_modules)

    command = commands.add_parser("add", help=add.__doc__)
    command.add_argument("requirements", nargs="+", help="name==version, or name @ git+https://...@<commit>")
    command.add_argument("--python", default=sys.executable, help="interpreter of the environment (default: this one)")
    command.add_argument("--no-build-isolation", action="store_true", help="let a source build see the installed torch")
    command.set_defaults(run=add)

    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    cli.run(main)
