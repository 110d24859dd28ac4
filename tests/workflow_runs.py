"""Run the real Snakemake on this repository, in a folder of the test's own."""

from __future__ import annotations

import os
import re
import shutil
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


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody; return what it printed."""
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    finished = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def snakemake_command(
    folder: Path, config: Path, *arguments: str, repository: Path = REPOSITORY, python: Path | str = sys.executable
) -> list[str]:
    """The command line that runs a checkout's workflow with ``folder`` as working directory."""
    return [
        *(str(python), "-m", "snakemake"),
        *("--snakefile", str(repository / "Snakefile")),
        *("--directory", str(folder)),
        *("--configfile", str(config)),
        *("--cores", "2"),
        *arguments,
    ]


def snakemake(
    folder: Path,
    config: Path,
    *arguments: str,
    check: bool = True,
    environment: dict[str, str] | None = None,
    repository: Path = REPOSITORY,
    python: Path | str = sys.executable,
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake and return what it printed (standard error is merged into ``stdout``).

    ``environment`` is added to this process's own, from which credentials are taken out.
    """
    finished = subprocess.run(
        snakemake_command(folder, config, *arguments, repository=repository, python=python),
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


def write_conda_stub(folder: Path) -> Path:
    """A `conda` that answers what Snakemake asks while it plans, in a folder for PATH; this machine may have none."""
    folder.mkdir()
    (folder / "conda").write_text(
        "#!/bin/sh\n"
        'case "$1" in\n'
        """info) echo '{"platform": "linux-64", "conda_prefix": "/none", "root_prefix": "/none"}';;\n"""
        "--version) echo conda 26.1.1;;\n"
        """config) echo '{"get": {"channel_priority": "strict"}}';;\n"""
        "*) exit 1;;\n"
        "esac\n"
    )
    (folder / "conda").chmod(0o755)
    return folder


def copy_checkout(target: Path) -> Path:
    """A copy of what the workflow consists of, as a fresh clone has it: newer than any result."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("Snakefile", "rules", "workflow", "config", "envs", "profiles"):
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(
                source, target / name, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copyfile(source, target / name)
    return target


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
