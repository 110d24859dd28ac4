"""What a run has cost so far, over all machines that worked on it.

Each machine writes its own file below `results/.cloud/ledger/`, so that machines never overwrite each other's: the
files travel to the bucket and back with the results, and their sum is the cost of the run.

Time is taken from the clock that counts since boot, sleep included. The wall clock plays no part in the cost: it may
be set while a run goes on, and is only written down for people to read.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from blueprint.cloud.settings import CloudSettings
from blueprint.errors import UserError
from blueprint.files import read_json, write_json

log = logging.getLogger(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
JUMP_S = 60.0
"""A larger disagreement between the two clocks is worth a line in the log."""


def boot_clock_s() -> float:
    """Seconds since boot, including those asleep; unaffected by setting the time."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def machine_id(instance_id: int | None) -> str:
    """Name of this machine from this start on: another instance, boot or container start gets another name.

    A container that is stopped and started again must not be billed for the time between.
    """
    boot = BOOT_ID.read_text().strip() if BOOT_ID.exists() else "unknown"
    started = f"{psutil.Process(1).create_time():.0f}" if psutil.pid_exists(1) else "unknown"
    name = f"{instance_id}|{boot}|{started}"
    return f"{instance_id or 'local'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def container_age_s(environ: Mapping[str, str] = os.environ) -> float:
    """Seconds since a Vast container started, which are billed before anybody opens an account; 0 elsewhere."""
    if "CONTAINER_ID" not in environ:
        return 0.0
    return max(0.0, time.time() - psutil.Process(1).create_time())


@dataclass(frozen=True)
class Entry:
    """The account of one machine."""

    machine: str
    rate_usd_per_h: float
    """The rate that time is counted with from now on; past time keeps the rate of its day."""
    seconds: float
    cost_usd: float
    clock_s: float
    """Reading of the boot clock up to which time is counted."""
    started: str
    updated: str

    def advanced(self, clock_s: float, wall: str) -> Entry:
        """The account with the time up to ``clock_s`` counted; a clock that went backwards adds nothing."""
        elapsed_s = max(0.0, clock_s - self.clock_s)
        return replace(
            self,
            seconds=self.seconds + elapsed_s,
            cost_usd=self.cost_usd + cost_usd(elapsed_s, self.rate_usd_per_h),
            clock_s=max(clock_s, self.clock_s),
            updated=wall,
        )


def cost_usd(seconds: float, rate_usd_per_h: float) -> float:
    """US dollars for a time at an hourly rate."""
    return seconds / 3600 * rate_usd_per_h


def is_spent(total_usd: float, max_cost_usd: float) -> bool:
    """Whether a budget is used up; a budget of zero or less is no budget."""
    return max_cost_usd > 0 and total_usd >= max_cost_usd


def entries(folder: Path) -> list[Entry]:
    """The accounts of all machines.

    Raises:
        UserError: a file is not an account.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        values = read_json(path)
        try:
            entry = Entry(**values)
            sound = all(map(math.isfinite, (entry.seconds, entry.cost_usd, entry.clock_s, entry.rate_usd_per_h)))
        except TypeError:
            sound = False
        if not sound:
            raise UserError(
                f"{path}: not an account of the cost ledger (found {values!r}). Restore it from an older version in "
                "the bucket, or delete it if its cost need not count."
            )
        found.append(entry)
    return found


def total_usd(folder: Path) -> float:
    """Cost of the run over all machines; raises `UserError` as `entries` does."""
    return math.fsum(entry.cost_usd for entry in entries(folder))


class Ledger:
    """This machine's account, kept up to date, beside those of the others."""

    def __init__(
        self,
        folder: Path,
        machine: str,
        rate_usd_per_h: float,
        age_s: float = 0.0,
        clock_s: Callable[[], float] = boot_clock_s,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        """Open or continue the account; the time since it was last written counts (a guard that died is no discount).

        Args:
            age_s: time before the account was opened that is billed too.

        Raises:
            UserError: a file of the ledger cannot be read.
        """
        self._path = folder / f"{machine}.json"
        self._clock_s, self._wall_s = clock_s, wall_s
        accounts = {entry.machine: entry for entry in entries(folder)}
        now, wall = clock_s(), self._wall()
        self._wall_minus_clock_s = wall_s() - now
        self.earlier_usd = math.fsum(entry.cost_usd for name, entry in accounts.items() if name != machine)
        own = accounts.get(machine) or Entry(machine, rate_usd_per_h, 0.0, 0.0, now - age_s, started=wall, updated=wall)
        self.entry = replace(own.advanced(now, wall), rate_usd_per_h=rate_usd_per_h)

    @property
    def total_usd(self) -> float:
        """Cost of the run so far over all machines."""
        return self.earlier_usd + self.entry.cost_usd

    def count(self) -> float:
        """Count the time up to now and return the total; call `write` to keep it."""
        now = self._clock_s()
        jump_s = self._wall_s() - now - self._wall_minus_clock_s
        if abs(jump_s) > JUMP_S:
            log.warning("The time of day jumped by %.0f s; the cost is counted by the clock since boot.", jump_s)
            self._wall_minus_clock_s += jump_s
        self.entry = self.entry.advanced(now, self._wall())
        return self.total_usd

    def write(self) -> None:
        """Write this machine's account; the file appears whole."""
        write_json(self._path, asdict(self.entry))

    def _wall(self) -> str:
        return datetime.fromtimestamp(self._wall_s(), UTC).isoformat(timespec="seconds")


def refuse_spent(settings: CloudSettings, folder: Path) -> None:
    """Stop before anything starts when the machines before this one have used up the budget.

    Raises:
        UserError: the budget is spent.
    """
    spent_usd, machines = total_usd(folder), len(entries(folder))
    if is_spent(spent_usd, settings.max_cost_usd):
        raise UserError(
            f"{settings.source}: max_cost_usd: {settings.max_cost_usd:g} is spent: this run has cost {spent_usd:.2f} "
            f"US dollars on {machines} machine{'s' * (machines != 1)}. Raise max_cost_usd, or start a new run_id."
        )
