"""What a run on a rented machine does before, while and after Snakemake works: the substance of `rules/cloud.smk`."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from blueprint.cloud import guard, host_checks, ledger, notify, runs
from blueprint.cloud.bucket import LEDGER
from blueprint.cloud.ending import Ending
from blueprint.cloud.machine import Process, machine_id
from blueprint.cloud.restore import is_restored, restore
from blueprint.cloud.settings import CloudSettings
from blueprint.cloud.shutdown import PROVIDER_MODES
from blueprint.cloud.sync import Report
from blueprint.config import folders
from blueprint.errors import UserError

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""Between two looks whether the guard is alive."""


class Lifecycle:
    """One run of Snakemake with a cloud profile. ``root`` is its working directory."""

    def __init__(
        self,
        settings: CloudSettings,
        root: Path,
        job_limits_s: Mapping[str, float] | None = None,
        nothing_to_do: Callable[[], bool] = lambda: False,
    ) -> None:
        """Nothing happens yet.

        Args:
            job_limits_s: longest time of a job by the program that it runs.
            nothing_to_do: whether Snakemake has found, at its end, that all is made already.
        """
        self.settings, self.root = settings, root
        self.me = Process.of(os.getpid())
        self.job_limits_s = dict(job_limits_s or {})
        self.nothing_to_do = nothing_to_do
        self.guard: runs.State | None = None
        self._over = threading.Event()

    @property
    def _ends_a_machine(self) -> bool:
        known = self.settings.instance_id is not None and bool(self.settings.vast_api_key)
        return known or self.settings.shutdown not in PROVIDER_MODES

    def prepare(self, config: Mapping[str, Any]) -> str:
        """Before Snakemake plans its jobs: have the guard there, check the host, fill an empty checkout from the
        bucket, look at the budget. However Snakemake ends from here on, the machine is ended.

        Returns:
            A line for the user.

        Raises:
            UserError: a check failed, the bucket could not be read, or the budget is spent.
        """
        if self._ends_a_machine:
            self._announce("running")
            threading.Thread(target=self._beat, daemon=True).start()
            self.guard = guard.ensure(self.settings, self.root)
            threading.Thread(target=self._keep_guard, daemon=True).start()
            atexit.register(self._at_exit)
        host_checks.refuse_failures(host_checks.run(self.settings, config, self.root / folders(config)["results"]))
        said = "Nothing to restore: this checkout was filled from the bucket before."
        if not is_restored(self.root):
            said = describe(restore(self.settings, self.root))
        ledger.refuse_spent(self.settings.source, self.settings.max_cost_usd, self.root / LEDGER)
        return said

    def start(self) -> str:
        """Before the first job: tell the guard that the set-up is over.

        Returns:
            A line for the user.
        """
        self._announce("running", is_set_up=True)
        if not any(run.is_going_on for run in runs.runs(self.root) if run.process != self.me):
            notify.tell(self.settings, "start", f"The run has started on instance {self.settings.instance_id}.")
        return f"The guard is process {self.guard.guard.pid}; its log is {guard.LOG}."

    def _announce(self, outcome: runs.Outcome, **more: Any) -> None:
        path = runs.announce(self.root, self.me, outcome, job_limits_s=self.job_limits_s, **more)
        self._pulse = path

    def _beat(self) -> None:
        while not self._over.wait(LOOK_S):
            runs.beat(self._pulse)

    def _keep_guard(self) -> None:
        while not self._over.wait(LOOK_S):
            if guard.fresh_guard(self.settings, self.root):
                continue
            log.warning("The guard is gone; starting another one.")
            try:
                self.guard = guard.ensure(self.settings, self.root)
            except UserError as error:
                log.error("NOBODY COPIES RESULTS OR COUNTS THE COST: %s Trying again.", error)

    def conclude(self, outcome: runs.Outcome) -> str:
        """After the last job: have the guard make the final copy and end the instance, and wait for it.

        Returns:
            How it ended.

        Raises:
            UserError: work, results or machine are not as they should be.
        """
        self._over.set()
        self._announce(outcome)
        others = [run for run in runs.runs(self.root) if run.is_going_on]
        if others:
            return f"Run {others[0].process.pid} is still going on: the guard goes on with it."
        ending = self._wait()
        if not ending.is_good:
            raise UserError(str(ending))
        return str(ending)

    def _wait(self) -> Ending:
        for _ in range(guard.TRIES):
            while True:
                health, state = runs.guard_health(self.root, self.settings.guard_silent_s)
                if state and state.phase == "ended" and state.machine == machine_id(self.settings.instance_id):
                    return state.ending
                if health != "fresh":
                    break
                time.sleep(guard.TICK_S)
            log.warning("The guard is gone; starting another one for the final copy.")
            self.guard = guard.ensure(self.settings, self.root)
        raise UserError(f"Three guards died over the final copy: THE INSTANCE STILL COSTS MONEY. See {guard.LOG}.")

    def _at_exit(self) -> None:
        """Where Snakemake ends without calling a handler: nothing to do, no such target, a failed check."""
        if self._over.is_set() or os.getpid() != self.me.pid:
            return
        if any(run.is_going_on for run in runs.runs(self.root) if run.process != self.me):
            self._over.set()  # it was refused beside another run, and says nothing of how that ends
            self._pulse.unlink(missing_ok=True)
            return
        try:
            print(self.conclude("success" if self.nothing_to_do() else "error"), file=sys.stderr)
        except UserError as error:
            print(error, file=sys.stderr)
            sys.stderr.flush()
            os._exit(1)


def describe(report: Report) -> str:
    """A restore, for the user: one line, and one for each file that was set aside."""
    line = f"Restored {report.files} files ({report.bytes / 1e6:.1f} MB) from the bucket in {report.seconds:.1f} s."
    return "\n".join([line, *(f"Set aside: {problem}." for problem in report.problems)])


def finish(settings: CloudSettings, root: Path, finished: bool | None = None) -> Ending:
    """Final copy, verification and end of the instance, whatever happened before; safe to repeat.

    A guard that is alive and has a pulse does it when its last run is over; otherwise this process does.
    """
    here = machine_id(settings.instance_id)
    while True:
        health, state = runs.guard_health(root, settings.guard_silent_s)
        is_over = state is not None and state.phase == "ended" and state.machine == here
        if is_over and state.ending.machine and not runs.runs(root) and state.ending.unsaved == 0:
            return state.ending
        if health != "fresh":
            guard.fresh_guard(settings, root)  # ends one without a pulse
            with guard.only_one(root) as is_only_one:
                if is_only_one:
                    return guard.Guard(settings, root).finish(finished)
        time.sleep(guard.TICK_S)
