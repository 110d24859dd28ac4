"""From short human-written inputs (see `inputs`) to exact environment files. For developers: it asks the package index.

Every package from the index has its hashes, and uv is told to require them, so that nothing can come into an
environment that its lock does not name.
"""

from __future__ import annotations

import re
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import yaml

from blueprint import system
from blueprint.environments.inputs import CHANNEL, INPUT_SUFFIX, LOCK_SUFFIX, Inputs, names, on_channel, read_inputs
from blueprint.environments.installed import normalised, read_pins
from blueprint.environments.isolation import isolation
from blueprint.errors import UserError
from blueprint.files import file_digest, whole_file, write_text

PYTHON_VERSION = "3.11"
UPSTREAM_PYTHON_VERSION = "3.10"
PLATFORM = "x86_64-manylinux_2_28"
CONSTRAINTS = "laptop.constraints.txt"
ANY_PIN = re.compile(r"(?<![\w.-])([A-Za-z0-9][\w.-]*?)(\[[^\]]*\])?==([^\s,;\]]+)")
BUILD = "build.in.txt"
"""What upstream's source packages are built with, as direct pins; its lock is `build.lock.txt`."""


def lock(folder: Path, name: str) -> list[Path]:
    """Generate `<name>.lock.txt` and `<name>.yaml` in ``folder``: resolve for Linux on x86-64, download no package.

    Versions that `laptop.constraints.txt` names are kept, so that all environments share theirs; so is its uv, which
    every environment is filled by. Inputs with ``own_versions`` share none, and theirs hold whatever packages ask for.

    Raises:
        UserError: the pins do not go together, or a package has no wheel and is not listed as ``source_only``.
    """
    inputs, constraints = read_inputs(folder, name), folder / CONSTRAINTS
    uv = f"uv=={read_pins(constraints.read_text(encoding='utf-8'))['uv']}"
    head = f"# Generated from {name}{INPUT_SUFFIX}, which is the file to change; then run `make lock`.\n"
    packages = folder / f"{name}{LOCK_SUFFIX}"
    _write_lock(packages, head, resolve_inputs(inputs, constraints, uv))
    written = [packages]
    if inputs.supplements:
        written.append(folder / f"{name}.supplements{LOCK_SUFFIX}")
        _write_lock(written[-1], head, resolve(inputs.supplements, (), None, UPSTREAM_PYTHON_VERSION, "--no-deps"))
    digests = "".join(f"# Packages from the index: sha256 {file_digest(path)}\n" for path in written)
    archives = "".join(f"# {package}: sha256 {value}\n" for package, value in sorted(inputs.conda_sha256.items()))
    content = {"channels": [CHANNEL], "dependencies": [on_channel(pin) for pin in inputs.conda]}
    target = folder / f"{name}.yaml"
    write_text(
        target, f"{head}# Inputs: sha256 {inputs.digest}\n{digests}{archives}{yaml.safe_dump(content, sort_keys=False)}"
    )
    return [target, *written]


def lock_build(folder: Path) -> Path:
    """Generate `build.lock.txt`: with which upstream's source packages are built."""
    source, target = folder / BUILD, folder / f"build{LOCK_SUFFIX}"
    pins = tuple(f"{name}=={version}" for name, version in read_pins(source.read_text(encoding="utf-8")).items())
    head = f"# Generated from {BUILD}, which is the file to change; then run `make lock`.\n"
    _write_lock(target, head, resolve(pins, (), None, UPSTREAM_PYTHON_VERSION))
    return target


def bump(folder: Path, pin: str) -> list[str]:
    """Set one package to a version wherever it is pinned, and lock everything again; all or nothing.

    Args:
        pin: ``name==version``.

    Returns:
        What changed, a line for each package and file.

    Raises:
        UserError: nothing pins the package, or the new version does not go with the rest. No file is changed then.
    """
    wanted = read_pins(pin)
    if len(wanted) != 1 or "==" not in pin:
        raise UserError(f"PACKAGE: found {pin!r}. Write name==version.")
    name, version = next(iter(wanted.items()))
    sources = [folder / "laptop.txt", folder / BUILD, *(folder / f"{one}{INPUT_SUFFIX}" for one in names(folder))]
    locks = [folder / CONSTRAINTS, *sorted(folder.glob(f"*{LOCK_SUFFIX}"))]
    generated = [*locks, *(folder / f"{one}.yaml" for one in names(folder))]
    before = {path: path.read_text(encoding="utf-8") for path in (*sources, *generated) if path.exists()}
    if not any(name in read_pins(before[path]) for path in (folder / CONSTRAINTS, *locks) if path in before):
        raise UserError(f"PACKAGE: nothing in {folder} pins {name}. Add it to laptop.txt or an {INPUT_SUFFIX} first.")
    try:
        for path in (*sources, folder / CONSTRAINTS):
            if path in before:
                _set_version(path, name, version)
        lock_constraints(folder / "laptop.txt", folder / CONSTRAINTS, pin)
        lock_all(folder)
    except UserError as error:
        for path, text in before.items():
            write_text(path, text)
        raise UserError(f"{pin} does not go with the other pins; nothing was changed.\n{error}") from error
    return [line for path in (*sources, *locks) if path in before for line in _changes(path, before[path])]


