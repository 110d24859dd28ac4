"""Checks that a person reads as one table: what was checked, the result, the evidence, the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table

COLOUR = {"ok": "green", "fail": "red", "skip": "dim", "unknown": "yellow", "warn": "yellow"}

LOG_WIDTH = 160


@dataclass(frozen=True)
class Check:
    """One line of a table of checks."""

    name: str
    result: Literal["ok", "fail", "skip", "unknown", "warn"]
    """``warn``: looks wrong and need not be; ``skip``: does not apply here; ``unknown``: could not be made, since a
    service cannot be reached."""
    evidence: str
    """What was found (never a secret)."""
    remedy: str = ""
    """What to do; needed unless the result is ``ok``."""

    def to_json(self) -> dict[str, str]:
        """The check as a JSON object."""
        return asdict(self)


def print_table(checks: Iterable[Check], title: str, console: Console | None = None) -> None:
    """Print the checks as one table on standard error."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("check", "result", "evidence", "remedy"):
        table.add_column(column, overflow="fold")
    for check in checks:
        style = COLOUR[check.result]
        table.add_row(check.name, f"[{style}]{check.result}[/{style}]", check.evidence, check.remedy)
    if console is None:
        console = Console(stderr=True)
        if not console.is_terminal:
            console.width = LOG_WIDTH
    console.print(table)
