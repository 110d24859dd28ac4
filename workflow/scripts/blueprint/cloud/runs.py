"""What the processes of a machine tell one another: which runs there are, what the guard does, that both are alive.

Everything is a small file below `results/.cloud/`. A pulse is the modification time of one of them, set to the clock
since boot: it needs no room on a full disk, and no setting of the time of day makes it young or old.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from blueprint.cloud.ending import Ending
from blueprint.cloud.machine import Process, boot_clock_s
from blueprint.files import whole_file, write_json

OWN = "results/.cloud"
LOCK = f"{OWN}/guard.lock"
"""Held by the guard; its modification time is the guard's pulse."""
STATE = f"{OWN}/guard.json"
RUNS = f"{OWN}/runs"

Outcome = Literal["running", "success", "error"]
Health = Literal["none", "fresh", "stale"]


def beat(path: Path) -> None:
    """Say: alive now."""
    now_ns = int(boot_clock_s() * 1e9)
    with suppress(OSError):
        os.utime(path, ns=(now_ns, now_ns))


def silence_s(path: Path) -> float:
    """Seconds since the last `beat`; infinite without one, or with one from before this boot."""
    with suppress(OSError):
        beaten_s = path.stat().st_mtime_ns / 1e9  # before the clock is read, whatever comes between
        seconds = boot_clock_s() - beaten_s
        if seconds >= 0:
            return seconds
    return float("inf")


@dataclass(frozen=True)
class State:
    """What the guard says about itself."""

    guard: Process
    machine: str
    """Name of the machine since its last start: what an earlier start left behind says nothing of now."""
    phase: Literal["watching", "finishing", "ended"]
    message: str
    ending: Ending | None = None
    """How it ended; only in the phase ``ended``."""


def write_state(root: Path, state: State) -> None:
    """Publish the guard's state; the file appears whole."""
    write_json(root / STATE, asdict(state))


def read_state(root: Path) -> State | None:
    """The last state that a guard of this working directory wrote."""
    try:
        values = json.loads((root / STATE).read_text(encoding="utf-8"))
        ending = Ending(**values.pop("ending")) if values["ending"] else values.pop("ending")
        return State(**{**values, "guard": Process(**values["guard"]), "ending": ending})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def guard_health(root: Path, silent_s: float) -> tuple[Health, State | None]:
    """Whether there is a guard, and whether its pulse is young enough; with what it said last.

    A guard without pulse is as good as none: whoever finds one ends and replaces it.
    """
    state = read_state(root)
    if state is None or not state.guard.is_alive():
        return "none", state
    return ("fresh" if silence_s(root / LOCK) <= silent_s else "stale"), state


@dataclass(frozen=True)
class Run:
    """A Snakemake process that the guard looks after; the file of the announcement carries its pulse."""

    path: Path
    process: Process
    outcome: Outcome
    is_set_up: bool = False
    """Whether it is past planning and making environments."""
    job_limits_s: dict[str, float] = field(default_factory=dict)
    """Longest time of a job by the program that it runs (`enrich.py`); others have the settings' limit."""

    @property
    def is_going_on(self) -> bool:
        """Whether it has neither reported its end nor died."""
        return self.outcome == "running" and self.process.is_alive()


def announce(root: Path, process: Process, outcome: Outcome, **more: Any) -> Path:
    """Tell the guard of a run: that it is there, how far it is, or how it ended. Returns what carries its pulse."""
    path = root / RUNS / f"{process.pid}.json"
    with whole_file(path) as part:
        part.write_text(json.dumps({"process": asdict(process), "outcome": outcome, **more}), encoding="utf-8")
        beat(part)  # before it is seen: a run without a pulse is ended
    return path


def runs(root: Path) -> list[Run]:
    """The runs that were announced since a guard last finished."""
    found = []
    for path in sorted((root / RUNS).glob("[!.]*.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            values = json.loads(path.read_text(encoding="utf-8"))
            found.append(Run(path, Process(**values.pop("process")), **values))
    return found
