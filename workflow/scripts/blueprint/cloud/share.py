"""Several machines on one run: each takes a clip that nobody has, makes it, and takes the next.

Every machine lives today's life (guard, account, sync, budget over all accounts); this is what stands in Snakemake's
place on it and calls Snakemake once for each share. What a machine holds it says in the bucket, by an object of its own
name: of those for one share the oldest holds it, by B2's clock, and whoever finds that it is not the oldest stops. A
machine whose account is too old is lost, and its share can be claimed anew. As long as one works another waits, for
what may be lost, the end of it all included.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from blueprint.cloud import watch
from blueprint.cloud.accounts import accounts_in
from blueprint.cloud.b2 import Store, StoreError, StoreRefusal
from blueprint.cloud.bucket import LEDGER, OWN, retried
from blueprint.cloud.restore import restore
from blueprint.cloud.runs import RUNS
from blueprint.cloud.settings import CloudSettings
from blueprint.cloud.sync import Sync
from blueprint.config import folders
from blueprint.plan import make_plan, planned_clips

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

CLAIMS = f"{OWN}/claims"
VARIABLE = "BLUEPRINT_SHARE"
"""Names the launch that several machines are of; not set where there is one."""
PREPARE, WAIT, MERGE = "prepare", "wait", "merge"
OVER = "over"
FAILURES = 2
"""Clips in a row that fail before a machine leaves: it may be the machine, and others are to try the rest."""
LOST_INTERVALS = 5
"""Accounts that a machine may miss before it counts as lost, besides the time in which a dead guard is replaced."""


@dataclass(frozen=True)
class Held:
    """Who holds a share."""

    machine: str
    turn: int
    """How often it was claimed anew, after machines that were lost."""
    at_s: float


class Claims:
    """Who does what, as the bucket says."""

    def __init__(self, store: Store, launch: str, machine: str, lost_s: float) -> None:
        """Nothing is asked yet.

        Args:
            store: the run's folder.
            launch: name of the launch; claims of another one say nothing.
            machine: this one's name, as its account has it.
            lost_s: age of an account (seconds) beyond which its machine is lost.
        """
        self.store, self.folder, self.machine, self.lost_s = store, f"{CLAIMS}/{launch}", machine, lost_s

    def read(self) -> tuple[dict[str, Held], set[str]]:
        """Who holds which share, and which are over; raises `StoreError`."""
        held: dict[str, Held] = {}
        over = set()
        for found in self.store.list(f"{self.folder}/"):
            share, turn, machine = found.name.removeprefix(f"{self.folder}/").rsplit("/", 2)
            if turn == OVER:
                over.add(share)
                continue
            new, old = Held(machine, int(turn), found.at_s), held.get(share)
            if old is None or (-new.turn, new.at_s, new.machine) < (-old.turn, old.at_s, old.machine):
                held[share] = new
        return held, over

    def take(self, share: str) -> Held | None:
        """Claim a share that nobody holds, or one of a lost machine; None where another has it or it is over.

        Raises:
            StoreError: the bucket could not be asked.
        """
        held, over = self.read()
        holder = held.get(share)
        return None if share in over else self._claim(share, holder, holder is None or self._is_lost(holder))

    def wait(self) -> bool:
        """Whether this machine is to wait for what others may lose: nobody else does, or who does is lost or at work.

        Raises:
            StoreError: the bucket could not be asked.
        """
        held, over = self.read()
        holder = held.get(WAIT)
        at_work = {one.machine for share, one in held.items() if share != WAIT and share not in over}
        is_free = holder is None or holder.machine in at_work or self._is_lost(holder)
        return self._claim(WAIT, holder, is_free) is not None

    def _claim(self, share: str, holder: Held | None, is_free: bool) -> Held | None:
        if is_free and (holder is None or holder.machine != self.machine):
            turn = holder.turn + 1 if holder else 0
            self.store.put(f"{self.folder}/{share}/{turn:04d}/{self.machine}", b"{}")
            holder = self.read()[0][share]
        return holder if holder and holder.machine == self.machine else None

    def holds(self, share: str) -> bool:
        """Whether this machine still does, and nobody has made it; raises `StoreError`."""
        held, over = self.read()
        return share in held and held[share].machine == self.machine and share not in over

    def end(self, share: str) -> None:
        """Say that a share is over, made or failed; raises `StoreError`."""
        self.store.put(f"{self.folder}/{share}/{OVER}/{self.machine}", b"{}")

    def _is_lost(self, holder: Held) -> bool:
        if holder.machine.rpartition("-")[0] == self.machine.rpartition("-")[0]:
            return True  # this instance, before it was started again
        signs = [found.at_s for found in self.store.list(f"{LEDGER}/{holder.machine}.json")]
        return time.time() + self.store.clock_offset_s - max([holder.at_s, *signs]) > self.lost_s


def lost_s(settings: CloudSettings) -> float:
    """Age of a machine's account, in seconds, beyond which others take over."""
    return LOST_INTERVALS * settings.interval_s + 2 * settings.guard_silent_s


