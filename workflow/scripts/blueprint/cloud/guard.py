"""The guard: a process of its own that looks after results and money while Snakemake runs, and when it no longer does.

It copies finished outputs to the bucket, counts the cost, enforces the budget, and once no run is left it makes the
final copy, verifies it and ends the instance. Snakemake's handlers only tell it how a run ended; when they cannot,
because Snakemake was killed, the guard sees that the process is gone. There is one guard per working directory: a lock
that the operating system releases with its owner decides who it is.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import psutil

from blueprint.cloud import vast
from blueprint.cloud.ledger import Ledger, container_age_s, entries, is_spent, machine_id
from blueprint.cloud.settings import CloudSettings
from blueprint.cloud.sync import INCOMPLETE, LEDGER, OWN, Sync, retried
from blueprint.errors import UserError
from blueprint.files import write_json

log = logging.getLogger(__name__)

LOCK = f"{OWN}/guard.lock"
STATE = f"{OWN}/guard.json"
LOG = f"{OWN}/guard.log"
RUNS = f"{OWN}/runs"
PROGRAM = Path(__file__).resolve().parents[2] / "cloud.py"

TICK_S = 0.2
SHORTEST_PAUSE_S = 2.0
"""Between two copies, however many jobs finish."""
TERMINATE_S = 10.0
"""From asking a job to end until it is killed."""
VERIFY_ROUNDS = 3
ASK_S = 20.0
"""For Vast's API to name the hourly rate."""
START_S = 60.0
"""For a new guard to report that it is there."""

