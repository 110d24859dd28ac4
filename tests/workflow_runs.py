"""Run the real Snakemake on this repository, in a folder of the test's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPTS = REPOSITORY / "workflow" / "scripts"
GUITAR = REPOSITORY.parent / "shared" / "data" / "guitar.compressed.ply"


def write_config(folder: Path, config: dict[str, Any], name: str = "config.yaml") -> Path:
    """Write a configuration as YAML into ``folder``."""
    path = folder / name
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def snakemake_command(folder: Path, config: Path, *arguments: str) -> list[str]:
    """The command line that runs the workflow with ``folder`` as working directory."""
    return [
        *(sys.executable, "-m", "snakemake"),
        *("--snakefile", str(REPOSITORY / "Snakefile")),
        *("--directory", str(folder)),
        *("--configfile", str(config)),
        *("--cores", "2"),
        *arguments,
    ]


def snakemake(
    folder: Path, config: Path, *arguments: str, check: bool = True, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake and return what it printed (standard error is merged into ``stdout``).

    ``environment`` is added to this process's own, from which credentials are taken out.
    """
    finished = subprocess.run(
        snakemake_command(folder, config, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env=clean_environment() | (environment or {}),
        cwd=folder,
    )
    if check and finished.returncode:
        logs = "\n".join(f"--- {log}\n{log.read_text()}" for log in sorted(folder.glob("logs/**/*.log")))
        raise AssertionError(f"snakemake exited with {finished.returncode}:\n{finished.stdout}\n{logs}")
    return finished


def clean_environment() -> dict[str, str]:
    """This process's environment without credentials of any cloud."""
    secret = re.compile(r"^(B2_|HF_|VAST_|AWS_|RCLONE_|HUGGING)")
    return {name: value for name, value in os.environ.items() if not secret.match(name)}


def planned_jobs(dry_run: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Jobs per rule that a dry run announces, from its table of job counts."""
    counts: dict[str, int] = {}
    table = re.search(r"^job\s+count\n[-\s]+\n(.*?)^total", dry_run.stdout, re.MULTILINE | re.DOTALL)
    if table:
        for line in table.group(1).splitlines():
            rule, count = line.split()
            counts[rule] = int(count)
    return counts
