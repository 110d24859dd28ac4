"""What a run would take, in twenty lines, and what this machine has for it: for a person who is about to start one."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from blueprint import config as configuration
from blueprint import system
from blueprint.audit import estimate
from blueprint.checks import Check
from blueprint.cloud import host_checks
from blueprint.cloud.bucket import rclone_binary
from blueprint.cloud.settings import EXAMPLE_ENV, CloudSettings, secrets_at_hand
from blueprint.environments.installed import check as check_installed
from blueprint.errors import UserError
from blueprint.plan import planned_clips, variants_of

GB = 1e9
DEMO_DISK_GB = 2.4
"""What set-up and the demo take: .venv, scene, results."""
ACCOUNTS = {
    "B2_APPLICATION_KEY_ID": "results of rented machines",
    "B2_APPLICATION_KEY": "results of rented machines",
    "VAST_API_KEY": "renting machines",
    "HF_TOKEN": "the Cosmos engines' weights",
}


def planned_jobs(dry_run: str) -> dict[str, int]:
    """Jobs by rule, from the table that a dry run of Snakemake prints; none when there is nothing to do."""
    table = re.search(r"^job\s+count\n[-\s]+\n(.*?)^total", dry_run, re.MULTILINE | re.DOTALL)
    rows = [line.split() for line in table[1].splitlines()] if table else []
    return {rule: int(count) for rule, count in rows if rule != "all"}


def outlook(config: Mapping[str, Any], jobs: Mapping[str, int], cloud: CloudSettings | None) -> dict[str, Any]:
    """What the jobs that are left would take.

    Args:
        config: the completed configuration, with `output`.
        jobs: those that a dry run names, by rule.
        cloud: settings of the machine that would be rented; None leaves its price out.

    Returns:
        ``minutes`` is of the costly stages, one job after another; ``rented_usd`` is at the highest price accepted.

    Raises:
        UserError: a benchmark table of an earlier run cannot be read.
    """
    folders = configuration.folders(config)
    clips = planned_clips(config)
    stages = [
        {
            "stage": stage.stage,
            "jobs": left,
            "minutes": stage.seconds * left / max(stage.jobs, 1) / 60,
            "by": stage.source,
        }
        for stage in estimate.estimate(config, Path(folders["benchmarks"]))
        if (left := jobs.get(stage.stage, 0))
    ]
    minutes = sum(stage["minutes"] for stage in stages)
    vram_gb = host_checks.vram_needed_gb(config)
    rate = (cloud.rate_usd_per_h or cloud.machine["max_usd_per_h"]) if cloud and vram_gb else None
    return {
        "facilities": len(config["facilities"]),
        "clips": len(clips),
        "frames": sum(clip.frames for clip in clips),
        "variants": len(variants_of(config)),
        "engine": config["enrich"]["engine"],
        "vram_needed_gb": vram_gb,
        "jobs": dict(jobs),
        "stages": stages,
        "minutes": minutes,
        "disk_needed_gb": host_checks.disk_needed_gb(config, Path(folders["results"])),
        "disk_free_gb": psutil.disk_usage(str(Path.cwd())).free / GB,
        "rate_usd_per_h": rate,
        "rented_usd": None if rate is None else minutes / 60 * rate,
        "results": folders["results"],
    }


def describe(found: Mapping[str, Any]) -> str:
    """The outlook as text."""
    lines = [
        f"{found['facilities']} facilities, {found['clips']} clips of {found['frames']} frames together, "
        f"{found['variants']} variants by the engine {found['engine']}",
        f"jobs: {sum(found['jobs'].values())}" + ("" if found["jobs"] else " (all is done)"),
    ]
    lines += [
        f"  {stage['stage']}: {stage['jobs']} jobs, about {stage['minutes']:.1f} minutes ({stage['by']})"
        for stage in found["stages"]
    ]
    lines.append(
        f"time: about {found['minutes']:.0f} minutes for these, one after another; a faster machine takes less"
    )
    lines.append(f"disk: up to {found['disk_needed_gb']:.1f} GB, {found['disk_free_gb']:.1f} GB free here")
    if found["vram_needed_gb"]:
        lines.append(f"GPU: one with {found['vram_needed_gb']:.1f} GB of memory")
    else:
        lines.append("GPU: none needed, so none need be rented")
    if found["rented_usd"] is not None:
        price = f"{found['rented_usd']:.2f} US dollars at up to {found['rate_usd_per_h']:.2f} per hour"
        lines.append(f"on a rented machine: about {price}, besides 0.2 to 0.4 hours of setting up")
    lines.append(f"report: {found['results']}/report.html")
    return "\n".join(lines)


def doctor(folder: Path) -> list[Check]:
    """What this machine has and lacks; only what every run needs fails."""
    return [
        _python(),
        _installed(),
        _disk(folder),
        Check("CPU and memory", "ok", f"{os.cpu_count()} cores, {psutil.virtual_memory().total / GB:.0f} GB"),
        _gpu(),
        _program("git", "fail", "install git: results name the commit that made them"),
        _program("conda", "skip", "needed by --sdm conda and profiles/vast alone: https://conda-forge.org/download/"),
        _rclone(),
        *_accounts(),
    ]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info < (3, 14):
        return Check("Python", "ok", version)
    return Check("Python", "fail", version, "make PYTHON=python3.11 .venv/.ready (3.11 to 3.13)")


def _installed() -> Check:
    try:
        check_installed(Path(__file__).resolve().parents[4] / "envs")
    except UserError as error:
        return Check("packages", "fail", str(error), "rm -rf .venv && make .venv/.ready")
    return Check("packages", "ok", "as locked")


def _disk(folder: Path) -> Check:
    free_gb = psutil.disk_usage(str(folder)).free / GB
    evidence = f"{free_gb:.1f} GB free in {folder}; set-up and demo take {DEMO_DISK_GB} GB, `blueprint plan` names more"
    return Check("disk", "ok" if free_gb > DEMO_DISK_GB else "fail", evidence, "free some space")


def _gpu() -> Check:
    try:
        found = system.ask_nvidia_smi("name", "memory.total", "driver_version")
    except UserError as error:
        return Check("GPU", "unknown", str(error), "see what `nvidia-smi` says")
    if not found:
        return Check("GPU", "skip", "none", "not needed by the engine photometric; rent one for Cosmos")
    name, mebibytes, driver = found[0]
    return Check("GPU", "ok", f"{len(found)} x {name}, {float(mebibytes) * 2**20 / GB:.0f} GB, driver {driver}")


def _program(name: str, without: Any, remedy: str) -> Check:
    found = shutil.which(name)
    return Check(name, "ok", found) if found else Check(name, without, "not installed", remedy)


def _rclone() -> Check:
    try:
        return Check("rclone", "ok", rclone_binary())
    except UserError as error:
        return Check("rclone", "skip", str(error), "needed for the bucket alone")


def _accounts() -> list[Check]:
    try:
        given = secrets_at_hand()
    except UserError as error:
        return [Check("accounts", "fail", str(error), "correct config/runtime.env")]
    return [
        Check(name, "ok", "set")
        if given.get(name)
        else Check(name, "skip", f"not set; for {purpose}", f"see {EXAMPLE_ENV}")
        for name, purpose in ACCOUNTS.items()
    ]
