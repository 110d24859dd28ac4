"""The last checkpoint of a training that goes on, as one file in the results, where the sync saves it.

DreamDojo's checkpoints are folders of many files, and the newest is half written while the machine is taken away. One
file appears whole in the results, and whole in the bucket. It is emptied when the training has ended.
"""

from __future__ import annotations

import logging
import tarfile
from pathlib import Path

from blueprint.errors import UserError
from blueprint.files import whole_file, write_text

log = logging.getLogger(__name__)

NAME = "checkpoint.tar"
LATEST = "latest_checkpoint.txt"
IDENTITY = "training.txt"
PARTS = ("model", "optim", "scheduler", "trainer")
"""What a checkpoint consists of (upstream's KEYS_TO_SAVE)."""


def latest(folder: Path) -> str | None:
    """The checkpoint that upstream calls its latest: it says so when all of it is written.

    Args:
        folder: ``checkpoints`` of upstream's output.

    Raises:
        UserError: it names one that is not there as a whole.
    """
    try:
        name = (folder / LATEST).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    if not name:  # being written
        return None
    if lacking := [part for part in PARTS if not (folder / name / part / ".metadata").is_file()]:
        raise UserError(f"{folder / name}: DreamDojo calls it complete, but {', '.join(lacking)} is not in it.")
    return name


def keep(folder: Path, name: str, identity: str, target: Path) -> None:
    """Pack a checkpoint; the earlier one is replaced when the new one is whole.

    Args:
        folder: ``checkpoints`` of upstream's output.
        name: of the checkpoint.
        identity: of the training, digest of all that decides it.
        target: the file.
    """
    write_text(folder / IDENTITY, identity)
    with whole_file(target) as part, tarfile.open(part, "w") as archive:
        for member in (IDENTITY, LATEST, name):
            archive.add(folder / member, arcname=member)
    log.info("kept %s in %s", name, target)


def restore(source: Path, identity: str, folder: Path) -> str | None:
    """Unpack a kept checkpoint of the same training, for upstream to go on from.

    Returns:
        Its name; None when there is none, or it is of another training.

    Raises:
        UserError: the file is damaged.
    """
    if not source.is_file() or not source.stat().st_size:
        return None
    try:
        with tarfile.open(source) as archive:
            first = archive.next()
            stream = archive.extractfile(first) if first is not None and first.name == IDENTITY else None
            if stream is None or stream.read().decode() != identity:
                log.info("%s is of another training: beginning again", source)
                return None
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{source}: cannot be read ({error}). Delete it to begin the training again.") from error
    name = latest(folder)
    log.info("going on from %s", name)
    return name


def discard(target: Path) -> None:
    """Empty the file, which the sync never deletes in the bucket."""
    if target.exists():
        write_text(target, "")
