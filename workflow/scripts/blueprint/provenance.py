"""Who made a file, with what and how long it took. Recorded when it is made: later, code and machine may be others."""

from __future__ import annotations

import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blueprint import files, system
from blueprint.errors import UserError

VERSION = Path(__file__).resolve().parents[2] / "VERSION"
"""A file and no constant: code whose bytes change with every release would make every result again."""


def record(started: float, environment: Path | None, **facts: Any) -> dict[str, Any]:
    """The record of something that has just been made.

    Args:
        started: `time.monotonic` when the work began.
        environment: marker of the environment it was made in, ``results/preflight/<environment>.json``.
        facts: what else tells how it was made; of the machine, ``gpus`` lists the names of those that were used.

    Returns:
        ``version`` and ``commit`` of this workflow, ``environment`` (SHA-256 of each file that locks it, None when it
        is not known), ``host``, ``finished`` (time of day, UTC), ``seconds``, and the facts.
    """
    return {
        "version": VERSION.read_text(encoding="utf-8").strip(),
        "commit": git_commit(),
        "environment": files.read_json(environment)["lock"] if environment else None,
        "host": platform.node(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 3),
        **facts,
    }


def git_commit() -> str | None:
    """Commit of this workflow, with ``-dirty`` when its files were changed; None outside a git checkout."""
    try:
        return system.commit_of(Path(__file__).parent)
    except UserError:
        return None
