"""The last line of a run on a rented machine, the same wherever it is written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ending:
    """How a run ended: what was made, what is safe, whether anything still costs money."""

    finished: bool | None
    """Whether all that was asked for has been made; None when nobody can tell."""
    unsaved: int | None
    """Number of finished files that are not verified in the bucket; None when they could not be compared."""
    machine: str
    """The state that was read back (``gone``, ``stopped``, ``unconfirmed`` after a command of one's own); empty: it was
    not ended."""
    cost_usd: float
    budget_usd: float = 0.0
    """Zero or less: no budget."""
    reason: str = ""
    """What went wrong, in full sentences."""

    @property
    def is_good(self) -> bool:
        """Whether work, results and machine are all as they should be: what the exit status says."""
        return self.finished is True and self.unsaved == 0 and bool(self.machine)

    def __str__(self) -> str:
        work = {True: "yes", False: "NO", None: "unknown"}[self.finished]
        saved = "yes, verified" if self.unsaved == 0 else f"NO ({self._unsaved()})"
        kept = {"stopped": ", its disk is kept and billed", "unconfirmed": " by your command"}.get(self.machine, "")
        ended = f"yes ({self.machine}{kept})" if self.machine else "NO, IT STILL COSTS MONEY"
        cost = f"{self.cost_usd:.2f} US dollars"
        if self.budget_usd > 0:
            cost += f" of a budget of {self.budget_usd:g}" + (", ALL of it" if self.cost_usd >= self.budget_usd else "")
        reason = f" {self.reason.strip()}" if self.reason.strip() else ""
        return f"Work finished: {work}. Results saved: {saved}. Machine ended: {ended}. Total cost: {cost}.{reason}"

    def _unsaved(self) -> str:
        if self.unsaved is None:
            return "nobody could compare them with the bucket"
        return "1 file is not" if self.unsaved == 1 else f"{self.unsaved} files are not"
