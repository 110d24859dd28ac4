"""The record of a launch: what was rented, for what, until when, with which files; from the standard library alone.

`launch` writes it to the bucket before it rents, one for each machine, and hands it to the machine. The reaper reads it
there; the sentry, which has nothing else to go by, reads it here.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath

from blueprint.errors import UserError
from blueprint.files import whole_file

LAUNCHES = "results/.cloud/launches"
"""Below a run's folder in the bucket: `<label>.json` each."""
GIVEN = "results/.cloud/given"
"""Below a run's folder: what travels with launches, each file under the SHA-256 of its content."""
VARIABLE = "BLUEPRINT_LAUNCH"


@dataclass(frozen=True)
class Launch:
    """One machine of a run, as it was ordered."""

    label: str
    """Name of the instance at Vast: ``blueprint-<run_id>-<12 hexadecimal digits>``."""
    run_id: str
    bucket: str
    prefix: str
    endpoint: str | None
    launched_s: float
    """Seconds since 1970, by B2's clock."""
    deadline_s: float
    """Until when the machine may live, by the same clock."""
    rate_usd_per_h: float
    """Price that was agreed."""
    max_hours: float
    setup_s: float
    """For all that comes before Snakemake."""
    finish_s: float
    """For the final copy and the end of the machine, by `cloud.py finish`."""
    guard_silent_s: float
    interval_s: float
    files: dict[str, str] = field(default_factory=dict)
    """What travels with the launch and need not be committed, configuration and settings: path -> SHA-256."""

    @property
    def folder(self) -> str:
        """The run's folder in the bucket."""
        return f"{self.prefix}/{self.run_id}"

    @property
    def name(self) -> str:
        """The record's name in the run's folder."""
        return f"{LAUNCHES}/{self.label}.json"

    def to_text(self) -> str:
        """The record as JSON, on one line, which is what a variable can hold."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: str | bytes) -> Launch:
        """Read a record.

        Raises:
            UserError: it is none.
        """
        try:
            values = json.loads(text)
            return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"launch record: not one of this workflow's ({type(error).__name__}: {error}).") from None


def lay(launch: Launch, root: Path, get: Callable[[str], bytes | None]) -> list[str]:
    """Write the files that travelled with a launch into the checkout, each whole; returns their paths.

    Args:
        launch: its record.
        root: the checkout.
        get: gives an object of the run's folder in the bucket, None where there is none.

    Raises:
        UserError: a file is not in the bucket as it was sent, or would lie outside the checkout.
    """
    for path, digest in launch.files.items():
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise UserError(f"launch record: {path}: lies outside the checkout.")
        content = get(f"{GIVEN}/{digest}")
        if content is None or hashlib.sha256(content).hexdigest() != digest:
            raise UserError(f"{path}: is not in the bucket as `launch` sent it (SHA-256 {digest}). Launch again.")
        with whole_file(root / path) as part:
            part.write_bytes(content)
        # They are no change of the workflow: results are to be known by its commit. Fails for what git does not track.
        subprocess.run(["git", "update-index", "--skip-worktree", "--", path], cwd=root, capture_output=True)
    return list(launch.files)


def hours_left(max_hours: float, budget_usd: float, spent_usd: float, rate_usd_per_h: float) -> float:
    """How long a machine may live: until the rest of the budget is spent, and no longer than its hours.

    Args:
        budget_usd: zero or less is none.
    """
    if budget_usd <= 0:
        return max_hours
    return min(max_hours, max(0.0, budget_usd - spent_usd) / rate_usd_per_h)