Outcome = Literal["running", "success", "error"]


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for a later one with the same number."""

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this number now."""
        return cls(pid, psutil.Process(pid).create_time())

    def handle(self) -> psutil.Process | None:
        """The living process, None when it is gone or only waits to be reaped."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.created) < 0.02 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


@dataclass(frozen=True)
class State:
    """What the guard says about itself."""

    guard: Process
    phase: Literal["watching", "finishing", "ended", "failed"]
    message: str
    cost_usd: float


def read_state(root: Path) -> State | None:
    """The last state that a guard of this working directory wrote."""
    try:
        values = json.loads((root / STATE).read_text(encoding="utf-8"))
        return State(**{**values, "guard": Process(**values["guard"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def running_guard(root: Path) -> State | None:
    """The state of the guard that is alive now, None when there is none."""
    state = read_state(root)
    return state if state and state.guard.handle() else None


@dataclass(frozen=True)
class Run:
    """A Snakemake process that the guard looks after."""

    path: Path
    process: Process
    outcome: Outcome

    @property
    def is_going_on(self) -> bool:
        """Whether it has neither reported its end nor died."""
        return self.outcome == "running" and self.process.handle() is not None


def write_run(root: Path, process: Process, outcome: Outcome) -> None:
    """Tell the guard of a run: that it is there, or how it ended."""
    write_json(root / RUNS / f"{process.pid}.json", {**asdict(process), "outcome": outcome})


def runs(root: Path) -> list[Run]:
    """The runs that were announced since a guard last finished."""
    found = []
    for path in sorted((root / RUNS).glob("*.json")):
        with suppress(OSError, ValueError, KeyError):
            values = json.loads(path.read_text(encoding="utf-8"))
            found.append(Run(path, Process(values["pid"], values["created"]), values["outcome"]))
    return found


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
            yield True


def ensure(settings: CloudSettings, root: Path) -> State:
    """Start a guard, or find the one that is there.

    Raises:
        UserError: it did not come up; the message has the end of its log.
    """
    if state := running_guard(root):
        return state
    (root / OWN).mkdir(parents=True, exist_ok=True)
    with (root / LOG).open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, str(PROGRAM), "guard", "--settings", str(Path(settings.source).resolve())],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # what ends Snakemake's terminal or process group does not end the guard
        )
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if state := running_guard(root):
            return state
        if child.poll() is not None and child.returncode:
            break
        time.sleep(0.05)
    lines = (root / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    raise UserError(f"The guard did not start; the end of {LOG}: {' | '.join(lines[-3:])}")


class Guard:
    """The guard's work. ``root`` is the working directory of the runs."""

    def __init__(self, settings: CloudSettings, root: Path) -> None:
        """Open the ledger and report; nothing else happens before `watch` or `finish`.

        Raises:
            UserError: credentials are missing; a budget is set and no hourly rate is known.
        """
        self.settings, self.root = settings, root
        self.sync = Sync(settings, root)
        self.ledger = open_ledger(settings, root)
        self.me = Process.of(os.getpid())
        self.pool = ThreadPoolExecutor(1)
        self.copying: Future | None = None
        self.earliest_copy_s = self.next_copy_s = 0.0
        self.failures = 0
        self.seen_ns = 0
        self.said = ""
        self.spent_since_s: float | None = None
        self.terminated_since_s: float | None = None

    def report(self, phase: Literal["watching", "finishing", "ended", "failed"], message: str) -> None:
        """Say what goes on, in the log and in the state file; a full disk does not stop the guard."""
        self.said = message
        log.info("%s: %s", phase, message)
        state = State(self.me, phase, message, round(self.ledger.total_usd, 4))
        attempt(lambda: write_json(self.root / STATE, asdict(state)))

    def count(self) -> None:
        """Bring the ledger up to date."""
        self.ledger.count()
        attempt(self.ledger.write)

    def watch(self) -> bool:
        """Look after the runs until none is left, then `finish`; whether all ended well."""
        self.count()
        self.report("watching", f"looking after {len(runs(self.root))} run(s)")
        while any(run.is_going_on for run in runs(self.root)):
            self._copy_when_due()
            self._enforce_budget()
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
        if is_due or has_news:
            self.seen_ns = self._news_ns()
            self.earliest_copy_s = now + min(SHORTEST_PAUSE_S, self.settings.interval_s)
            self.count()
            self.copying = self.pool.submit(self.sync.run)

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

    def _enforce_budget(self) -> None:
        now = time.monotonic()
        if not is_spent(self.ledger.count(), self.settings.max_cost_usd):
            return
        going_on = [run for run in runs(self.root) if run.is_going_on]
        if self.spent_since_s is None:
            self.spent_since_s = now
            self.report(
                "watching",
                f"the budget of {self.settings.max_cost_usd:g} US dollars is spent: no new jobs, "
                f"{self.settings.grace_s:g} s for those that run",
            )
            tell_snakemake(going_on, signal.SIGTERM)
        elif now > self.spent_since_s + self.settings.grace_s:
            jobs = [job for run in going_on for job in jobs_of(run.process, self.me)]
            if self.terminated_since_s is None:
                self.terminated_since_s = now
                self.report("watching", f"the grace is over: ending {len(jobs)} processes of running jobs")
                end_jobs(jobs, signal.SIGTERM)
            elif now > self.terminated_since_s + TERMINATE_S:
                end_jobs(jobs, signal.SIGKILL)
                if now > self.terminated_since_s + 2 * TERMINATE_S:
                    tell_snakemake(going_on, signal.SIGKILL)

    # the end

    def finish(self) -> bool:
        """Make the final copy, verify it, end the instance; whether the results are safe and the instance ended."""
        ended = runs(self.root)
        self.report("finishing", "making the final copy")
        self.pool.shutdown(wait=True)
        self.count()
        problem = self._save()
        mode = self.settings.shutdown
        if problem and mode != "stop":
            log.warning("The results are not verified in the bucket: the instance is stopped, not ended by %r", mode)
            mode = "stop"
        self.report(
            "finishing", f"{problem or 'the results are in the bucket, verified'}; ending the instance ({mode})"
        )
        try:
            state = vast.shutdown(self.settings, mode)
        except Exception as error:  # nobody else would say that the machine is still there
            log.log(logging.ERROR, "The instance was not ended", exc_info=not isinstance(error, UserError))
            self.report("failed", f"{problem} {error} THE INSTANCE MAY STILL COST MONEY.".strip())
            return False
        finally:
            for run in ended:
                run.path.unlink(missing_ok=True)
        kept = "" if state == "gone" else " The disk keeps what is on it."
        cost = f" The run has cost {self.ledger.total_usd:.2f} US dollars{self._budget()}."
        if problem:
            self.report("failed", f"{problem} The instance is {state}.{kept}{cost}")
            return False
        self.report("ended", f"The results are in the bucket, verified. The instance is {state}.{cost}")
        return True

    def _budget(self) -> str:
        if not self.settings.has_budget:
            return ""
        spent = ", ALL of it" if is_spent(self.ledger.total_usd, self.settings.max_cost_usd) else ""
        return f" of a budget of {self.settings.max_cost_usd:g}{spent}"

    def _save(self) -> str:
        """The final copy; what is wrong with it, empty when all is verified."""
        patience_s = self.settings.machine["patience_s"]
        try:
            for _ in range(VERIFY_ROUNDS):
                report = retried(lambda: self.sync.run(settle_s=0), patience_s)
                differing = retried(self.sync.verify, patience_s)
                if not differing:
                    return ""
                log.warning("Not equal in the bucket, copying again: %s", ", ".join(differing[:10]))
                self.sync.distrust(differing)
        except Exception as error:  # whatever it is, the instance has to be ended
            log.log(logging.WARNING, "The final copy failed", exc_info=not isinstance(error, UserError))
            return f"The results are NOT all in the bucket: {error}."
        waiting = f" ({len(report.waiting)} of them are newer in the bucket)" if report.waiting else ""
        shown = ", ".join(differing[:3])
        return f"The results are NOT all in the bucket: {len(differing)} files differ{waiting}, such as {shown}."


