"""The guard: a process of its own that looks after results and money while Snakemake runs, and when it no longer does.

It copies finished outputs to the bucket, counts the cost, enforces budget and time limits, and once no run is left it
makes the final copy, verifies it and ends the instance. Snakemake's handlers only tell it how a run ended; when they
cannot, because Snakemake was killed or hangs, the guard sees that. There is one guard per working directory: a lock
that the operating system releases with its owner decides who it is.

Its main thread never waits for anything: whatever can hang is done in a thread of its own, within a limit, while the
main thread counts and shows its pulse. Whoever finds the pulse too old ends the guard and starts another (`ensure`).
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from blueprint import secret
from blueprint.cloud import notify, vast, watch
from blueprint.cloud.accounts import Accounts
from blueprint.cloud.bucket import OWN, retried
from blueprint.cloud.ending import Ending
from blueprint.cloud.ledger import is_spent
from blueprint.cloud.machine import Process, boot_clock_s, container_age_s, machine_id
from blueprint.cloud.runs import LOCK, Run, State, beat, guard_health, runs, silence_s, write_state
from blueprint.cloud.settings import CloudSettings
from blueprint.cloud.sync import INCOMPLETE, Sync
from blueprint.errors import UserError

log = logging.getLogger(__name__)

LOG = f"{OWN}/guard.log"
PROGRAM = Path(__file__).resolve().parents[2] / "cloud.py"

TICK_S = 0.2
SHORTEST_PAUSE_S = 2.0
"""Between two copies, however many jobs finish."""
TERMINATE_S = 10.0
"""From asking a job to end until it is killed."""
VERIFY_ROUNDS = 3
START_S = 60.0
"""For a new guard to report that it is there."""
TRIES = 3


@contextmanager
def only_one(root: Path) -> Iterator[bool]:
    """Whether this process is the one guard of the working directory, for as long as the block lasts."""
    path = root / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            beat(path)
            yield True


def fresh_guard(settings: CloudSettings, root: Path) -> State | None:
    """What the guard says that is alive and has a pulse; one without is ended, and its rclone with it."""
    health, state = guard_health(root, settings.guard_silent_s)
    if health == "fresh":
        return state
    hung = [state.guard] if health == "stale" else []
    if silence_s(root / LOCK) > settings.guard_silent_s:
        # One that hung before its first word is known by the lock alone; one that only just came is starting.
        latest_s = boot_clock_s() - settings.guard_silent_s
        hung += [process for process in lock_holders(root) if process.created < latest_s]
    for process in hung:
        log.warning("The guard (process %d) has no pulse: it is ended", process.pid)
        process.end_group()
        deadline = time.monotonic() + TERMINATE_S
        while process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
    return None


def lock_holders(root: Path) -> list[Process]:
    """Other processes that have the guard's lock open."""
    path, found = str((root / LOCK).resolve()), []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int(folder.name) != os.getpid() and path in (str(fd.readlink()) for fd in (folder / "fd").iterdir()):
                found.append(Process.of(int(folder.name)))
    return found


def ensure(settings: CloudSettings, root: Path) -> State:
    """Start a guard, or find the one that is there.

    Raises:
        UserError: it did not come up, several times; the message has the end of its log.
    """
    for _ in range(TRIES):
        if state := fresh_guard(settings, root) or _start(settings, root):
            return state
    lines = (root / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    raise UserError(f"The guard did not start; the end of {LOG}: {' | '.join(lines[-3:])}")


def _start(settings: CloudSettings, root: Path) -> State | None:
    (root / OWN).mkdir(parents=True, exist_ok=True)
    given = {name: value for name, value in settings.secrets().items() if name not in ("HF_TOKEN", "GIT_TOKEN")}
    with (root / LOG).open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, str(PROGRAM), "guard", "--settings", str(Path(settings.source).resolve())],
            cwd=root,
            env={**secret.without(os.environ), **given},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # what ends Snakemake's terminal or process group does not end the guard
        )
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if state := fresh_guard(settings, root):
            return state
        if child.poll() is not None:
            break
        time.sleep(0.05)
    child.kill()
    return None


def in_background(action: Callable[[], Any]) -> Future:
    """Do something in a thread that keeps no process from ending."""
    future: Future = Future()

    def work() -> None:
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future


