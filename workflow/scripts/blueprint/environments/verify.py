"""Do the modules that a stage needs import, and if not, why: said so that a person can act on it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blueprint import system
from blueprint.environments.isolation import isolation
from blueprint.environments.probe import UNDEFINED_SYMBOL
from blueprint.errors import UserError

PROBE = Path(__file__).with_name("probe.py")
IMPORTS_S = 900.0
"""torch and its like take minutes to import from a cold network disk."""
TORCH_IN_VERSION = re.compile(r"torch(\d)\.?(\d+)")
TORCH_REQUIREMENT = re.compile(r"torch\s*(?P<specifier>[=~!<>][^;]*)?\s*(;|$)")
OLDEST_DRIVER = {12: "525.60.13", 13: "580.65.06"}
"""NVIDIA's oldest Linux driver for each major CUDA version (CUDA compatibility guide, minor version compatibility)."""


@dataclass(frozen=True)
class TorchBuild:
    """What tells one build of torch from another."""

    version: str
    cuda: str | None
    commit: str | None

    def __str__(self) -> str:
        return f"torch {self.version} ({f'CUDA {self.cuda}' if self.cuda else 'no CUDA'})"


def torch_build(python: str) -> TorchBuild | None:
    """The torch that an interpreter would import, or None. It is not imported.

    Raises:
        UserError: the interpreter cannot be run.
    """
    return _examine(python, [])[0]


def verify(
    python: str, modules: Sequence[str], minimum_driver: str | None = None, root: Path | None = None
) -> TorchBuild | None:
    """Import modules in another interpreter, and hold torch's CUDA against the driver.

    Args:
        python: the interpreter of the environment.
        modules: ``package.module`` or ``package.attribute``.
        minimum_driver: the oldest NVIDIA driver that the environment's software takes, when it asks for more than
            its CUDA version does.
        root: an upstream repository: modules are imported as its programs in `examples/` would, from that folder.

    Returns:
        The torch that was found.

    Raises:
        UserError: all that does not work, with reasons and remedy.
    """
    torch, results = _examine(python, modules, root)
    problems = [explain(result, torch, python) for result in results if result["error"]]
    if problem := driver_problem(installed_driver(), torch, minimum_driver):
        problems.append(problem)
    if problems:
        raise UserError("\n".join(problems))
    return torch


def _examine(
    python: str, modules: Sequence[str], root: Path | None = None
) -> tuple[TorchBuild | None, list[dict[str, Any]]]:
    command = [python, str(PROBE), str(root / "examples") if root else "", *modules]
    try:
        finished = system.run(command, folder=root, environment=isolation(), deadline_s=IMPORTS_S)
    except UserError as error:
        raise UserError(f"{error}. Make the environment again (docs/environments.md).") from error
    lines = [json.loads(line) for line in finished.stdout.splitlines()]
    if not lines:
        raise UserError(f"{python}: it does not run:\n{finished.stderr.strip()}")
    build = lines[0]["torch"]
    results = [line for line in lines[1:] if "error" in line]
    if finished.returncode:
        died = lines[-1].get("module", "torch")
        reason = f"the interpreter died with status {finished.returncode}: {finished.stderr.strip()[-500:]}"
        results.append({"module": died, "error": reason, "missing": None, "owner": None})
    return TorchBuild(**build) if build else None, results


def explain(result: dict[str, Any], torch: TorchBuild | None, python: str) -> str:
    """One failed import in words: what is wrong, what it was built for, what was found, what to do.

    Args:
        result: a line of the probe (``module``, ``error``, ``missing``, ``owner``).
    """
    module, error = result["module"], result["error"]
    found = str(torch) if torch else "no torch"
    again = "Recreate the environment (docs/environments.md); do not install into it by hand."
    if symbol := UNDEFINED_SYMBOL.search(error):
        owner = result["owner"]
        origin = f"{owner['name']} {owner['version']}" if owner["name"] else "no installed package"
        return (
            f"{module} does not import in {python}: a compiled library was built for another torch.\n"
            f"  library          {symbol['library']} (from {origin})\n"
            f"  built for        {built_for(owner) or 'a torch that it does not name'}\n"
            f"  found            {found}\n"
            f"  undefined symbol {symbol['symbol']}\n"
            f"  {again}"
        )
    if error.startswith("ModuleNotFoundError"):
        missing = result["missing"]
        through = "" if module.split(".")[0] == missing else f", which {module} needs,"
        return f"{missing}{through} is not installed in {python}. {again}"
    return f"{module} does not import in {python} with {found}: {error}\n  {again}"


def built_for(owner: dict[str, Any]) -> str | None:
    """The torch that a library was built for: from a note beside it, its version (``+torch27``) or its needs."""
    if owner["built_for"]:
        return f"torch {owner['built_for']}"
    if tag := TORCH_IN_VERSION.search(owner["version"] or ""):
        return f"torch {tag[1]}.{tag[2]} (by its version {owner['version']})"
    for requirement in owner["requires"]:
        if (match := TORCH_REQUIREMENT.match(requirement)) and match["specifier"]:
            return f"torch{match['specifier'].strip()} (by its requirements)"
    return None


def installed_driver() -> str | None:
    """The NVIDIA driver's version, or None on a machine without one."""
    return next((driver for (driver,) in system.ask_nvidia_smi("driver_version")), None)


def driver_problem(driver: str | None, torch: TorchBuild | None, minimum_driver: str | None = None) -> str | None:
    """Why a driver is too old for a torch (and for ``minimum_driver``), or None; without a driver nothing is asked."""
    if not driver or not torch or not torch.cuda:
        return None
    oldest = max(
        minimum_driver or "0", OLDEST_DRIVER.get(int(torch.cuda.split(".")[0]), "0"), key=system.version_numbers
    )
    if system.version_numbers(driver) >= system.version_numbers(oldest):
        return None
    return (
        f"The NVIDIA driver {driver} is too old for {torch}: at least {oldest} is needed. Drivers belong to the host: "
        "update it, or rent a machine with a newer one (docs/environments.md)."
    )
