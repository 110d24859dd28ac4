"""This machine, from the standard library alone: its clock, its name, how long it has been billed, its processes."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
STARTED = "BLUEPRINT_STARTED_S"
"""Names the second (since boot) in which the container started, where process 1 is older than the container."""


def boot_clock_s() -> float:
    """Seconds since boot, including those asleep; unaffected by setting the time."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/<pid>/stat from the third on (the second, the name, may hold anything)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def started_s(pid: int) -> float | None:
    """Boot clock at which a process started; None when it is gone."""
    fields = _stat(pid)
    return None if fields is None else int(fields[19]) / os.sysconf("SC_CLK_TCK")


def container_started_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """Boot clock at which a Vast container started, from when on it is billed; None elsewhere."""
    if STARTED in environ:
        return float(environ[STARTED])
    return started_s(1) if "CONTAINER_ID" in environ else None


def container_age_s(environ: Mapping[str, str] = os.environ) -> float:
    """Seconds since a Vast container started, which are billed before anybody opens an account; 0 elsewhere."""
    started = container_started_s(environ)
    return 0.0 if started is None else max(0.0, boot_clock_s() - started)


def machine_id(instance_id: int | None) -> str:
    """Name of this machine from this start on: another instance, boot or container start gets another name.

    A container that is stopped and started again must not be billed for the time between.
    """
    boot = BOOT_ID.read_text().strip() if BOOT_ID.exists() else "unknown"
    name = f"{instance_id}|{boot}|{started_s(1) or 0:.0f}"
    return f"{instance_id or 'local'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for a later one with the same number, whatever the time of day is set to."""

    pid: int
    created: float
    """Boot clock at its start."""

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this number now.

        Raises:
            ProcessLookupError: there is none.
        """
        created = started_s(pid)
        if created is None:
            raise ProcessLookupError(pid)
        return cls(pid, created)

    def is_alive(self) -> bool:
        """Whether it is there, stopped or not, and does not only wait to be reaped."""
        fields = _stat(self.pid)
        return fields is not None and fields[0] not in "ZX" and started_s(self.pid) == self.created

    def is_stopped(self) -> bool:
        """Whether the system says that it was stopped and does not run at all."""
        fields = _stat(self.pid)
        return self.is_alive() and fields is not None and fields[0] in "Tt"

    def signal(self, number: int) -> None:
        """Signal it, if it is still there."""
        if self.is_alive():
            with suppress(OSError):
                os.kill(self.pid, number)

    def end_group(self) -> None:
        """Kill it with all processes of its group, which it leads; a stopped process dies of it too."""
        if self.is_alive():
            with suppress(OSError):
                if os.getpgid(self.pid) == self.pid:
                    os.killpg(self.pid, signal.SIGKILL)
                else:
                    os.kill(self.pid, signal.SIGKILL)
