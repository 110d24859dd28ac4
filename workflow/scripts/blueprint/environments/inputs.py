"""What people write about environments, and whether the generated files still follow from it. Reads files only.

`envs/<name>.in.yaml` names lists of conda packages and the direct pins from the package index. Two files are generated
from it (see `lock`): `envs/<name>.yaml`, which Snakemake hands to conda, with version and build of every conda package,
and `envs/<name>.lock.txt`, which uv installs while the environment is made, with the whole closure of packages from the
index and their hashes. The first names the digest of the second, so that a change of either makes another environment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from blueprint.environments.installed import read_pins
from blueprint.errors import UserError
from blueprint.files import file_digest, value_digest

INPUT_SUFFIX = ".in.yaml"
LOCK_SUFFIX = ".lock.txt"
CHANNEL = "conda-forge"
DIGEST_PATTERN = re.compile(r"^# Inputs: sha256 ([0-9a-f]{64})$", re.MULTILINE)
PACKAGES_PATTERN = re.compile(r"^# Packages from the index: sha256 ([0-9a-f]{64})$", re.MULTILINE)
CONDA_PIN = re.compile(r"([a-z0-9_.-]+=[^=<>*\s]+=[^=<>*\s]+)(?:\s+sha256:([0-9a-f]{64}))?")
PIP_PIN = re.compile(r"([A-Za-z0-9._-]+)(\[[a-z0-9,_-]+\])?==[^=<>*,;\s]+")


@dataclass(frozen=True)
class Inputs:
    """What a person writes about one environment."""

    name: str
    conda: tuple[str, ...]
    """Exact conda packages, ``name=version=build``, sorted."""
    conda_sha256: dict[str, str]
    """Digest of the archive by conda package, for those whose digest is known."""
    pip: tuple[str, ...]
    """Direct pins from the package index, ``name==version``."""
    source_only: tuple[str, ...]
    """Packages that are allowed to come as a source archive, for want of a wheel."""
    supplements: tuple[str, ...]
    """What is added to an upstream installation besides its own lock, ``name==version``, complete."""
    own_versions: bool = False
    """Whether it shares no version with the others; its direct pins then hold whatever its packages ask for."""
    left_out: tuple[str, ...] = ()
    """Packages that others ask for and nothing here imports."""

    @property
    def digest(self) -> str:
        """What the generated file records, to tell whether it is in step."""
        of_its_own = [self.left_out] if self.own_versions else []
        return value_digest([self.conda, self.conda_sha256, self.pip, self.source_only, self.supplements, *of_its_own])


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
    known = ("conda", "pip", "source_only", "supplements", "own_versions", "left_out")
    if unknown := set(content) - set(known):
        raise UserError(f"{path}: unknown key {', '.join(sorted(unknown))}. Known keys: {', '.join(known)}.")
    packages: dict[str, str] = {}
    sha256: dict[str, str] = {}
    for list_name in content["conda"]:
        source = folder / "conda" / f"{list_name}.txt"
        if not source.exists():
            raise UserError(f"{path}: conda: found {list_name!r}, but there is no {source}.")
        for line in source.read_text(encoding="utf-8").splitlines():
            if pin := line.partition("#")[0].strip():
                match = _exact(CONDA_PIN, pin, source, "name=version=build, then perhaps sha256:<hash>")
                package = match[1].partition("=")[0]
                packages[package] = match[1]
                sha256 = {**sha256, package: match[2]} if match[2] else sha256
    for pin in [*content["pip"], *content.get("supplements", [])]:
        _exact(PIP_PIN, pin, path, "name==version")
    return Inputs(
        name,
        tuple(sorted(packages.values())),
        sha256,
        tuple(sorted(content["pip"])),
        tuple(content.get("source_only", [])),
        tuple(sorted(content.get("supplements", []))),
        content.get("own_versions", False),
        tuple(content.get("left_out", [])),
    )


def _exact(pattern: re.Pattern[str], pin: str, source: Path, form: str) -> re.Match[str]:
    match = pattern.fullmatch(pin)
    if not match:
        raise UserError(f"{source}: found {pin!r}; every line must be exact: {form}.")
    return match


def out_of_step(folder: Path, name: str) -> str | None:
    """Why the generated files no longer follow from the inputs, or None. Looks at files only."""
    inputs = read_inputs(folder, name)
    target, packages = folder / f"{name}.yaml", folder / f"{name}{LOCK_SUFFIX}"
    for path in (target, packages):
        if not path.exists():
            return f"{path}: it is missing. Run `make lock`."
    text = target.read_text(encoding="utf-8")
    if recorded(DIGEST_PATTERN, text) != inputs.digest:
        return f"{target}: it was generated from other inputs. Run `make lock`."
    if recorded(PACKAGES_PATTERN, text) != file_digest(packages):
        return f"{packages}: it was edited by hand. Run `make lock`."
    pins = read_pins(packages.read_text(encoding="utf-8"))
    missing = [pin for pin in inputs.pip if read_pins(pin).items() - pins.items()]
    if missing or tuple(yaml.safe_load(text)["dependencies"]) != tuple(map(on_channel, inputs.conda)):
        return f"{target}: it lacks {', '.join(missing) or 'conda packages'}: it was edited by hand. Run `make lock`."
    return None


def recorded(pattern: re.Pattern[str], text: str) -> str | None:
    """A digest in the header of a generated file."""
    found = pattern.search(text)
    return found[1] if found else None


def on_channel(pin: str) -> str:
    """A conda package with the only channel that it may come from."""
    return f"{CHANNEL}::{pin}"
