"""A Python in which every installer only leaves a note."""

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
