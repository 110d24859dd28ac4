"""The pages that a reader reads, and the commands that they show."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from workflow_runs import REPOSITORY

PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "config/README.md")),
    *sorted((REPOSITORY / "profiles").glob("*/README.md")),
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
PROGRAMS = (
    "snakemake",
    "python",
    "blueprint",
    "pytest",
    "ruff",
    "detect-secrets",
    "make",
    "git",
    "cp",
    "cat",
    "export",
)
SHOWN = re.compile(r"^    ((?:[A-Z_]+=\S+ )*)((?:\.venv/bin/)?(?:" + "|".join(PROGRAMS) + r")\b.*)$", re.MULTILINE)
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BORROWED = ("gpu.md",)
"""Pages about a machine with a Python of its own and no .venv."""


def commands() -> Iterator[object]:
    """Page, line and text of each command that is shown in a block, without its comment."""
    for page in PAGES:
        text = FENCED.sub("", page.read_text())
        for found in SHOWN.finditer(text):
            yield pytest.param(found[2], page.name in BORROWED, id=f"{page.name}: {found[2][:70]}")
