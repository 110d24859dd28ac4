"""Looks after a machine from its first minute, when nothing is installed, to its last, when nobody else may be left.

Standard library alone, for Python 3.10 and later: it runs on what the container has.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal
from urllib.error import URLError
from urllib.request import Request, urlopen

from blueprint.cloud.b2 import Store, StoreError
from blueprint.cloud.launched import VARIABLE, Launch
from blueprint.cloud.ledger import Ledger
from blueprint.cloud.machine import Process, boot_clock_s, container_age_s, machine_id
from blueprint.cloud.runs import guard_health, runs
from blueprint.errors import UserError

log = logging.getLogger(__name__)

TICK_S = 1.0
CALL_S = 30.0
STOP_PAUSE_S = 10.0
UNGUARDED = 4.0
"""Times `guard_silent_s` without a guard, although there is a run."""
LEDGER = "results/.cloud/ledger"

Verdict = Literal["wait", "finish", "leave"]


@dataclass(frozen=True)
class Seen:
    """What the sentry sees at one moment; all that it decides by."""

    onstart: bool
    """Whether `onstart.sh`, which sets up, runs Snakemake and ends the machine, is alive."""
    runs: bool
    """Whether Snakemake has announced a run in this boot."""
    guard: Literal["none", "fresh", "stale"]
    ended: bool
    """Whether a guard has said that the machine was ended."""
    age_s: float
    """Since the container started."""
    onstart_ended_s: float
    """Since `onstart.sh` was seen no more."""
    guard_gone_s: float
    """Since a run has been without a guard that has a pulse."""


def decide(seen: Seen, launch: Launch) -> Verdict:
    """What to do now: wait, have the machine ended, or leave, because all is over.

    Whoever is alive and has a pulse is left to do its work; the sentry acts when there is nobody, or not in time.
    """
    is_late = seen.age_s > launch.max_hours * 3600 + launch.finish_s
    if seen.ended and not is_late:
        return "leave" if not seen.onstart else "wait"
    if is_late:
        return "finish"
    if seen.guard == "fresh":
        return "wait"
    if seen.onstart:
        # Snakemake replaces a guard without a pulse, several times over in this time: it must hang itself.
        is_unguarded = seen.runs and seen.guard_gone_s > UNGUARDED * launch.guard_silent_s
        return "finish" if is_unguarded or (not seen.runs and seen.age_s > launch.setup_s) else "wait"
    return "finish" if seen.onstart_ended_s > launch.guard_silent_s / 2 else "wait"


class Sentry:
    """The sentry of one machine."""

    def __init__(self, root: Path, launch: Launch, onstart: int, python: Path, environ: Mapping[str, str]) -> None:
        self.root, self.launch, self.python, self.environ = root, launch, python, environ
        try:
            self.onstart: Process | None = Process.of(onstart)
        except ProcessLookupError:
            self.onstart = None
        number = environ.get("VAST_INSTANCE_ID") or environ.get("CONTAINER_ID") or ""
        self.instance = int(number) if number.isdecimal() else None
        self.machine = machine_id(self.instance)
        self.ledger = Ledger(root / LEDGER, self.machine, None, container_age_s(environ))
        if not self.ledger.entry.rate_usd_per_h:
            self.ledger.entry = self.ledger.entry.priced(launch.rate_usd_per_h)
        self.key = environ.get("VAST_API_KEY") or environ.get("CONTAINER_API_KEY") or ""
        keys = (environ.get("B2_APPLICATION_KEY_ID", ""), environ.get("B2_APPLICATION_KEY", ""))
        self.store = Store(launch.bucket, launch.folder, *keys, launch.endpoint)
        self.next_account_s = 0.0
        self.gone_since_s: float | None = None
        self.guarded_s = time.monotonic()

    @classmethod
    def from_environment(cls, root: Path, onstart: int, python: Path) -> Sentry | None:
        """The sentry of a machine that was launched; None on any other."""
        text = os.environ.get(VARIABLE)
        return None if text is None else cls(root, Launch.from_text(text), onstart, python, dict(os.environ))

    def look(self) -> Seen:
        """See what there is."""
        alive = self.onstart is not None and self.onstart.is_alive()
        now = time.monotonic()
        if not alive and self.gone_since_s is None:
            self.gone_since_s = now
        health, state = guard_health(self.root, self.launch.guard_silent_s)
        ended = state is not None and state.phase == "ended" and state.machine == self.machine
        is_done = ended and bool(state.ending and state.ending.machine)
        gone_s = 0.0 if self.gone_since_s is None else now - self.gone_since_s
        age_s, has_runs = container_age_s(self.environ), bool(runs(self.root))
        if health == "fresh" or not has_runs:
            self.guarded_s = now
        return Seen(alive, has_runs, health, is_done, age_s, gone_s, now - self.guarded_s)

    def watch(self) -> None:
        """Look after the machine until it has ended."""
        while True:
            seen = self.look()
            if seen.guard != "fresh":
                self.account()
            verdict = decide(seen, self.launch)
            if verdict == "leave":
                return
            if verdict == "finish":
                log.warning("Nobody ends this machine in time (%s)", seen)
                self.finish()
                return
            time.sleep(TICK_S)

    def account(self, now: bool = False) -> None:
        """Keep the account while the guard does not; at its pace, or ``now``."""
        if not now and boot_clock_s() < self.next_account_s:
            return
        self.next_account_s = boot_clock_s() + self.launch.interval_s
        # The guard may have counted since, at another price.
        self.ledger = Ledger(self.ledger.folder, self.machine, None, container_age_s(self.environ))
        if not self.ledger.entry.rate_usd_per_h:
            self.ledger.entry = self.ledger.entry.priced(self.launch.rate_usd_per_h)
        try:
            self.ledger.write()
            content = json.dumps(asdict(self.ledger.entry), indent=2, sort_keys=True).encode() + b"\n"
            self.store.put(f"{LEDGER}/{self.machine}.json", content)
        except (StoreError, UserError, OSError) as error:
            log.warning("The account is not in the bucket: %s", error)

    def finish(self) -> None:
        """End what hangs, have the results saved and the machine ended, or stop it without."""
        if self.onstart is not None:
            for number in (signal.SIGSTOP, signal.SIGKILL):
                self.onstart.signal(number)
        if self.python.exists():
            settings = self.environ.get("BLUEPRINT_SETTINGS", "profiles/vast/cloud.yaml")
            command = [str(self.python), "workflow/scripts/cloud.py", "finish", "--settings", settings, "--status", "1"]
            child = subprocess.Popen(command, cwd=self.root, env=dict(self.environ), start_new_session=True)
            deadline_s = boot_clock_s() + self.launch.finish_s
            while child.poll() is None and boot_clock_s() < deadline_s:
                time.sleep(0.2)
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            if self.look().ended:
                return
        log.warning("The machine is stopped without a final copy, its disk is kept")
        self.account(now=True)
        self.stop()

    def stop(self) -> None:
        """Ask Vast again and again to stop the instance: the container is gone as soon as that happens."""
        base = self.environ.get("VAST_URL", "https://console.vast.ai")
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        address = f"{base}/api/v0/instances/{self.instance}/"
        for _ in range(int(self.environ.get("STOP_ATTEMPTS", "1000000"))):
            try:
                with urlopen(
                    Request(address, b'{"state": "stopped"}', headers, method="PUT"), timeout=CALL_S
                ) as answer:
                    log.warning("Stop: HTTP %d", answer.status)
                with urlopen(Request(address, headers=headers), timeout=CALL_S) as answer:
                    row = json.loads(answer.read()).get("instances") or {}
                if row.get("actual_status") in (None, "exited", "stopped"):
                    self.account(now=True)
                    return
            except (URLError, OSError, ValueError) as error:
                log.warning("Stop: %s", error)
            time.sleep(float(self.environ.get("STOP_PAUSE_S", STOP_PAUSE_S)))