def attempt(write: Callable[[], None]) -> None:
    """Write something that the guard can go on without."""
    try:
        write()
    except OSError as error:
        log.warning("Could not write: %s", error)


def open_ledger(settings: CloudSettings, root: Path) -> Ledger:
    """This machine's account, at the settings' rate, the one it has already, or what Vast says now.

    Raises:
        UserError: no rate is known, and a budget is set.
    """
    machine = machine_id(settings.instance_id)
    return Ledger(root / LEDGER, machine, _rate_usd_per_h(settings, root / LEDGER, machine), container_age_s())


def _rate_usd_per_h(settings: CloudSettings, folder: Path, machine: str) -> float:
    if settings.rate_usd_per_h is None:
        known = [entry.rate_usd_per_h for entry in entries(folder) if entry.machine == machine]
        if known and known[0] > 0:
            return known[0]  # a guard that has to be replaced may come back while Vast's API does not answer
    try:
        return vast.rate_usd_per_h(replace(settings, machine={**settings.machine, "patience_s": ASK_S}))
    except UserError as error:
        if settings.has_budget:
            raise
        log.warning("The cost is not counted, since no hourly rate is known: %s", error)
        return 0.0


def jobs_of(snakemake: Process, guard: Process) -> list[psutil.Process]:
    """Every process of the jobs of a run: Snakemake's descendants, less the guard and its children."""
    process = snakemake.handle()
    if process is None:
        return []
    with suppress(psutil.Error):
        own = {guard.pid, *(child.pid for child in psutil.Process(guard.pid).children(recursive=True))}
        return [child for child in process.children(recursive=True) if child.pid not in own]
    return []


def tell_snakemake(going_on: list[Run], number: signal.Signals) -> None:
    """Signal Snakemake alone: its jobs are in its process group and are meant to go on."""
    for process in filter(None, (run.process.handle() for run in going_on)):
        with suppress(psutil.Error):
            process.send_signal(number)


def end_jobs(jobs: list[psutil.Process], number: signal.Signals) -> None:
    """Signal processes of jobs, and the whole group of each that leads one."""
    for process in jobs:
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == process.pid:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
