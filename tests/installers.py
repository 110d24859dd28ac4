"""A Python in which every installer only leaves a note, and condas of the tests' own for a machine that boots."""

from __future__ import annotations

import sys
import venv
from pathlib import Path

from torch_environments import site_packages

INSTALLERS = ("pip", "uv", "conda", "mamba", "micromamba", "ensurepip")
NOTES = "notes"


def make_recorder(folder: Path) -> Path:
    """Make a Python with all packages of this one, and installers that write a line to ``folder/notes`` instead."""
    notes = folder / NOTES
    venv.create(folder / "venv", with_pip=False)
    site = site_packages(folder / "venv")
    (site / "all.pth").write_text(next(path for path in sys.path if path.endswith("site-packages")) + "\n")
    for name in INSTALLERS:
        script = folder / "venv" / "bin" / name
        script.write_text(f'#!/bin/sh\necho "{name} $*" >> "{notes}"\n')
        script.chmod(0o755)
        (site / name).mkdir()
        (site / name / "__init__.py").write_text(f"open({str(notes)!r}, 'a').write('import {name}\\n')\n")
        (site / name / "__main__.py").write_text("")
    return folder / "venv" / "bin" / "python"


def install_conda(machine, script):
    """Put a conda of the test's own where the installer would put the real one, with environments that need no room."""
    environments = Path(machine["BLUEPRINT_HOME"]) / "blueprint" / ".snakemake" / "conda"
    environments.mkdir(parents=True)
    for name in ("a_", "b_", "c_"):
        (environments / f"{name}.env_setup_done").touch()
    conda = Path(machine["BLUEPRINT_HOME"]) / "miniforge3"
    (conda / "bin").mkdir(parents=True)
    (conda / "bin" / "conda").write_text(script.replace("{log}", str(conda / "calls")))
    (conda / "bin" / "conda").chmod(0o755)
    (conda / ".whole").touch()
    return conda


ORCHESTRATION = """#!/usr/bin/env bash
case "$*" in
    "env create "*)
        mkdir -p {home}/orchestration/bin
        printf '#!/bin/sh\\ncase "$1" in *fill_environment.py) exit;; esac\\nexec {python} "$@"\\n' \\
            > {home}/orchestration/bin/python
        printf '#!/bin/sh\\nexec {python} -m snakemake "$@"\\n' > {home}/orchestration/bin/snakemake
        chmod +x {home}/orchestration/bin/*
        ;;
    *) exit 1 ;;
esac
"""


def orchestration_in(machine):
    """A conda that makes the environment of Snakemake out of the one that runs the tests."""
    return ORCHESTRATION.replace("{home}", machine["BLUEPRINT_HOME"]).replace("{python}", sys.executable)
