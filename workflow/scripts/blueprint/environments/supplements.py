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
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from blueprint.environments.verify import TorchBuild, torch_build
from blueprint.errors import UserError

GIT_PIN = re.compile(r"git\+.+@[0-9a-f]{40}$")


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
    finished = _pip(python, "install", "--no-deps", *isolation, *requirements)
    if finished.returncode:
        raise UserError(f"pip could not install {', '.join(requirements)}:\n{finished.stderr.strip()}")
    after = torch_build(python)
    if after != before:
        raise UserError(
            f"{python}: {before} became {after or 'no torch'} while {', '.join(requirements)} was installed. "
            "This environment must not be used: delete it and make it anew."
        )


def _exact(text: str) -> Requirement:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise UserError(f"{text!r} is not a requirement ({error}). Write name==version.") from error
    exact = [part.operator for part in requirement.specifier] == ["=="] and "*" not in str(requirement.specifier)
    if not exact and not GIT_PIN.search(requirement.url or ""):
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
                "and make the environment anew."
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


def _pip(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "--no-input", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