def shares_of(config: Mapping[str, Any], source: str) -> dict[str, list[str]]:
    """Snakemake's targets for each share: first what is small and serves all, then the clips, the largest first.

    Args:
        config: the completed configuration.
        source: its file, for messages.
    """
    results, plan = folders(config)["results"], make_plan(config, source)
    first = [f"{results}/preflight/{name}.json" for name in sorted(plan.environments)]
    for facility in plan.facilities:
        first += [f"{results}/{facility}/preflight.json", f"{results}/{facility}/fidelity.json"]
        first += [f"{results}/{facility}/fidelity/passed.txt"] if config["fidelity"]["fail_run"] else []
    shares = {PREPARE: first}
    for clip in sorted(planned_clips(config), key=lambda clip: -clip.frames * clip.width * clip.height):
        of = f"{results}/{clip.facility['name']}"
        targets = [f"{of}/previews/{clip.name}.json", f"{of}/diversity/{clip.name}.json"]
        shares[f"{clip.facility['name']}/{clip.name}"] = targets
    return shares


@dataclass(frozen=True)
class Part:
    """What one machine has done of a run, and what it has cost."""

    machine: str
    claimed: int
    """Clips, also those that were taken over from it."""
    done: int
    """Clips, also those that failed."""
    at: str
    """What it holds that is not over."""
    seconds: float
    cost_usd: float


def parts_of(store: Store) -> list[Part]:
    """The part of each machine in the newest launch of several, and the cost of all that came before; else nothing.

    Raises:
        UserError: the bucket could not be read, or an account in it is none.
    """
    if not (claims := store.list(f"{CLAIMS}/")):
        return []
    launch = max(claims, key=lambda found: found.at_s).name.removeprefix(f"{CLAIMS}/").partition("/")[0]
    held, over = Claims(store, launch, "", 0.0).read()
    claimed, done = Counter(), Counter()
    for found in claims:
        _, *share, turn, machine = found.name.removeprefix(f"{CLAIMS}/").split("/")
        if found.name.startswith(f"{CLAIMS}/{launch}/") and len(share) > 1:  # those of no clip have one name
            (done if turn == OVER else claimed)[machine] += 1
    accounts = {entry.machine: entry for entry in accounts_in(store)}
    parts = []
    for machine in sorted({*accounts, *claimed}):
        now = sorted(share for share, one in held.items() if one.machine == machine and share not in over)
        entry = accounts.get(machine)
        figures = (entry.seconds, entry.cost_usd) if entry else (0.0, 0.0)
        parts.append(Part(machine, claimed[machine], done[machine], ", ".join(now), *figures))
    return parts