def lock_all(folder: Path) -> list[Path]:
    """Generate every file that uv and conda read."""
    written = [path for name in names(folder) for path in lock(folder, name)]
    return [*written, lock_build(folder)] if (folder / BUILD).exists() else written


def _set_version(path: Path, name: str, version: str) -> None:
    def pinned(match: re.Match[str]) -> str:
        return f"{match[1]}{match[2] or ''}=={version}" if normalised(match[1]) == name else match[0]

    text = path.read_text(encoding="utf-8")
    write_text(path, ANY_PIN.sub(pinned, text))


def _changes(path: Path, before: str) -> list[str]:
    """Versions that moved, came or went in a file of pins, in words."""
    old, new = (_all_pins(text) for text in (before, path.read_text(encoding="utf-8")))
    return [
        f"{path.name}: {name} {old.get(name, 'absent')} -> {new.get(name, 'absent')}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def _all_pins(text: str) -> dict[str, str]:
    return {normalised(match[1]): match[3] for match in ANY_PIN.finditer(text)}


def resolve_inputs(inputs: Inputs, constraints: Path, uv: str) -> list[dict[str, Any]]:
    """The closure of an environment's direct pins (see `resolve`)."""
    direct = (*inputs.pip, uv)
    if not inputs.own_versions:
        return resolve(direct, inputs.source_only, constraints)
    with tempfile.TemporaryDirectory() as folder:
        overrides, excludes = Path(folder, "overrides.txt"), Path(folder, "excludes.txt")
        overrides.write_text("\n".join(inputs.pip), encoding="utf-8")
        excludes.write_text("\n".join(inputs.left_out), encoding="utf-8")
        options = ("--overrides", str(overrides), "--excludes", str(excludes))
        return resolve(direct, inputs.source_only, None, PYTHON_VERSION, *options)


def resolve(
    pins: tuple[str, ...],
    source_only: tuple[str, ...],
    constraints: Path | None,
    python: str = PYTHON_VERSION,
    *options: str,
) -> list[dict[str, Any]]:
    """The closure of the pins for the target platform, as the ``packages`` of a pylock file (PEP 751), by name.

    Raises:
        UserError: with uv's explanation, when there is no closure.
    """
    with tempfile.TemporaryDirectory() as folder:
        requirements, output = Path(folder, "requirements.in"), Path(folder, "pylock.toml")
        requirements.write_text("\n".join(pins), encoding="utf-8")
        wanted = [argument for name in source_only for argument in ("--no-binary", name)]
        wanted += ["--constraints", str(constraints.resolve())] if constraints else []
        _compile(requirements, output, python, "--only-binary", ":all:", "--format", "pylock.toml", *wanted, *options)
        packages = tomllib.loads(output.read_text(encoding="utf-8"))["packages"]
    return sorted(packages, key=lambda package: package["name"])


def lock_constraints(requirements: Path, target: Path, pin: str = "") -> None:
    """Pin the closure of a requirements file; versions that ``target`` already names are kept where they still fit.

    Args:
        pin: a version that must be met, ``name==version``, whoever pulls the package in.

    Raises:
        UserError: with uv's explanation, when there is no closure.
    """
    with whole_file(target) as part, tempfile.TemporaryDirectory() as temporary:
        if target.exists():
            part.write_text(target.read_text(encoding="utf-8"), encoding="utf-8")
        wanted = Path(temporary, "wanted.txt")
        wanted.write_text(pin, encoding="utf-8")
        _compile(requirements, part, PYTHON_VERSION, "--no-header", "--no-annotate", "--constraints", str(wanted))
        header = f"# Generated: the full closure of {requirements.name}. Change it, then run `make constraints`.\n"
        part.write_text(header + part.read_text(encoding="utf-8"), encoding="utf-8")


def _compile(requirements: Path, output: Path, python: str, *options: str) -> None:
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--python-version", python]
    command += ["--python-platform", PLATFORM, *options, "--output-file", str(output), str(requirements)]
    finished = system.run(command, environment=isolation(), deadline_s=1200)
    if finished.returncode:
        raise UserError(f"{requirements}: the pins do not go together:\n{finished.stderr.strip()}")


def _write_lock(target: Path, head: str, packages: list[dict[str, Any]]) -> None:
    write_text(target, head + "".join(f"{_with_hashes(package)}\n" for package in packages))


def _with_hashes(package: dict[str, Any]) -> str:
    archives = package.get("wheels") or [package["sdist"]]
    hashes = sorted({archive["hashes"]["sha256"] for archive in archives})
    return " ".join([f"{package['name']}=={package['version']}", *(f"--hash=sha256:{value}" for value in hashes)])
