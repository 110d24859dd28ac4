"""What a run has cost so far, over all machines that worked on it.

Each machine writes its own file below `results/.cloud/ledger/`, so that machines never overwrite each other's: the
files travel to the bucket and back with the results, and their sum is the cost of the run.

Time is taken from the clock that counts since boot, sleep included. The wall clock plays no part in the cost: it may
be set while a run goes on, and is only written down for people to read. Standard library alone, since an account is
opened before anything is installed.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from blueprint.cloud.machine import boot_clock_s
from blueprint.errors import UserError
from blueprint.files import write_json

log = logging.getLogger(__name__)

JUMP_S = 60.0
"""A larger disagreement between the two clocks is worth a line in the log."""
HIGHEST_USD_PER_H = 1000.0
"""No machine costs more: an account beyond it is a mistake, or somebody else's file."""
LONGEST_S = 366 * 86_400.0


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

    def priced(self, rate_usd_per_h: float) -> Entry:
        """The account at another rate from now on, or from its beginning when none was known so far."""
        past_usd = self.cost_usd if self.rate_usd_per_h else self.cost_usd or cost_usd(self.seconds, rate_usd_per_h)
        return replace(self, rate_usd_per_h=rate_usd_per_h, cost_usd=past_usd)


def cost_usd(seconds: float, rate_usd_per_h: float) -> float:
    """US dollars for a time at an hourly rate."""
    return seconds / 3600 * rate_usd_per_h


def is_spent(total_usd: float, max_cost_usd: float) -> bool:
    """Whether a budget is used up; a budget of zero or less is no budget."""
    return max_cost_usd > 0 and total_usd >= max_cost_usd


def read_entry(name: str, text: str | bytes) -> Entry:
    """An account from the text of its file.

    Args:
        name: the file's name without suffix, which is the machine's.

    Raises:
        UserError: it is none, or its figures are impossible.
    """
    try:
        entry = Entry(**json.loads(text))
        figures = (entry.seconds, entry.cost_usd, entry.rate_usd_per_h)
        highest = (LONGEST_S, cost_usd(entry.seconds, HIGHEST_USD_PER_H) + 0.01, HIGHEST_USD_PER_H)
        sound = (
            all(0 <= figure <= bound for figure, bound in zip(figures, highest))  # noqa: B905 - equal lengths
            and math.isfinite(entry.clock_s)
            and entry.machine == name
        )
    except (ValueError, TypeError):
        sound = False
    if not sound:
        raise UserError(
            f"ledger: {name}.json is no account, or its figures are impossible (found {str(text)[:200]!r}). It is NOT "
            "counted: add its machine's cost by hand, and take it off max_cost_usd."
        )
    return entry


def entries(folder: Path) -> list[Entry]:
    """The accounts of all machines; a file that is none is told of and left out, for it must not stop a run."""
    found = []
    for path in sorted(folder.glob("[!.]*.json")):  # what is hidden is being written
        try:
            found.append(read_entry(path.stem, path.read_bytes()))
        except (UserError, OSError) as error:
            log.warning("%s", error)
    return found


def total_usd(folder: Path) -> float:
    """Cost of the run over all machines."""
    return math.fsum(entry.cost_usd for entry in entries(folder))


class Ledger:
    """This machine's account, kept up to date, beside those of the others."""

    def __init__(
        self,
        folder: Path,
        machine: str,
        rate_usd_per_h: float | None,
        age_s: float = 0.0,
        clock_s: Callable[[], float] = boot_clock_s,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        """Open or continue the account; the time since it was last written counts (a guard that died is no discount).

        Args:
            rate_usd_per_h: None takes the account's own, 0 when it has none yet.
            age_s: time before the account was opened that is billed too.
        """
        self.folder, self.machine = folder, machine
        self._clock_s, self._wall_s = clock_s, wall_s
        accounts = {entry.machine: entry for entry in entries(folder)}
        now, wall = clock_s(), self._wall()
        self._wall_minus_clock_s = wall_s() - now
        own = accounts.pop(machine, None) or Entry(
            machine, rate_usd_per_h or 0.0, 0.0, 0.0, now - age_s, started=wall, updated=wall
        )
        self.earlier_usd = math.fsum(entry.cost_usd for entry in accounts.values())
        self.entry = own.advanced(now, wall)
        if rate_usd_per_h is not None:
            self.entry = self.entry.priced(rate_usd_per_h)

    @property
    def path(self) -> Path:
        """The file of this machine's account."""
        return self.folder / f"{self.machine}.json"

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

    def reprice(self, rate_usd_per_h: float) -> None:
        """Count on at another rate."""
        self.count()
        if rate_usd_per_h != self.entry.rate_usd_per_h:
            log.warning(
                "The hourly rate is %.4f US dollars now (it was %.4f)", rate_usd_per_h, self.entry.rate_usd_per_h
            )
            self.entry = self.entry.priced(rate_usd_per_h)

    def look_around(self) -> None:
        """Take up what the other machines' accounts have come to."""
        self.earlier_usd = math.fsum(
            entry.cost_usd for entry in entries(self.folder) if entry.machine != self.entry.machine
        )

    def write(self) -> None:
        """Write this machine's account; the file appears whole."""
        write_json(self.path, asdict(self.entry))

    def _wall(self) -> str:
        return datetime.fromtimestamp(self._wall_s(), timezone.utc).isoformat(timespec="seconds")  # noqa: UP017 - 3.10


def refuse_spent(source: str, max_cost_usd: float, folder: Path) -> None:
    """Stop before anything starts when the machines before this one have used up the budget.

    Raises:
        UserError: the budget is spent.
    """
    spent_usd, machines = total_usd(folder), len(entries(folder))
    if is_spent(spent_usd, max_cost_usd):
        raise UserError(
            f"{source}: max_cost_usd: {max_cost_usd:g} is spent: this run has cost {spent_usd:.2f} "
            f"US dollars on {machines} machine{'s' * (machines != 1)}. Raise max_cost_usd, or start a new run_id."
        )
