"""Fill an environment that conda has just made with what its lock names, and leave the record that jobs are held to.

conda makes Python and, for `render`, a compiler; everything else is installed by uv, which takes seconds where pip
takes minutes and keeps one cache for all environments, so that a package is downloaded once. Standard library only:
nothing else is there yet.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path

from blueprint import system
from blueprint.environments.installed import Upstream, read_pins, write_record
from blueprint.environments.isolation import isolation
from blueprint.errors import UserError

CONDA_LINE = re.compile(r"^- ([a-z0-9-]+)::([a-z0-9_.-]+)=([^=\s]+)=([^=\s]+)$", re.MULTILINE)
INSTALLATION_S = 2 * 3600.0
SHA256_LINE = re.compile(r"^# ([a-z0-9_.-]+): sha256 ([0-9a-f]{64})$", re.MULTILINE)


def fill(prefix: Path, envs: Path, name: str) -> None:
    """Check conda's packages, install the locked ones from the index, and write the record.

    Args:
        prefix: the environment's folder; its Python runs this.
        envs: where the environment files are.
        name: such as ``render``.

    Raises:
        UserError: conda did not make this environment, made it of other packages, or an installation failed.
    """
    refuse_other_conda(prefix, (envs / f"{name}.yaml").read_text(encoding="utf-8"))
    lock = envs / f"{name}.lock.txt"
    install(sys.executable, lock)
    write_record(prefix, name, read_pins(lock.read_text(encoding="utf-8")))


def refuse_other_conda(prefix: Path, text: str) -> None:
    """Hold what conda installed against an environment file: version, build and channel, and hashes where it has them.

    Raises:
        UserError: every package that differs.
    """
    records = [json.loads(path.read_text(encoding="utf-8")) for path in (prefix / "conda-meta").glob("*.json")]
    if not records:
        raise UserError(f"{prefix}: conda did not make this environment. Nothing was installed into it.")
    there = {record["name"]: record for record in records}
    hashes = dict(SHA256_LINE.findall(text))
    wrong = []
    for channel, name, version, build in CONDA_LINE.findall(text):
        record = there.pop(name, {})
        found = f"{record['version']}={record['build']} from {record['channel']}" if record else "none"
        if (record.get("version"), record.get("build")) != (version, build) or channel not in record["channel"]:
            wrong.append(f"{name}: locked {version}={build} from {channel}, found {found}")
        elif name in hashes and record.get("sha256") != hashes[name]:
            wrong.append(f"{name}: locked sha256 {hashes[name]}, found {record.get('sha256')}")
    wrong += [f"{name}: not locked, found {record['version']}" for name, record in there.items()]
    if wrong:
        raise UserError("\n  ".join([f"{prefix}: conda made another environment than the one that is locked:", *wrong]))


def install(python: str, lock: Path) -> None:
    """Install every package of a lock with uv, hashes required; this Python brings the locked uv along first.

    Args:
        python: the interpreter to install for.

    Raises:
        UserError: with the installer's own words.
    """
    uv = [line for line in lock.read_text(encoding="utf-8").splitlines() if line.startswith("uv==")]
    if uv:
        with tempfile.TemporaryDirectory() as folder:
            requirements = Path(folder, "uv.txt")
            requirements.write_text(uv[0], encoding="utf-8")
            run([sys.executable, "-m", "pip", "install", "--no-deps", "--require-hashes", "-r", str(requirements)])
    # What has no wheel is built by the setuptools that is there, in no environment of its own with unlocked packages.
    options = ["--no-deps", "--require-hashes", "--no-build-isolation"]
    run([sys.executable, "-m", "uv", "pip", "install", "--python", python, *options, "-r", str(lock)])


def run(command: list[str], folder: Path | None = None, **variables: str) -> None:
    """Run an installer, away from the user's own settings.

    Raises:
        UserError: it failed.
    """
    finished = system.run(command, folder=folder, environment={**isolation(), **variables}, deadline_s=INSTALLATION_S)
    if finished.returncode:
        where = f"{folder}: " if folder else ""
        raise UserError(f"{where}`{' '.join(command[1:])}` failed:\n{finished.stderr.strip()}")


def add_to_record(prefix: Path, envs: Path, name: str, upstream: Upstream) -> None:
    """Write the record again, with an upstream installation that has been made beside the environment."""
    write_record(prefix, name, read_pins((envs / f"{name}.lock.txt").read_text(encoding="utf-8")), upstream)
