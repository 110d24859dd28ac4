"""The command `blueprint`: what it hands on, what it says itself, and that set-up installs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import blueprint_cli
from blueprint.audit import outlook
from blueprint.config import read_config
from blueprint.errors import UserError
from small_runs import small_config
from synthetic_results import make_results
from workflow_runs import REPOSITORY, SCRIPTS, write_config

COMMANDS = sorted(command.callback.__name__ for command in blueprint_cli.app.registered_commands)


@pytest.fixture
def handed_on(monkeypatch, tmp_path):
    """The command lines of the programs that `blueprint` would become."""
    lines = []
    monkeypatch.setattr(os, "execv", lambda program, words: lines.append(words))
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path, small_config(), "my.yaml")
    return lines


def blueprint(*words):
    """Run the command in this process; a refusal is raised."""
    return CliRunner().invoke(blueprint_cli.app, [*map(str, words)], catch_exceptions=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command):
    done = blueprint(command, "--help")
    assert done.exit_code == 0 and len(done.output.splitlines()) > 4


@pytest.mark.parametrize(
    ("words", "program", "rest"),
    [
        (["run", "my.yaml", "-n", "--cores", "4"], "snakemake", ["--configfile", "my.yaml", "-n", "--cores", "4"]),
        (["run", "my.yaml", "preflight"], "snakemake", ["--configfile", "my.yaml", "--", "preflight"]),
        (["launch", "my.yaml", "-n"], "vast.py", ["launch", "--configfile", "my.yaml", "-n"]),
        (["status", "--json"], "vast.py", ["status", "--json"]),
        (["logs", "-f", "12"], "vast.py", ["logs", "-f", "12"]),
        (["pull", "--settings", "other.yaml"], "vast.py", ["--settings", "other.yaml", "pull", "--watch"]),
        (["stop", "--destroy"], "vast.py", ["stop", "--destroy"]),
        (["reap", "-n"], "vast.py", ["reap", "-n"]),
        (["ledger", "--json"], "cloud.py", ["ledger", "--settings", "profiles/vast/cloud.yaml", "--json"]),
        (["look", "scan.ply", "--json"], "look.py", ["scan.ply", "--json"]),
        (["export", "my.yaml", "-n"], "snakemake", ["--configfile", "my.yaml", "-n", "--", "export"]),
        (["lock", "torch==2.13.0"], "environments.py", ["lock", "--package", "torch==2.13.0"]),
    ],
)
def test_it_is_thin_over_the_programs(handed_on, words, program, rest):
    assert blueprint(*words).exit_code == 0
    (line,) = handed_on
    assert line[0] == sys.executable and any(word.endswith(program) for word in line[1:4])
    assert line[-len(rest) :] == rest


def test_a_configuration_that_is_not_there_is_named(handed_on):
    for command in ("run", "plan", "audit", "report"):
        with pytest.raises(UserError, match=r"nowhere\.yaml: there is no such file in "):
            blueprint(command, "nowhere.yaml")
    assert not handed_on


def test_a_folder_locked_by_a_dead_run(handed_on, tmp_path):
    """The command that unlocks it is named, and passes; a process of the run that is left is named first."""
    (tmp_path / ".snakemake" / "locks").mkdir(parents=True)
    (tmp_path / ".snakemake" / "locks" / "0.input.lock").touch()
    with pytest.raises(UserError, match=r"locked by a run that was killed.*blueprint run my\.yaml --unlock"):
        blueprint("run", "my.yaml")
    blueprint("run", "my.yaml", "--unlock")
    assert handed_on[0][-1] == "--unlock"
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "snakemake"], cwd=tmp_path)
    try:
        with pytest.raises(UserError, match=f"a run is at work here.*kill {left.pid}"):
            blueprint("run", "my.yaml")
    finally:
        left.kill()
        left.wait()


def test_plan_says_jobs_minutes_gigabytes_and_dollars(handed_on, tmp_path):
    """From a real dry run, in at most 20 lines; the same as JSON."""
    found = json.loads(blueprint("plan", "my.yaml", "--json").output)
    assert found["jobs"]["render"] == 2 and found["jobs"]["enrich"] == 2
    assert found["minutes"] > 0 and found["disk_needed_gb"] > 1 and found["rented_usd"] is None
    assert found["results"] == "results/my" and not (tmp_path / "results").exists()
    text = outlook.describe(found)
    assert len(text.splitlines()) <= 20
    for part in ("render: 2 jobs", "disk: up to", "GPU: none needed", "results/my/report.html"):
        assert part in text


def test_what_is_done_takes_no_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = read_config(write_config(tmp_path, small_config()))
    found = outlook.outlook(config, outlook.planned_jobs("Nothing to be done (all requested files are present)."), None)
    assert found["minutes"] == 0 and "jobs: 0 (all is done)" in outlook.describe(found)


def test_report_and_compare(handed_on, tmp_path):
    with pytest.raises(UserError, match=r"results/my/report.html: there is no report yet.*blueprint run my\.yaml"):
        blueprint("report", "my.yaml")
    results = make_results(tmp_path / "results" / "my", count=6)
    (results / "report.html").write_text("<html>")
    assert blueprint("report", "my.yaml", "--no-show").output.strip() == "results/my/report.html"
    shutil.copytree(results, tmp_path / "before")
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "blueprint_cli.py"), "compare", "my.yaml", "before"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "<html" in (results / "compare.html").read_text()
    with pytest.raises(UserError, match=r"holds no <facility>/summary\.json"):
        blueprint("compare", "my.yaml", tmp_path / "results")


def test_doctor_says_what_is_there_and_what_is_not(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "canary")
    monkeypatch.delenv("VAST_API_KEY", raising=False)
    done = blueprint("doctor", "--json")
    found = {check["name"]: check for check in json.loads(done.output)}
    assert found["HF_TOKEN"]["result"] == "ok" and "canary" not in done.output
    assert found["VAST_API_KEY"]["result"] == "skip" and found["VAST_API_KEY"]["remedy"]
    assert found["disk"]["result"] == "ok" and found["rclone"]["result"] == "ok"


def test_set_up_installs_it(tmp_path):
    """The script finds the Python and the checkout that it lies in, also through a link and from another folder."""
    binaries = tmp_path / "checkout" / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (tmp_path / "checkout" / "workflow").symlink_to(REPOSITORY / "workflow")
    (binaries / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (binaries / "python").chmod(0o755)
    shutil.copy(REPOSITORY / "workflow" / "blueprint.sh", binaries / "blueprint")
    (tmp_path / "link").symlink_to(binaries / "blueprint")
    done = subprocess.run([str(tmp_path / "link"), "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage: blueprint" in done.stdout
