"""What the guard takes for hung, on processes that do hang."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from blueprint import config as configuration
from blueprint.audit.estimate import estimate, job_limits_s
from blueprint.cloud import guard, runs, watch
from blueprint.cloud.machine import Process
from cloud_runs import wait_until
from workflow_runs import REPOSITORY

PARENT = "import subprocess, sys; [subprocess.Popen(line.split()) for line in sys.argv[1:]]; input()"


@pytest.fixture
def run(tmp_path):
    """A process with two children, as Snakemake with two jobs, and its announcement."""
    for name in ("enrich", "other"):
        (tmp_path / f"{name}.py").write_text("import time; time.sleep(600)")
    jobs = [f"{sys.executable} {tmp_path}/{name}.py now" for name in ("enrich", "other")]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *jobs], stdin=subprocess.PIPE, start_new_session=True)
    wait_until(lambda: len(psutil.Process(parent.pid).children()) == 2)

    def announced(**more):
        runs.announce(tmp_path, Process.of(parent.pid), "running", **more)
        (found,) = runs.runs(tmp_path)
        return found

    yield announced
    for process in [*psutil.Process(parent.pid).children(), psutil.Process(parent.pid)]:
        process.kill()
    parent.wait()


class Settings:
    guard_silent_s, setup_hours, job_hours = 60.0, 1.0, 1.0


def names(run):
    return sorted(
        Path(child.cmdline()[1]).name
        for child in psutil.Process(run.process.pid).children()
        if child.status() != "zombie"
    )


def test_a_job_is_ended_after_the_limit_of_its_program_and_no_other(run):
    going_on = run(is_set_up=True, job_limits_s={"enrich.py": 0.5})
    watcher = watch.Watcher(Settings())
    time.sleep(0.6)
    (said,) = watcher.end_what_hangs([going_on], Process.of(os.getpid()))
    assert "a job is ended" in said and "enrich.py" in said
    wait_until(lambda: names(going_on) == ["other.py"])


def test_a_run_without_pulse_is_ended_with_its_jobs_sooner_when_it_is_stopped(run):
    going_on = run(is_set_up=True)
    watcher, settings = watch.Watcher(Settings()), Settings()
    settings.guard_silent_s = 0.5
    watcher.settings = settings
    time.sleep(0.7)
    assert watcher.end_what_hangs([going_on], Process.of(os.getpid())) == []  # silent, but not for five times as long
    runs.beat(going_on.path)
    time.sleep(3.0)
    assert "has no pulse" in watcher.end_what_hangs([going_on], Process.of(os.getpid()))[0]
    wait_until(lambda: not going_on.process.is_alive())


def test_limits_come_from_the_estimate_with_a_wide_margin(tmp_path):
    source = REPOSITORY / "config/examples/production_kitchen.yaml"
    config = configuration.read_config(source)
    limits = job_limits_s(config, tmp_path)
    for stage in estimate(config, tmp_path):
        assert limits[f"{stage.stage}.py"] == pytest.approx(max(3600, 10 * stage.seconds / stage.jobs))
    assert limits["enrich.py"] > 3600


def test_a_pulse_is_told_from_the_time_of_day(tmp_path):
    path = tmp_path / "pulse"
    assert runs.silence_s(path) == float("inf")
    path.touch()  # the time of day, not the clock since boot
    assert runs.silence_s(path) == float("inf")
    runs.beat(path)
    assert runs.silence_s(path) < 5


def test_a_state_that_cannot_be_read_is_none(tmp_path):
    (tmp_path / "results/.cloud").mkdir(parents=True)
    for text in ("", "{", "[]", json.dumps({"guard": {"pid": 1}})):
        (tmp_path / runs.STATE).write_text(text)
        assert runs.read_state(tmp_path) is None


def test_a_guard_that_hung_before_its_first_word_is_ended_by_its_lock(tmp_path):
    (tmp_path / "results/.cloud").mkdir(parents=True)
    code = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    command = [sys.executable, "-c", code, str(tmp_path / runs.LOCK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        runs.beat(tmp_path / runs.LOCK)
        assert guard.fresh_guard(Settings(), tmp_path) is None and process.poll() is None  # it may just be starting
        settings = Settings()
        settings.guard_silent_s = 0.5
        time.sleep(1.0)
        assert guard.fresh_guard(settings, tmp_path) is None
        assert process.wait(timeout=10) == -signal.SIGKILL
    with guard.only_one(tmp_path) as is_only_one:
        assert is_only_one
