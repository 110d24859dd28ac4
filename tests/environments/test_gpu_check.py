"""`make gpu-check` on a machine without a GPU: runs what a CPU can, says what a GPU would, and goes on where it was."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from workflow_runs import REPOSITORY

PROGRAM = REPOSITORY / "benchmarks" / "gpu_check.py"
GPU_CHECKS = ("diffusers-tiny", "gsplat", "render-stage", "weights-diffusers", "weights-cosmos-transfer2.5")


@pytest.fixture
def no_gpu(tmp_path, monkeypatch):
    """A machine whose driver, if it has one, finds no GPU."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    (tools / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")


def gpu_check(state, *only):
    command = [sys.executable, str(PROGRAM), "check", "--state", str(state), "--only", *only]
    return subprocess.run(command, capture_output=True, text=True)


def test_without_a_gpu_it_says_what_it_would_do_passes_and_goes_on_where_it_was(no_gpu, tmp_path):
    state = tmp_path / "state.json"
    finished = gpu_check(state, "locked", *GPU_CHECKS)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("no NVIDIA GPU; torch 2.13.0")
    assert re.search(r"^\| locked \|.*\| passed \| [\d.]+ \|", finished.stdout, re.MULTILINE)
    for name in GPU_CHECKS:
        row = re.search(rf"^\| {re.escape(name)} \|.*$", finished.stdout, re.MULTILINE)[0]
        reason = "asked for with WEIGHTS=1" if name.startswith("weights") else "there is no NVIDIA GPU"
        assert f"not run: {reason} (would run `python " in row and "passed" not in row

    key, results = next(iter(json.loads(state.read_text()).items()))
    results["locked"]["seconds"] = 12345.0
    state.write_text(json.dumps({key: results}))
    assert "| 12345.0 |" in gpu_check(state, "locked").stdout, "what has passed is not run again"


def test_a_check_that_fails_fails_the_command(no_gpu, tmp_path, monkeypatch):
    """Here: a Python whose torch comes from somewhere else than the locked one."""
    intruder = tmp_path / "torch-9.9.dist-info"
    intruder.mkdir()
    (intruder / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 9.9\n\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finished = gpu_check(tmp_path / "state.json", "locked")
    assert finished.returncode == 1
    assert "FAILED, see " in finished.stdout and "failed: locked" in finished.stderr
    assert "torch: locked 2.13.0, installed 9.9" in (REPOSITORY / "logs" / "gpu-check" / "locked.log").read_text()