class Guard:
    """The guard's work. ``root`` is the working directory of the runs."""

    def __init__(self, settings: CloudSettings, root: Path) -> None:
        """Open the ledger; nothing else happens before `watch` or `finish`, and nothing that is missing prevents it: a
        machine has to be ended without a bucket too."""
        self.settings, self.root = settings, root
        self.me = Process.of(os.getpid())
        self.machine = machine_id(settings.instance_id)
        self.accounts = Accounts(settings, root)
        self.sync: Sync | None = None
        self.no_sync = ""
        try:
            self.sync = Sync(settings, root)
        except UserError as error:
            self.no_sync = str(error)
            log.warning("Nothing can be copied: %s", error)
        self.copying: Future | None = None
        self.accounting: Future | None = None
        self.earliest_copy_s = self.next_copy_s = self.next_accounting_s = 0.0
        self.failures = self.seen_ns = 0
        self.spent_since_s: float | None = None
        self.terminated_since_s: float | None = None
        self.told: set[Process] = set()
        self.watcher = watch.Watcher(settings)

    def report(self, phase: str, message: str, ending: Ending | None = None) -> None:
        """Say what goes on, in the log and in the state file; a full disk does not stop the guard."""
        log.info("%s: %s", phase, message)
        with attempt():
            write_state(self.root, State(self.me, self.machine, phase, message, ending))

    def tick(self) -> None:
        """Show the pulse and count; account for the cost in the bucket when it is time, without waiting for it."""
        beat(self.root / LOCK)
        self.accounts.count()
        now = time.monotonic()
        if now >= self.next_accounting_s and (self.accounting is None or self.accounting.done()):
            self.next_accounting_s = now + self.settings.interval_s
            self.accounting = in_background(self.accounts.exchange)

    def within(self, limit_s: float, action: Callable[[], Any]) -> Any:
        """Do something in a thread and go on counting meanwhile.

        Raises:
            TimeoutError: it took longer than it may (it is left alone, in its thread).
        """
        future, deadline = in_background(action), time.monotonic() + limit_s
        while not wait_for([future], TICK_S).done:
            self.tick()
            if time.monotonic() > deadline:
                raise TimeoutError(f"no end after {limit_s:.0f} s")
        return future.result()

    def watch(self) -> Ending:
        """Look after the runs until none is left, then `finish`."""
        self.tick()
        self.report("watching", f"looking after {len(runs(self.root))} run(s)")
        while going_on := [run for run in runs(self.root) if run.is_going_on]:
            self.tick()
            self._copy_when_due()
            self._enforce_budget(going_on)
            for what in self.watcher.end_what_hangs(going_on, self.me):
                self.report("watching", what)
                notify.tell(self.settings, "failure", what)
            time.sleep(TICK_S)
        return self.finish()

    # the copy

    def _copy_when_due(self) -> None:
        now = time.monotonic()
        if self.copying is not None:
            if not self.copying.done():
                return
            self._note_copy(self.copying, now)
            self.copying = None
        is_due = now >= self.next_copy_s
        has_news = not self.failures and now >= self.earliest_copy_s and self._news_ns() != self.seen_ns
        if self.sync and (is_due or has_news):
            self.seen_ns = self._news_ns()
            self.earliest_copy_s = now + min(SHORTEST_PAUSE_S, self.settings.interval_s)
            self.copying = in_background(self.sync.run)

    def _news_ns(self) -> int:
        # Snakemake removes a job's marks from this folder when it is finished.
        try:
            return (self.root / INCOMPLETE).stat().st_mtime_ns
        except OSError:
            return 0

    def _note_copy(self, copying: Future, now: float) -> None:
        error = copying.exception()
        if error is None:
            report = copying.result()
            self.failures = 0
            self.next_copy_s = now + self.settings.interval_s
            if report.files:
                log.info("copied %d files, %.1f MB in %.1f s", report.files, report.bytes / 1e6, report.seconds)
            return
        self.failures += 1
        pause_s = min(self.settings.interval_s, SHORTEST_PAUSE_S * 2 ** (self.failures - 1))
        self.next_copy_s = now + pause_s
        log.warning("The copy failed %d times, next in %.0f s: %s", self.failures, pause_s, error)

    # the budget

    def _spent(self) -> str:
        settings = self.settings
        if is_spent(self.accounts.total_usd, settings.max_cost_usd):
            return f"the budget of {settings.max_cost_usd:g} US dollars is spent"
        if container_age_s() > settings.max_hours * 3600:
            return f"this machine's {settings.max_hours:g} hours are over"
        return ""

    def _enforce_budget(self, going_on: list[Run]) -> None:
        now, spent = time.monotonic(), self._spent()
        if not spent and self.spent_since_s is None:
            return
        if self.spent_since_s is None:
            self.spent_since_s = now
            said = f"{spent}: no new jobs, {self.settings.grace_s:g} s for those that run"
            self.report("watching", said)
            notify.tell(self.settings, "budget", said)
        # A run that still plans says itself that the budget is spent; the signal would only cut its words short.
        untold = [run for run in going_on if run.is_set_up and run.process not in self.told]
        watch.tell_snakemake(untold, signal.SIGTERM)
        self.told |= {run.process for run in untold}
        if now > self.spent_since_s + self.settings.grace_s:
            jobs = [job for run in going_on for job in watch.processes_of(run, self.me)]
            if self.terminated_since_s is None:
                self.terminated_since_s = now
                self.report("watching", f"the grace is over: ending {len(jobs)} processes of running jobs")
                watch.end_jobs(jobs, signal.SIGTERM)
            elif now > self.terminated_since_s + TERMINATE_S:
                watch.end_jobs(jobs, signal.SIGKILL)
                if now > self.terminated_since_s + 2 * TERMINATE_S:
                    watch.tell_snakemake(going_on, signal.SIGKILL)

    # the end

    def finish(self, finished: bool | None = None) -> Ending:
        """Make the final copy, verify it, end the instance.

        Args:
            finished: whether the work is done, where no run has reported it.
        """
        settings, ended = self.settings, runs(self.root)
        if ended:
            finished = all(run.outcome == "success" for run in ended)
        self.report("finishing", "making the final copy")
        unsaved, reason = self._save_within(time.monotonic() + settings.final_copy_s)
        mode = settings.shutdown
        if unsaved != 0 and mode != "stop" and settings.instance_id is not None and settings.vast_api_key:
            log.warning("The results are not verified in the bucket: the instance is stopped, not ended by %r", mode)
            mode = "stop"
        with suppress(TimeoutError, UserError):  # what is known now, should the machine be gone in a second
            self.within(settings.call_s, self.accounts.exchange)
        self.report("finishing", f"{reason or 'the results are in the bucket, verified'}; ending the instance ({mode})")
        machine = ""
        try:
            machine = self.within(4 * settings.machine["patience_s"], lambda: vast.shutdown(settings, mode))
        except Exception as error:  # nobody else would say that the machine is still there
            log.log(logging.ERROR, "The instance was not ended", exc_info=not isinstance(error, UserError))
            reason = f"{reason} {error}".strip()
        self.accounts.count()
        cost_usd = round(self.accounts.total_usd, 4)
        ending = Ending(finished, unsaved, machine, cost_usd, settings.max_cost_usd, reason)
        for run in ended:
            run.path.unlink(missing_ok=True)
        self.report("ended", str(ending), ending)
        with suppress(TimeoutError, UserError):
            self.within(settings.call_s, self.accounts.exchange)
        with suppress(TimeoutError):
            self.within(settings.call_s, lambda: notify.tell(settings, "end", str(ending)))
        return ending

    def _save_within(self, deadline_s: float) -> tuple[int | None, str]:
        """The final copy: number of files that are not saved (None: not known), and why."""
        if self.sync is None:
            return None, self.no_sync
        try:
            if self.copying is not None:  # a call of rclone has a limit of its own
                with suppress(UserError):
                    self.within((deadline_s - time.monotonic()) / 2, self.copying.result)
            return self.within(deadline_s - time.monotonic(), self._save)
        except TimeoutError as error:
            self.sync.bucket.interrupt()
            return None, f"The final copy was given up: {error}."
        except Exception as error:  # whatever it is, the instance has to be ended
            log.log(logging.WARNING, "The final copy failed", exc_info=not isinstance(error, UserError))
            return None, f"{str(error).rstrip('.')}."

    def _save(self) -> tuple[int, str]:
        patience_s, sync = self.settings.machine["patience_s"], self.sync
        for _ in range(VERIFY_ROUNDS):
            report = retried(lambda: sync.run(settle_s=0), patience_s)
            differing = retried(sync.verify, patience_s)
            if not differing:
                with suppress(UserError):
                    self.accounts.cancel_superfluous_uploads(sync.names())
                return 0, ""
            log.warning("Not equal in the bucket, copying again: %s", ", ".join(differing[:10]))
            sync.distrust(differing)
        waiting = f" ({len(report.waiting)} of them are newer in the bucket)" if report.waiting else ""
        return len(differing), f"Not saved{waiting}: {', '.join(differing[:3])}."


@contextmanager
def attempt() -> Iterator[None]:
    """Write something that the guard can go on without."""
    try:
        yield
    except OSError as error:
        log.warning("Could not write: %s", error)
