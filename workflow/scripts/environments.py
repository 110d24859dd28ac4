"""Make, guard and verify the environments of the stages. `lock` is for developers; the rest runs when one is made."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from blueprint import cli
from blueprint.environments.needs import Needs, verify_environment
from blueprint.environments.verify import verify as verify_modules
from blueprint.errors import UserError
from blueprint.files import write_json
from blueprint.system import architectures_here

log = logging.getLogger(__name__)
ENVS = Path(__file__).resolve().parents[2] / "envs"


def lock(arguments: argparse.Namespace) -> None:
    """Generate environment files from their inputs, or set one package to a version wherever it is pinned."""
    from blueprint.environments import lock as locking  # needs PyYAML, which the stages' environments lack

    if arguments.package:
        print("\n".join(locking.bump(ENVS, arguments.package) or ["nothing changed"]))
        return
    for path in locking.lock_all(ENVS):
        log.info("wrote %s", path)


def constraints(_: argparse.Namespace) -> None:
    """Pin all that envs/laptop.txt pulls in, moving as few versions as possible."""
    from blueprint.environments import lock as locking

    locking.lock_constraints(ENVS / "laptop.txt", ENVS / "laptop.constraints.txt")


def verify(arguments: argparse.Namespace) -> None:
    """Import what a stage needs; explain what does not import, or which driver is too old."""
    verify_environment(arguments.name, needs_of(arguments.name))
    log.info("%s: all modules import", arguments.name)


def check(arguments: argparse.Namespace) -> None:
    """Verify the environment that a rule runs in, then write the rule's marker."""
    name = arguments.spec["environment"]
    verify_environment(name, needs_of(name), arguments.root)
    log.info("%s: %s import", name, ", ".join(arguments.spec["modules"]))
    write_json(arguments.output, arguments.spec)


def add(arguments: argparse.Namespace) -> None:
    """Install exact packages into an environment that is already made; refuse what would move torch."""
    from blueprint.environments import supplements  # needs packaging

    supplements.add(arguments.python, arguments.requirements, build_isolation=not arguments.no_build_isolation)
    log.info("%s: added %s; torch is what it was", arguments.python, ", ".join(arguments.requirements))


def install_upstream(arguments: argparse.Namespace) -> None:
    """Install an upstream repository at a commit, from its own uv.lock, into the active conda environment."""
    from blueprint.environments.upstream import Upstream, install

    source = Upstream(arguments.repository, arguments.commit, arguments.lock_sha256, arguments.python, arguments.extra)
    log.info("installed %s", install(source, active_prefix(), arguments.name, ENVS))


def compile_gsplat(arguments: argparse.Namespace) -> None:
    """Compile gsplat for the GPUs of this machine (or the named ones), so that no job has to."""
    from blueprint.environments import gsplat_extension

    architectures = arguments.architectures or architectures_here()
    if architectures:
        log.info("compiled %s for %s", gsplat_extension.build(architectures, arguments.system_compiler), architectures)
        verify_modules(sys.executable, ["gsplat.csrc"])
    else:
        log.info("no NVIDIA GPU on this machine: gsplat is not compiled, clips are rendered on the CPU")


def needs_of(name: str) -> Needs:
    """What must import in an environment.

    Raises:
        UserError: there is none of that name.
    """
    from blueprint.engines import ENVIRONMENTS  # needs pydantic, which a Python to compile for may lack

    if name not in ENVIRONMENTS:
        raise UserError(f"{name!r}: no such environment. Environments: {', '.join(sorted(ENVIRONMENTS))}.")
    return ENVIRONMENTS[name]


def active_prefix() -> Path:
    """The conda environment that is active.

    Raises:
        UserError: there is none.
    """
    prefix = os.environ.get("CONDA_PREFIX")
    if not prefix:
        raise UserError("CONDA_PREFIX is not set: activate the environment first.")
    return Path(prefix)


def main() -> None:
    """Parse the command line and run the sub-command."""
    commands = cli.Commands(__doc__)
    command = commands.add(lock)
    command.add_argument("--package", help="name==version to set wherever that package is pinned")
    commands.add(constraints)
    command = commands.add(check)
    command.add_argument("--spec", type=cli.json_argument, required=True, help="environment, modules, lock (JSON)")
    command.add_argument("--root", default="", help="folder of the upstream installation (default: its variable)")
    command.add_argument("--output", type=Path, required=True, help="marker to write")
    command = commands.add(verify)
    command.add_argument("name", help="environment, such as render")
    command = commands.add(add)
    command.add_argument("requirements", nargs="+", help="name==version, or name @ git+https://...@<commit>")
    command.add_argument("--python", default=sys.executable, help="interpreter of the environment (default: this one)")
    command.add_argument("--no-build-isolation", action="store_true", help="let a source build see the installed torch")
    command = commands.add(install_upstream)
    command.add_argument("name", help="folder under share/ of the environment")
    command.add_argument("--repository", required=True)
    command.add_argument("--commit", required=True, help="full commit")
    command.add_argument("--lock-sha256", required=True, help="digest of the repository's uv.lock")
    command.add_argument("--python", required=True, help="exact version")
    command.add_argument("--extra", help="extra of the project to install")
    command = commands.add(compile_gsplat)
    command.add_argument(
        "--architectures", help="CUDA compute capabilities, such as '8.9;9.0' (default: this machine's)"
    )
    command.add_argument(
        "--system-compiler", action="store_true", help="take the nvcc on PATH, in a Python that follows no lock"
    )
    commands.run()


if __name__ == "__main__":
    cli.run(main)
