"""Fill a checkout from the bucket, and let nothing that is there block or mislead the run.

A file that is not what was saved, or cannot be read, is set aside and named: its job makes it again. Times are moved
when a machine whose clock ran ahead has left some in the future, since what is made now must be newer than what it is
made from.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from blueprint.cloud import ledger
from blueprint.cloud.bucket import (
    KEPT,
    LEDGER,
    MANIFEST,
    METADATA,
    OWN,
    PRODUCTS,
    ROOTS,
    Bucket,
    BucketError,
    Stamp,
    remote_path,
    retried,
)
from blueprint.cloud.manifest import Manifest
from blueprint.cloud.settings import CloudSettings
from blueprint.cloud.sync import (
    INCOMPLETE,
    ODD,
    RESTORED,
    Report,
    has_own_record,
    lists_of_others,
    record_path,
    restamp_record,
    scan,
)
from blueprint.errors import UserError
from blueprint.files import write_json

log = logging.getLogger(__name__)

ASIDE = f"{OWN}/aside"
"""Where files are kept that came from the bucket and are not what was saved."""
PATIENCE_S = 60.0
FEW = 10
"""Unreadable objects that are set aside; when there are more it is the bucket that cannot be read."""


def is_restored(root: Path) -> bool:
    """Whether this checkout has been filled from the bucket before."""
    return (root / RESTORED).exists()


def restore(
    settings: CloudSettings, root: Path, patience_s: float = PATIENCE_S, bucket: Bucket | None = None
) -> Report:
    """Fill a checkout from the bucket: results, Snakemake's records, cost ledger; never over newer local files.

    Outputs that came without their record are marked incomplete.

    Args:
        bucket: another way to see the run's folder than the unattended one.

    Raises:
        UserError: no credentials, or the bucket could not be read within ``patience_s``.
    """
    started = time.monotonic()
    bucket = bucket or Bucket(settings, root)
    if is_restored(root):
        os.utime(root / RESTORED)  # `Sync` looks at the bucket again
    before = scan(root).files
    listing = {path: stamp for path, stamp in retried(bucket.listing, patience_s).items() if _is_wanted(path)}
    problems = dict.fromkeys(_fetch(bucket, root, listing, patience_s), "cannot be read from the bucket")
    manifest = Manifest(root)
    new = {path: stamp for path, stamp in scan(root).files.items() if before.get(path) != stamp}
    strangers = manifest.strangers(
        (path for path in new if not path.startswith(f"{OWN}/")),
        lambda path: bool(PRODUCTS.match(path)) and has_own_record(root, path),
    )
    problems |= dict.fromkeys(strangers, "is not what was saved under this name")
    problems |= dict.fromkeys(_impossible_accounts(root, listing), "is no account, or its figures are impossible")
    for path in problems:
        _set_aside(root, path)
        new.pop(path, None)
        log.warning("%s %s: set aside, and made again where a job makes it", path, problems[path])
    manifest.link()
    # Snakemake takes records without this folder for those of an old version and converts them.
    (root / INCOMPLETE).mkdir(parents=True, exist_ok=True)
    for path in filter(PRODUCTS.match, new):
        # A machine that was taken away between an output and its record: nobody knows what it was made from, or whether
        # it is whole. Snakemake makes what is marked so again, and leaves other files alone.
        if not has_own_record(root, path):
            mark = root / INCOMPLETE / record_path(path)
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text('{"external_jobid": null}', encoding="utf-8")
    for path in filter(PRODUCTS.match, before):
        # It came without its record before, while another machine was at it.
        if f"{METADATA}/{record_path(path)}" in new and has_own_record(root, path):
            (root / INCOMPLETE / record_path(path)).unlink(missing_ok=True)
    said = tuple(f"{path} {reason}" for path, reason in problems.items())
    size = sum(stamp.size for stamp in new.values())
    report = Report(len(new), size, time.monotonic() - started, problems=said)
    lists = sorted({*lists_of_others(root), *(path for path in new if path.startswith(f"{MANIFEST}/"))})
    restored = {"remote": remote_path(settings), "files": report.files, "aside": sorted(problems), "lists": lists}
    write_json(root / RESTORED, {**restored, "moved": _move_times(root, new)})
    return report


def _is_wanted(path: str) -> bool:
    kept = any(path.startswith(pattern.rpartition("/")[0] + "/") and path.endswith(".json") for pattern in KEPT)
    own = path.startswith(f"{OWN}/")
    return not ODD.search(path) and (kept or not own) and path.startswith(tuple(f"{root}/" for root in ROOTS))


def _fetch(bucket: Bucket, root: Path, listing: Mapping[str, Stamp], patience_s: float) -> list[str]:
    """Download what is not here; the few paths that cannot be had although the others can."""

    def absent() -> dict[str, Stamp]:
        return {path: stamp for path, stamp in listing.items() if not _is_here(root / path, stamp)}

    def once() -> None:
        before = absent()
        corrupt = bucket.download(before)
        left = absent()
        if left.keys() - corrupt:
            raise BucketError(
                f"rclone copy: {len(left)} of {len(before)} files did not come, such as {next(iter(left))}"
            )

    try:
        retried(once, patience_s)
    except BucketError:
        left = absent()
        if not left or len(left) > FEW or len(left) == len(listing):
            raise
    return sorted(absent())


def _is_here(path: Path, stamp: Stamp) -> bool:
    try:
        here = Stamp.of(path.stat())
    except OSError:
        return False
    return here == stamp or here.mtime_ms > stamp.mtime_ms


def _impossible_accounts(root: Path, paths: Iterable[str]) -> list[str]:
    found = []
    for path in paths:
        if path.startswith(f"{LEDGER}/") and (root / path).exists():
            try:
                ledger.read_entry(Path(path).stem, (root / path).read_bytes())
            except UserError as error:
                log.warning("%s", error)
                found.append(path)
    return found


def _set_aside(root: Path, path: str) -> None:
    if (root / path).exists():
        place = root / ASIDE / path
        place.parent.mkdir(parents=True, exist_ok=True)
        (root / path).replace(place)


def _move_times(root: Path, new: Mapping[str, Stamp]) -> list[str]:
    """Bring restored files from the future to just before now, in their order and after all others; which they were.

    A machine whose clock ran ahead has left them. They are uploaded again, with their records: the bucket heals.
    """
    now_ms = int(time.time() * 1000)
    future = [path for path, stamp in new.items() if stamp.mtime_ms > now_ms]
    times = sorted({new[path].mtime_ms for path in future})
    before_ms = max((stamp.mtime_ms for stamp in new.values() if stamp.mtime_ms <= now_ms), default=0)
    step_ms = max(1, min(1000, (now_ms - before_ms) // (len(times) + 1)))
    here_ms = {there: now_ms - (len(times) - index) * step_ms for index, there in enumerate(times)}
    if future:
        ahead_s = (times[-1] - now_ms) / 1000
        log.warning("%d restored files are from the future, up to %.0f s: set to just before now", len(future), ahead_s)
    for path in future:
        at_ms = here_ms[new[path].mtime_ms]
        os.utime(root / path, ns=(at_ms * 1_000_000, at_ms * 1_000_000))
        if PRODUCTS.match(path):
            restamp_record(root, path, at_ms / 1000)
    return future