class Sharer:
    """One machine's part in a run that several share."""

    def __init__(
        self, settings: CloudSettings, root: Path, claims: Claims, shares: Mapping[str, list[str]], configfile: str
    ) -> None:
        """Nothing happens yet. ``shares`` is what `shares_of` returned."""
        self.settings, self.root, self.claims, self.shares = settings, root, claims, dict(shares)
        profile = str(Path(settings.source).parent)
        self.snakemake = [sys.executable, str(Path(sys.executable).with_name("snakemake"))]
        self.options = ["--profile", profile, "--configfile", configfile]  # the last one would take targets for files
        self.stopping = self.failed = False
        self.failures = 0
        self.behind = True
        """Whether another machine may have made what comes first since this checkout was filled."""

    def work(self) -> bool:
        """Take shares until nothing is left for this machine; whether all that it did went well."""
        signal.signal(signal.SIGTERM, self._stop)
        while not self.stopping and (held := self._next()) is not None:
            share, turn = held
            if share == WAIT:
                self._pause()
                continue
            if turn or share == MERGE or self.behind:
                self._restore()
                self.behind = False
            self._make(share, self.shares.get(share, []))
        return not (self.failed or self.stopping)

    def _stop(self, *_: Any) -> None:
        self.stopping = True

    def _next(self) -> tuple[str, int] | None:
        """The next share of this machine and how often it was lost before; None: others do what is left."""
        over = self._over()
        if MERGE in over:
            self.failed |= PREPARE not in over
            return None
        # All the rest needs what is made first; what all clips are needed for comes last.
        first = [] if PREPARE in over else [PREPARE]
        last = [MERGE] if self.shares.keys() <= over else []
        for share in first or [share for share in self.shares if share not in over] or last:
            if held := self._asked(lambda share=share: self.claims.take(share)):
                return share, held.turn
        self.behind = self.behind or bool(first)
        return (WAIT, 0) if first or self._asked(self.claims.wait) else None

    def _over(self) -> set[str]:
        return self._asked(self.claims.read)[1]

    def _asked(self, question: Callable[[], Answer]) -> Answer:
        """The bucket's answer, however long it takes: nothing is made without a claim, and the guard looks at the cost.

        Raises:
            StoreError: the key is refused, or the machine is about to be ended.
        """
        while True:
            try:
                return question()
            except StoreError as error:
                if self.stopping or isinstance(error, StoreRefusal):
                    raise
                log.warning("%s; asking again", error)
                self._pause()

    def _pause(self) -> None:
        # By a child: the guard takes a run without one, for long, for hung.
        subprocess.run(["sleep", str(min(10.0, self.settings.interval_s))])

    def _restore(self) -> None:
        retried(lambda: restore(self.settings, self.root), self.settings.machine["patience_s"])

    def _make(self, share: str, targets: Sequence[str]) -> None:
        log.info("Share %s: begun", share)
        child = subprocess.Popen([*self.snakemake, *targets, *self.options], cwd=self.root, stdin=subprocess.DEVNULL)
        next_s, is_mine = time.monotonic() + self.settings.interval_s, True
        while child.poll() is None:
            time.sleep(0.2)
            if is_mine and time.monotonic() > next_s:
                next_s = time.monotonic() + self.settings.interval_s
                with suppress(StoreError):
                    is_mine = self.claims.holds(share)
                if not is_mine:
                    self._abandon(child)
        (self.root / RUNS / f"{child.pid}.json").unlink(missing_ok=True)  # the whole has one outcome
        if not is_mine or (child.returncode and self.stopping):
            log.warning("Share %s: %s", share, "left unfinished" if is_mine else "another machine has taken it over")
            return
        log.info("Share %s: %s", share, "failed" if child.returncode else "made")
        self.failures = self.failures + 1 if child.returncode else 0
        is_end = bool(child.returncode) and share in (PREPARE, MERGE)
        if not is_end:  # nothing can follow: the others need not wait
            retried(lambda: Sync(self.settings, self.root).run(settle_s=0), self.settings.machine["patience_s"])
        # A clip that failed is over, too: the last machine tries it again, and says so where it fails there.
        self._asked(lambda: self.claims.end(MERGE if is_end else share))
        if is_end or self.failures == FAILURES:
            self.failed = self.stopping = True

    @staticmethod
    def _abandon(child: subprocess.Popen) -> None:
        with suppress(psutil.Error, OSError):
            jobs = psutil.Process(child.pid).children(recursive=True)
            os.kill(child.pid, signal.SIGTERM)  # before its jobs: it begins no other
            # The guard is in a session of its own, and may be a child of Snakemake.
            here = os.getsid(0)
            watch.end_jobs([job for job in jobs if os.getsid(job.pid) == here], signal.SIGTERM)
