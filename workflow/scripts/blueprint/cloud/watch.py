"""Runs that hang: Snakemake without a pulse or idle, set-up without end, jobs beyond their time."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import psutil

from blueprint.cloud.machine import Process
from blueprint.cloud.runs import Run, silence_s
from blueprint.cloud.settings import CloudSettings

IDLE_S = 900.0
"""A run past its set-up that has no process of a job for so long does nothing any more (tests set it lower)."""
IDLE = "BLUEPRINT_IDLE_S"
UNSTOPPED = 5
"""Times `guard_silent_s` that Snakemake may be silent while the system does not call it stopped."""


class Watcher:
    """What the guard remembers of the runs, to tell which hang."""

    def __init__(self, settings: CloudSettings) -> None:
        self.settings = settings
        self.busy_s: dict[Process, float] = {}
        self.since_s: dict[Process, float] = {}

    def end_what_hangs(self, going_on: list[Run], guard: Process) -> list[str]:
        """End jobs and runs that hang; one sentence for each."""
        said = []
        for run in going_on:
            now = time.monotonic()
            self.since_s.setdefault(run.process, now)
            jobs = _top_jobs(run, guard)
            if jobs or not run.is_set_up:
                self.busy_s[run.process] = now
            if why := self._why_hung(run, now):
                said.append(f"run {run.process.pid} {why}: it is ended with its jobs")
                end_jobs(processes_of(run, guard), signal.SIGKILL)
                tell_snakemake([run], signal.SIGKILL)
            else:
                said += self._end_long_jobs(run, jobs)
        return said

    def _why_hung(self, run: Run, now: float) -> str:
        setup_s = self.settings.setup_hours * 3600
        idle_s = float(os.environ.get(IDLE, IDLE_S))
        # One that is not stopped may be short of processor time: ending it costs the jobs that run.
        patience = 1 if run.process.is_stopped() else UNSTOPPED
        if silence_s(run.path) > patience * self.settings.guard_silent_s:
            return "has no pulse"
        if not run.is_set_up and now - self.since_s[run.process] > setup_s:
            return f"is not set up after {self.settings.setup_hours:g} hours"
        if now - self.busy_s.get(run.process, now) > idle_s:
            return f"has run no job for {idle_s:.0f} s"
        return ""

    def _end_long_jobs(self, run: Run, jobs: list[psutil.Process]) -> list[str]:
        said = []
        for job in jobs:
            with suppress(psutil.Error):
                words = " ".join(job.cmdline())
                limits = [limit for name, limit in run.job_limits_s.items() if f"/{name} " in words]
                limit_s = max(limits, default=self.settings.job_hours * 3600)
                if time.time() - job.create_time() > limit_s:
                    said.append(f"a job is ended after {limit_s / 3600:.2f} hours, its limit: {words[-200:]}")
                    end_jobs([job, *job.children(recursive=True)], signal.SIGKILL)
        return said


def _top_jobs(run: Run, guard: Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return [child for child in psutil.Process(run.process.pid).children() if child.pid != guard.pid]
    return []


def processes_of(run: Run, guard: Process) -> list[psutil.Process]:
    """Every process of the jobs of a run: Snakemake's descendants, less the guard and its children."""
    if not run.process.is_alive():
        return []
    with suppress(psutil.Error):
        own = {guard.pid, *(child.pid for child in psutil.Process(guard.pid).children(recursive=True))}
        children = psutil.Process(run.process.pid).children(recursive=True)
        return [child for child in children if child.pid not in own]
    return []


def tell_snakemake(going_on: list[Run], number: signal.Signals) -> None:
    """Signal Snakemake alone: its jobs are in its process group and are meant to go on."""
    for run in going_on:
        run.process.signal(number)


def end_jobs(jobs: list[psutil.Process], number: signal.Signals) -> None:
    """Signal processes of jobs, and the whole group of each that leads one."""
    for process in jobs:
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == process.pid:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
