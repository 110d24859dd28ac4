"""One more package for an environment that is already made, without moving the torch in it.

The only place in this repository that installs into an existing environment: exact versions, no dependencies, torch
compared before and after. Used while an environment is made, and by people; never by a job.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from blueprint import system
from blueprint.environments.isolation import isolation
from blueprint.environments.verify import TorchBuild, torch_build
from blueprint.errors import UserError

GIT_PIN = re.compile(r"git\+(https|ssh|file)://[^\s#]+@[0-9a-f]{40}")

LIST_FILES = """
import csv, importlib.metadata, json
owners = {}
for distribution in importlib.metadata.distributions():
    rows = csv.reader((distribution.read_text("RECORD") or "").splitlines())
    owners.update(dict.fromkeys((row[0] for row in rows), distribution.metadata["Name"]))
print(json.dumps(owners))
"""
"""Prints which distribution each installed file belongs to, in the Python in question, which has nothing of ours."""


def add(python: str, requirements: Sequence[str], *, build_isolation: bool = True) -> None:
    """Install exactly the named packages, and nothing else, into the environment of ``python``.

    Args:
        requirements: ``name==version`` or ``name @ git+https://...@<40 hex digits>``.
        build_isolation: False lets a package that is built from source see the installed torch.

    Raises:
        UserError: a requirement is not exact; it would move torch or another installed package (the message names the
            requirement that asks for it); it needs packages that were not named; or torch was moved after all.
    """
    pins = {requirement: _exact(requirement) for requirement in requirements}
    before = _torch_or_refuse(python)
    isolation = [] if build_isolation else ["--no-build-isolation"]
    missing = _needed_besides(python, pins, before, isolation)
    if missing:
        raise UserError(
            f"{', '.join(requirements)} also needs {', '.join(missing)}. Nothing was installed. "
            f"Name all of it: {' '.join([*requirements, *missing])}"
        )
    with tempfile.TemporaryDirectory() as folder:
        _pip_or_refuse(python, "wheel", "--no-deps", "--wheel-dir", folder, *isolation, *requirements)
        wheels = sorted(Path(folder).glob("*.whl"))
        _refuse_foreign_files(python, wheels)
        _pip_or_refuse(python, "install", "--no-deps", "--no-index", *map(str, wheels))
    after, installed = torch_build(python), _installed(python)
    if after != before:
        raise UserError(
            f"{python}: {before} became {after or 'no torch'} while {', '.join(requirements)} was installed. "
            "This environment must not be used: delete it and recreate it."
        )
    if absent := [pin.name for pin in pins.values() if canonicalize_name(pin.name) not in installed]:
        raise UserError(f"{python}: pip reported success, but {', '.join(absent)} is not installed.")


def _refuse_foreign_files(python: str, wheels: Sequence[Path]) -> None:
    """Before anything is installed: does a wheel bring a file that another distribution has installed already?

    Raises:
        UserError: it does; the message names wheel, file and owner.
    """
    found = _run([python, "-c", LIST_FILES])
    if found.returncode:
        raise UserError(f"{python}: the list of its files cannot be read:\n{found.stderr.strip()}")
    owners = json.loads(found.stdout)
    for wheel in wheels:
        own = canonicalize_name(wheel.name.partition("-")[0])
        with zipfile.ZipFile(wheel) as archive:
            # Files for the root of site-packages may also lie in folders `<name>.data/purelib` and `platlib`.
            names = [re.sub(r"^[^/]+\.data/(purelib|platlib)/", "", name) for name in archive.namelist()]
        for name in names:
            if canonicalize_name(owners.get(name, own)) != own:
                raise UserError(
                    f"{wheel.name} would write over {name}, which belongs to {owners[name]} in {python}. "
                    "Nothing was installed."
                )


def _exact(text: str) -> Requirement:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise UserError(f"{text!r} is not a requirement ({error}). Write name==version.") from error
    exact = [part.operator for part in requirement.specifier] == ["=="] and "*" not in str(requirement.specifier)
    if not exact and not GIT_PIN.fullmatch(requirement.url or ""):
        raise UserError(f"{text!r} is not exact. Write name==version, or name @ git+https://...@<full commit>.")
    return requirement


def _torch_or_refuse(python: str) -> TorchBuild:
    build = torch_build(python)
    if build is None:
        raise UserError(f"{python}: there is no torch in this environment to guard. Is it the right Python?")
    return build


def _needed_besides(python: str, pins: dict[str, Requirement], torch: TorchBuild, options: list[str]) -> list[str]:
    """What pip would install besides the named packages, when nothing that is installed may change.

    Raises:
        UserError: it cannot be had without moving something.
    """
    installed = _installed(python)
    named = {canonicalize_name(pin.name) for pin in pins.values()}
    if "torch" in named:
        raise UserError(f"torch is not to be changed: {python} has {torch}. Another torch means another environment.")
    for pin in pins.values():
        version = installed.get(canonicalize_name(pin.name))
        if version and pin.specifier and not pin.specifier.contains(version, prereleases=True):
            raise UserError(
                f"{pin} would replace {pin.name} {version} in {python}. Change envs/*.in.yaml, run `make lock` "
                "and recreate the environment."
            )
    kept = [f"{name}=={version}" for name, version in installed.items() if name not in named]
    plan = _plan(python, [*options, *pins], kept, torch)
    return sorted(f"{name}=={version}" for name, version in plan.items() if name not in named)


def _plan(python: str, requirements: list[str], constraints: list[str], torch: TorchBuild) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        fixed, report = Path(folder, "constraints.txt"), Path(folder, "report.json")
        fixed.write_text("\n".join(constraints), encoding="utf-8")
        options = ["--dry-run", "--report", str(report), "--constraint", str(fixed)]
        finished = _pip(python, "install", *options, *requirements)
        if finished.returncode:
            conflict = finished.stdout.partition("The conflict is caused by:")[2].partition("\n\n")[0]
            conflict = conflict.replace("The user requested (constraint)", "installed here is")
            raise UserError(
                f"{' '.join(requirements)} does not fit {python}, which has {torch} and keeps it. "
                f"Nothing was installed:{conflict or chr(10) + finished.stderr.strip()}"
            )
        entries = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {canonicalize_name(entry["metadata"]["name"]): entry["metadata"]["version"] for entry in entries}


def _installed(python: str) -> dict[str, str]:
    finished = _pip(python, "inspect")
    if finished.returncode:
        raise UserError(f"{python}: pip cannot look into this environment:\n{finished.stderr.strip()}")
    entries = [entry["metadata"] for entry in json.loads(finished.stdout)["installed"]]
    return {canonicalize_name(entry["name"]): entry["version"] for entry in entries}


def _pip_or_refuse(python: str, *arguments: str) -> None:
    finished = _pip(python, *arguments)
    if finished.returncode:
        raise UserError(f"pip {arguments[0]} failed for {python}:\n{finished.stderr.strip()}")


def _pip(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return _run([sys.executable, "-m", "pip", "--python", python, "--no-input", *arguments])


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**isolation(), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return system.run(command, environment=environment, deadline_s=2 * 3600)
