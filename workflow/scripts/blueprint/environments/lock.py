"""From short human-written inputs to exact environment files.

`envs/<name>.in.yaml` names lists of conda packages and the direct pins from the package index. `envs/<name>.yaml`,
which Snakemake hands to conda, is generated from it: every conda package with version and build, every package from the
index with version and hashes, the whole closure. One hash puts pip in hash-checking mode: nothing else can come in.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from blueprint.errors import UserError
from blueprint.files import value_digest, whole_file, write_text

PYTHON_VERSION = "3.11"
PLATFORM = "x86_64-manylinux_2_28"
CHANNELS = ["conda-forge", "nodefaults"]
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


def lock(folder: Path, name: str, constraints: Path) -> Path:
    """Generate `<folder>/<name>.yaml`: resolve the pins for Linux on x86-64, download nothing.

    Args:
        constraints: versions to keep where the closure meets them, so that all environments share theirs.

    Raises:
        UserError: the pins do not go together, or a package has no wheel and is not listed as ``source_only``.
    """
    inputs = read_inputs(folder, name)
    pins = [_with_hashes(package) for package in resolve(inputs.pip, inputs.source_only, constraints)]
    content = {"channels": CHANNELS, "dependencies": [*inputs.conda, {"pip": pins}]}
    header = (
        f"# Generated from {name}{INPUT_SUFFIX}, which is the file to change; then run `make lock`.\n"
        f"# Inputs: sha256 {inputs.digest}\n"
    )
    target = folder / f"{name}.yaml"
    write_text(target, header + yaml.safe_dump(content, sort_keys=False, width=10_000))
    return target


def resolve(pins: tuple[str, ...], source_only: tuple[str, ...], constraints: Path) -> list[dict[str, Any]]:
    """The closure of the pins for the target platform, as the ``packages`` of a pylock file (PEP 751), by name.

    Raises:
        UserError: with uv's explanation, when there is no closure.
    """
    with tempfile.TemporaryDirectory() as folder:
        requirements, output = Path(folder, "requirements.in"), Path(folder, "pylock.toml")
        requirements.write_text("\n".join(pins), encoding="utf-8")
        options = [argument for name in source_only for argument in ("--no-binary", name)]
        options += ["--only-binary", ":all:", "--constraints", str(constraints.resolve()), "--format", "pylock.toml"]
        _compile(requirements, output, *options)
        packages = tomllib.loads(output.read_text(encoding="utf-8"))["packages"]
    return sorted(packages, key=lambda package: package["name"])


def lock_constraints(requirements: Path, target: Path) -> None:
    """Pin the closure of a requirements file; versions that ``target`` already names are kept where they still fit.

    Raises:
        UserError: with uv's explanation, when there is no closure.
    """
    with whole_file(target) as part:
        if target.exists():
            part.write_text(target.read_text(encoding="utf-8"), encoding="utf-8")
        _compile(requirements, part, "--no-header", "--no-annotate")
        header = f"# Generated: the full closure of {requirements.name}. Change it, then run `make constraints`.\n"
        part.write_text(header + part.read_text(encoding="utf-8"), encoding="utf-8")


def _compile(requirements: Path, output: Path, *options: str) -> None:
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--python-version", PYTHON_VERSION]
    command += ["--python-platform", PLATFORM, *options, "--output-file", str(output), str(requirements)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise UserError(f"{requirements}: the pins do not go together:\n{finished.stderr.strip()}")


def _with_hashes(package: dict[str, Any]) -> str:
    archives = package.get("wheels") or [package["sdist"]]
    hashes = sorted({archive["hashes"]["sha256"] for archive in archives})
    return " ".join([f"{package['name']}=={package['version']}", *(f"--hash=sha256:{value}" for value in hashes)])


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
