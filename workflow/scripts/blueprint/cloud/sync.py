"""Results to the bucket and back.

Towards the bucket files are only ever added or replaced, never deleted. What is in the bucket is listed once; after
that the sync compares sizes and modification times on this machine alone, so that a round without news costs no call.
"""

from __future__ import annotations

import json
import logging
import os
import re
import stat
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from blueprint.cloud.bucket import MANIFEST, METADATA, OWN, ROOTS, Bucket, BucketError, Stamp
from blueprint.cloud.manifest import Manifest
from blueprint.cloud.settings import CloudSettings

log = logging.getLogger(__name__)

INCOMPLETE = ".snakemake/incomplete"
RESTORED = f"{OWN}/restored.json"
UNFINISHED = re.compile(r"^\..*\.part(\.[^.]*)?$|\.partial$")  # half-written by blueprint.files or by rclone
ODD = re.compile("[\n\r\ud800-\udfff]")  # ends a line of rclone's lists, or is no UTF-8
SETTLE_S = 2.0
"""A log younger than this is likely to be written to while it is copied."""
NAME_MAX = 255  # longest file name, as Snakemake asks the file system


@dataclass(frozen=True)
class Report:
    """What one transfer did."""

    files: int
    bytes: int
    seconds: float
    waiting: tuple[str, ...] = ()
    """Files that were not uploaded, since the bucket has a newer one that another machine made."""
    odd: tuple[str, ...] = ()
    """Files that cannot be uploaded under their names, as Python's ascii() writes them."""
    problems: tuple[str, ...] = ()
    """What a restore set aside, and why."""


@dataclass
class Found:
    """Finished files of a working directory."""

    files: dict[str, Stamp] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    """Hard links of those: path -> the file that is stored for it."""
    odd: list[str] = field(default_factory=list)


def scan(root: Path, settle_s: float = 0.0) -> Found:
    """Finished files of a working directory that belong into the bucket.

    Left out are outputs of running or killed jobs (Snakemake marks them incomplete), files that are being written, logs
    younger than ``settle_s``, what concerns this machine alone, accounts (they go their own way), and what is no file.
    """
    settled_s = time.time() - settle_s
    unfinished = incomplete_outputs(root)
    walked = list(_walk(root))
    unfinished |= incomplete_outputs(root)  # of jobs that began in the meantime
    found, inodes = Found(), {}
    for path, status in walked:
        if any(parent in unfinished for parent in _with_parents(path)):
            continue
        if settle_s and path.startswith("logs/") and status.st_mtime > settled_s:
            continue
        if ODD.search(path):
            found.odd.append(ascii(path))
            continue
        if status.st_nlink > 1:
            inodes.setdefault((status.st_dev, status.st_ino), []).append(path)
        found.files[path] = Stamp.of(status)
    for paths in inodes.values():
        stored, *others = sorted(paths, key=lambda path: ("/." in path, path))  # a product before a hidden one
        found.links |= dict.fromkeys(others, stored)
    for path in found.links:
        del found.files[path]
    return found


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    for top in ROOTS:
        for folder, _, names in os.walk(root / top):
            relative = Path(folder).relative_to(root).as_posix()
            if relative == OWN or (relative.startswith(f"{OWN}/") and relative != MANIFEST):
                continue
            for name in names:
                if UNFINISHED.search(name):
                    continue
                try:
                    status = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118 - 10,000 times a minute
                except OSError:  # removed since, or a dangling link
                    continue
                if stat.S_ISREG(status.st_mode):
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


def record_path(output: str) -> Path:
    text = urlsafe_b64encode(output.encode()).decode()
    parts = [text[index : index + NAME_MAX - 1] for index in range(0, len(text), NAME_MAX - 1)]
    return Path(*(f"@{part}" for part in parts[:-1]), parts[-1])


def has_own_record(root: Path, output: str) -> bool:
    """Whether Snakemake's record of an output, or of a folder that it lies in, was written for this version of it.

    The record says when the output was last modified as its job ended.
    """
    for path in _with_parents(output):
        try:
            record = json.loads((root / METADATA / record_path(path)).read_text(encoding="utf-8"))
            modified_s = (root / path).stat().st_mtime
        except (OSError, ValueError):
            continue
        return path != output or abs(record["endtime"] - modified_s) < 0.002  # B2 keeps milliseconds
    return False


def restamp_record(root: Path, output: str, modified_s: float) -> None:
    """Have Snakemake's record of an output agree with a new modification time of it."""
    path = root / METADATA / record_path(output)
    with suppress(OSError, ValueError, TypeError):
        record = json.loads(path.read_text(encoding="utf-8"))
        length_s = record["endtime"] - record.get("starttime", record["endtime"])
        path.write_text(json.dumps({**record, "starttime": modified_s - length_s, "endtime": modified_s}), "utf-8")


