"""From short human-written inputs (see `inputs`) to exact environment files. For developers: it asks the package index.

One hash puts pip in hash-checking mode, so that nothing can come into an environment that its file does not name.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import yaml

from blueprint.environments.inputs import INPUT_SUFFIX, read_inputs
from blueprint.errors import UserError
from blueprint.files import whole_file, write_text

PYTHON_VERSION = "3.11"
PLATFORM = "x86_64-manylinux_2_28"
CHANNELS = ["conda-forge", "nodefaults"]


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
