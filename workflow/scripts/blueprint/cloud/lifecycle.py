"""What a run on a rented machine does before, while and after Snakemake works: the substance of `rules/cloud.smk`."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blueprint.cloud import guard, host_checks, ledger, sync, vast
from blueprint.cloud.settings import CloudSettings
from blueprint.errors import UserError

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""Between two looks whether the guard is alive."""
TRIES = 3


class Lifecycle:
    """One run of Snakemake with a cloud profile. ``root`` is its working directory."""

    def __init__(self, settings: CloudSettings, root: Path) -> None:
        self.settings, self.root = settings, root
        self.guard: guard.State | None = None
        self._over = threading.Event()

    def prepare(self, config: Mapping[str, Any]) -> str:
        """Before Snakemake plans its jobs: check the host, fill an empty checkout from the bucket, look at the budget.

        Returns:
            A line for the user.

        Raises:
            UserError: a check failed, the bucket could not be read, or the budget is spent (that ends the instance).
        """
        host_checks.refuse_failures(host_checks.run(self.settings, config, self.root / "results"))
        said = "Nothing to restore: this checkout was filled from the bucket before."
        if not sync.is_restored(self.root):
            said = describe(sync.restore(self.settings, self.root))
        try:
            ledger.refuse_spent(self.settings, self.root / sync.LEDGER)
        except UserError as error:
            raise UserError(f"{error} {finish(self.settings, self.root)[1]}") from None
        return said

    def start(self) -> str:
        """Before the first job: announce the run, start the guard or find it, and look after it from then on.

        Returns:
            A line for the user.

        Raises:
            UserError: the guard did not start.
        """
        guard.write_run(self.root, guard.Process.of(os.getpid()), "running")
        self.guard = guard.ensure(self.settings, self.root)
        threading.Thread(target=self._keep_guard, daemon=True).start()
        return f"The guard is process {self.guard.guard.pid}; its log is {guard.LOG}."

    def _keep_guard(self) -> None:
        while not self._over.wait(LOOK_S):
            if guard.running_guard(self.root):
                continue
            log.warning("The guard is gone; starting another one.")
            try:
                self.guard = guard.ensure(self.settings, self.root)
            except UserError as error:
                log.error("NOBODY COPIES RESULTS OR COUNTS THE COST: %s Trying again.", error)

    def conclude(self, outcome: guard.Outcome) -> str:
        """After the last job: have the guard make the final copy and end the instance, and wait for it.

        Returns:
            How it ended.

        Raises:
            UserError: the results are not all in the bucket, or the instance was not ended.
        """
        self._over.set()
        guard.write_run(self.root, guard.Process.of(os.getpid()), outcome)
        others = [run for run in guard.runs(self.root) if run.is_going_on]
        if others:
            return f"Run {others[0].process.pid} is still going on: the guard goes on with it."
        for _ in range(TRIES):
            state = self._wait()
            if state.phase == "ended":
                return state.message
            if state.phase == "failed":
                raise UserError(state.message)
            log.warning("The guard is gone; starting another one for the final copy.")
            self.guard = guard.ensure(self.settings, self.root)
        raise UserError(f"Three guards died over the final copy: THE INSTANCE STILL COSTS MONEY. See {guard.LOG}.")

    def _wait(self) -> guard.State:
        while True:
            alive = self.guard.guard.handle()
            state = guard.read_state(self.root)
            if state and state.guard == self.guard.guard and state.phase in ("ended", "failed"):
                return state
            if alive is None:
                return self.guard
            time.sleep(guard.TICK_S)


def describe(report: sync.Report) -> str:
    """One line about a restore."""
    return f"Restored {report.files} files ({report.bytes / 1e6:.1f} MB) from the bucket in {report.seconds:.1f} s."


def finish(settings: CloudSettings, root: Path) -> tuple[bool, str]:
    """Final copy, verification and end of the instance, whatever happened before; safe to repeat.

    A guard that is alive does it when its last run is over; otherwise this process does.

    Returns:
        Whether the results are safe and the instance has ended, and what there is to say.
    """
    while True:
        alive = guard.running_guard(root)
        if alive and alive.phase in ("ended", "failed"):
            return alive.phase == "ended", alive.message
        if alive is None:
            with guard.only_one(root) as is_only_one:
                if is_only_one:
                    return _finish_here(settings, root)
        time.sleep(guard.TICK_S)


def _finish_here(settings: CloudSettings, root: Path) -> tuple[bool, str]:
    try:
        worker = guard.Guard(settings, root)
    except UserError as error:
        return False, f"{error} {_stop(settings)}"
    done = worker.finish()
    return done, worker.said


def _stop(settings: CloudSettings) -> str:
    try:
        return f"The instance is {vast.shutdown(settings, 'stop')}. The disk keeps what is on it."
    except UserError as error:
        return str(error)