class Sync:
    """Keeps the bucket up to date with a working directory. Not for use by two threads at once."""

    def __init__(self, settings: CloudSettings, root: Path) -> None:
        """Raises `UserError` as `Bucket` does; no call is made yet."""
        self.bucket = Bucket(settings, root)
        self.root = root
        self.manifest = Manifest(root)
        self._known: dict[str, Stamp] | None = None  # what the bucket holds; None: has to be listed
        self._superseded: dict[str, Stamp] | None = None
        self._restored_ns = 0

    def run(self, settle_s: float = SETTLE_S) -> Report:
        """Upload what is finished and new; logs that were written to in the last ``settle_s`` wait.

        Outputs and their digests go before the records that Snakemake keeps of them: a record that came first would
        declare the older output in the bucket finished.

        Raises:
            BucketError: the bucket refused or could not be reached; the next run starts from a new listing.
        """
        started = time.monotonic()
        try:
            found = self._scan(settle_s)
            self._compare(found.files)
            new = self._new(found.files)
            plain = {path: stamp for path, stamp in new.items() if not path.startswith(f"{OWN}/")}
            lists = self.manifest.add(plain, found.links)
            outputs = {path: stamp for path, stamp in new.items() if not path.startswith(f"{METADATA}/")}
            outputs |= {path: Stamp.of((self.root / path).stat()) for path in lists}
            self._upload(outputs)
            records = {path: stamp for path, stamp in new.items() if path not in outputs and self._is_saved(path)}
            self._upload(records)
        except BucketError:
            self._known = None
            raise
        size = sum(stamp.size for stamp in (outputs | records).values())
        waiting, odd = tuple(self._waiting(found.files)), tuple(found.odd)
        return Report(len(outputs | records) - len(lists), size, time.monotonic() - started, waiting, odd)

    def _scan(self, settle_s: float = 0.0) -> Found:
        found, others = scan(self.root, settle_s), lists_of_others(self.root)
        return replace(found, files={path: stamp for path, stamp in found.files.items() if path not in others})

    def _compare(self, found: Mapping[str, Stamp]) -> None:
        with suppress(OSError):
            restored_ns = (self.root / RESTORED).stat().st_mtime_ns
            if restored_ns != self._restored_ns:  # what came from the bucket need not go there
                self._known, self._superseded, self._restored_ns = None, None, restored_ns
        if self._known is None:
            self._known = known_here(self.root, self.bucket.listing())
        if self._superseded is None:
            self._superseded = _superseded(found, self._known)

    def _new(self, files: Mapping[str, Stamp]) -> dict[str, Stamp]:
        waiting = set(self._waiting(files))
        return {path: stamp for path, stamp in files.items() if self._known.get(path) != stamp and path not in waiting}

    def _upload(self, files: Mapping[str, Stamp]) -> None:
        self.bucket.upload(files)
        self._known |= files

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
        return outside or self._known.get(output) == Stamp.of(status)

    def names(self) -> set[str]:
        """Files that the bucket is known to hold as they are here."""
        return set(self._known or ())

    def distrust(self, paths: Iterable[str]) -> None:
        """Forget that files are in the bucket: the next `run` uploads them again."""
        for path in paths:
            (self._known or {}).pop(path, None)

    def verify(self) -> list[str]:
        """Files whose bytes in the bucket are not those of this machine; none when every finished file is safe.

        A file that changed since the last `run` is among them: sync once more before believing that it is lost. So are
        files that cannot be uploaded under their names.

        Raises:
            BucketError: the comparison could not be made.
        """
        found = self._scan()
        self._compare(found.files)
        expected = {
            path: stamp
            for path, stamp in found.files.items()
            # Logs may still be written to, a record without its output says nothing.
            if not (path.startswith("logs/") and stamp != self._known.get(path))
            and not (path.startswith(f"{METADATA}/") and not self._is_saved(path))
        }
        return [*self.bucket.differing(expected), *found.odd]


def lists_of_others(root: Path) -> set[str]:
    """Lists of digests that a restore has brought: who wrote them may be at work, and alone knows them whole."""
    try:
        return set(json.loads((root / RESTORED).read_text(encoding="utf-8")).get("lists", ()))
    except (OSError, ValueError, TypeError, AttributeError):
        return set()


def known_here(root: Path, listing: Mapping[str, Stamp]) -> dict[str, Stamp]:
    """What the bucket holds, less what the restore has set aside or given another time: that is uploaded again."""
    try:
        restored = json.loads((root / RESTORED).read_text(encoding="utf-8"))
        changed = {*restored.get("moved", ()), *restored.get("aside", ())}
    except (OSError, ValueError, TypeError, AttributeError):
        changed = set()
    return {path: stamp for path, stamp in listing.items() if path not in changed}


def _superseded(found: Mapping[str, Stamp], known: Mapping[str, Stamp]) -> dict[str, Stamp]:
    """Files of this machine that another machine has replaced by newer ones in the bucket: they stay as they are."""
    return {path: stamp for path, stamp in found.items() if path in known and known[path].mtime_ms > stamp.mtime_ms}
