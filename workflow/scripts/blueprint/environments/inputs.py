"""What people write about environments, and whether the generated files still follow from it. Reads files only.

`envs/<name>.in.yaml` names lists of conda packages and the direct pins from the package index. `envs/<name>.yaml`,
which Snakemake hands to conda, is generated from it (see `lock`): every conda package with version and build, every
package from the index with version and hashes, the whole closure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from blueprint.errors import UserError
from blueprint.files import value_digest

INPUT_SUFFIX = ".in.yaml"
DIGEST_PATTERN = re.compile(r"^# Inputs: sha256 ([0-9a-f]{64})$", re.MULTILINE)
CONDA_PIN = re.compile(r"[a-z0-9_.-]+=[^=<>*\s]+=[^=<>*\s]+")
PIP_PIN = re.compile(r"([A-Za-z0-9._-]+)(\[[a-z0-9,_-]+\])?==[^=<>*,;\s]+")


@dataclass(frozen=True)
class Inputs:
    """What a person writes about one environment."""

    name: str
    conda: tuple[str, ...]
    """Exact conda packages, ``name=version=build``, sorted."""
    pip: tuple[str, ...]
    """Direct pins from the package index, ``name==version``."""
    source_only: tuple[str, ...]
    """Packages that are allowed to come as a source archive, for want of a wheel."""

    @property
    def digest(self) -> str:
        """What the generated file records, to tell whether it is in step."""
        return value_digest([self.conda, self.pip, self.source_only])


def names(folder: Path) -> list[str]:
    """The environments that have inputs in ``folder``."""
    return sorted(path.name.removesuffix(INPUT_SUFFIX) for path in folder.glob(f"*{INPUT_SUFFIX}"))


def read_inputs(folder: Path, name: str) -> Inputs:
    """Read `<folder>/<name>.in.yaml` and the conda lists that it names; a later list replaces what an earlier one has.

    Raises:
        UserError: the file is absent, has an unknown key, or a line in it is not exact.
    """
    path = folder / f"{name}{INPUT_SUFFIX}"
    if not path.exists():
        raise UserError(f"{path}: there is no such file. Environments: {', '.join(names(folder))}.")
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    if unknown := set(content) - {"conda", "pip", "source_only"}:
        raise UserError(f"{path}: unknown key {', '.join(sorted(unknown))}. Known keys: conda, pip, source_only.")
    packages: dict[str, str] = {}
    for list_name in content["conda"]:
        source = folder / "conda" / f"{list_name}.txt"
        if not source.exists():
            raise UserError(f"{path}: conda: found {list_name!r}, but there is no {source}.")
        for line in source.read_text(encoding="utf-8").splitlines():
            if pin := line.partition("#")[0].strip():
                _refuse_unless(CONDA_PIN, pin, source, "name=version=build")
                packages[pin.partition("=")[0]] = pin
    for pin in content["pip"]:
        _refuse_unless(PIP_PIN, pin, path, "name==version")
    return Inputs(
        name, tuple(sorted(packages.values())), tuple(sorted(content["pip"])), tuple(content.get("source_only", []))
    )


def _refuse_unless(pattern: re.Pattern[str], pin: str, source: Path, form: str) -> None:
    if not pattern.fullmatch(pin):
        raise UserError(f"{source}: found {pin!r}; every line must be exact: {form}.")


def out_of_step(folder: Path, name: str) -> str | None:
    """Why the generated file no longer follows from the inputs, or None. Looks at files only."""
    inputs = read_inputs(folder, name)
    target = folder / f"{name}.yaml"
    if not target.exists():
        return f"{target}: it is missing. Run `make lock`."
    text = target.read_text(encoding="utf-8")
    recorded = DIGEST_PATTERN.search(text)
    if not recorded or recorded[1] != inputs.digest:
        return f"{target}: it was generated from other inputs. Run `make lock`."
    *conda, index = yaml.safe_load(text)["dependencies"]
    locked = {line.split()[0] for line in index["pip"]}
    missing = [pin for pin in inputs.pip if canonical(re.sub(r"\[.*\]", "", pin)) not in locked]
    if missing or tuple(conda) != inputs.conda:
        return f"{target}: it lacks {', '.join(missing) or 'conda packages'}: it was edited by hand. Run `make lock`."
    return None


def canonical(pin: str) -> str:
    """A pin with its name in the form that lock files use (PEP 503)."""
    name, _, version = pin.partition("==")
    return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"
