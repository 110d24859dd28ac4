"""Finished environments in the bucket, so that the next machine of a run unpacks what the first one has made.

An archive is named by what Snakemake calls the environment (a digest of its file, which names the digests of its lock;
of its post-deploy script; and of the folder it lies in, which conda writes into its programs) and by the GPUs that
extensions were compiled for. Beside it lies a note with its SHA-256, written when it is whole. Whatever goes wrong here
costs time and nothing else: an environment that does not come is made as if there were no archives.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import zstandard

from blueprint.cloud.accounts import store_of
from blueprint.cloud.bucket import REMOTE, Bucket
from blueprint.cloud.settings import CloudSettings
from blueprint.errors import UserError
from blueprint.files import file_digest
from blueprint.system import architectures_here

log = logging.getLogger(__name__)

FOLDER = ".environments"
"""Beside the runs in the bucket's prefix; no run can have this name."""
DONE = ".env_setup_done"
"""Snakemake's mark, beside an environment that is whole."""
BESIDE = (".yaml", ".post-deploy.sh")
"""What else Snakemake puts beside an environment's folder."""
POLL_S = 10.0
SPEED_UP = 20
"""An archive that comes at less than so many times the slowest connection (10 MB/s) takes longer than making it."""


def fetch_needed(settings: CloudSettings, root: Path, run: Sequence[str]) -> None:
    """Unpack what a run needs and the bucket has; what does not come is said, and left to Snakemake to make.

    Args:
        settings: nothing is done unless they ask for it.
        root: the working directory of the run.
        run: its command line.

    Raises:
        UserError: the run cannot be planned.
    """
    if not settings.environment_cache:
        return
    cache = EnvironmentCache(settings, root)
    for environment in needed(run):
        started = time.monotonic()
        if _said(cache.fetch, environment):
            log.info("%s: unpacked in %.0f s", environment.name, time.monotonic() - started)


def keep_needed(settings: CloudSettings, root: Path, run: Sequence[str]) -> None:
    """Put what a run needs into the bucket as it comes to be whole; ends when all is there.

    Raises:
        UserError: the run cannot be planned.
    """
    if not settings.environment_cache:
        return
    cache, waiting = EnvironmentCache(settings, root), needed(run)
    while waiting:
        for environment in [one for one in waiting if is_whole(one)]:
            waiting.remove(environment)
            if _said(cache.keep, environment):
                log.info("%s: put into the bucket", environment.name)
        time.sleep(POLL_S if waiting else 0)


def _said(action: Callable[[Path], bool], environment: Path) -> bool:
    try:
        return action(environment)
    except (UserError, OSError) as error:
        log.warning("%s: %s", environment.name, error)
        return False


def needed(run: Sequence[str]) -> list[Path]:
    """The folders of the environments that a run needs, as Snakemake itself lists them.

    Args:
        run: its command line.

    Raises:
        UserError: it cannot be planned.
    """
    listed = subprocess.run([*run, "--list-conda-envs"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if listed.returncode:
        raise UserError(f"{' '.join(run)}: its environments cannot be listed:\n{listed.stderr.strip()}")
    rows = (line.split("\t") for line in listed.stdout.splitlines())
    return [Path(row[-1]).absolute() for row in rows if len(row) == 3 and row[-1].endswith("_")]


class EnvironmentCache:
    """The archives below a bucket's prefix."""

    def __init__(self, settings: CloudSettings, root: Path) -> None:
        """``root`` is the working directory of the run.

        Raises:
            UserError: a credential or rclone is missing.
        """
        folder = f"{settings.prefix}/{FOLDER}"
        self._bucket, self._notes = Bucket(settings, root), store_of(settings, folder)
        self._remote = f"{REMOTE}:{settings.bucket}/{folder}"
        self._gpus = architectures_here().replace(";", "-") or "none"

    def fetch(self, environment: Path) -> bool:
        """Unpack an environment that is not there; whether it came.

        Raises:
            UserError: it does not come whole. What was there before is there still.
        """
        name = self._name(environment)
        note = None if is_whole(environment) else self._notes.get(f"{name}.json")
        if note is None:
            return False
        expected = json.loads(note)
        with scratch_beside(environment) as scratch:
            archive, unpacked = scratch / "archive", scratch / "unpacked"
            moves = (1, expected["bytes"] / SPEED_UP)
            self._bucket.rclone("copyto", f"{self._remote}/{name}.tar.zst", str(archive), moves=moves)
            if file_digest(archive) != expected["sha256"]:
                raise UserError(f"{name}: what the bucket has is not what was put there (its SHA-256 differs).")
            unpacked.mkdir()
            unpack(archive, unpacked)
            shutil.rmtree(environment, ignore_errors=True)  # what an interrupted installation has left
            for path in unpacked.iterdir():
                path.replace(environment.parent / path.name)
        mark_of(environment).touch()
        return True

    def keep(self, environment: Path) -> bool:
        """Put an environment that is whole into the bucket, unless it is there already; whether it was put.

        Raises:
            UserError: it cannot be packed or sent.
        """
        name = self._name(environment)
        if not is_whole(environment) or self._notes.get(f"{name}.json") is not None:
            return False
        with scratch_beside(environment) as scratch:
            archive = scratch / "archive"
            pack(environment, archive)
            size, sha256 = archive.stat().st_size, file_digest(archive)
            self._bucket.rclone("copyto", str(archive), f"{self._remote}/{name}.tar.zst", moves=(1, float(size)))
        self._notes.put(f"{name}.json", json.dumps({"sha256": sha256, "bytes": size}).encode())
        return True

    def _name(self, environment: Path) -> str:
        return f"{environment.name.rstrip('_')}-{self._gpus}"


def mark_of(environment: Path) -> Path:
    """Snakemake's mark of an environment."""
    return environment.with_name(environment.name + DONE)


def is_whole(environment: Path) -> bool:
    """Whether Snakemake would take the environment as it is."""
    return environment.is_dir() and mark_of(environment).exists()


@contextmanager
def scratch_beside(environment: Path) -> Iterator[Path]:
    """A folder on the same disk, gone afterwards."""
    environment.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=environment.parent, prefix=".archive-") as folder:
        yield Path(folder)


def pack(environment: Path, archive: Path) -> None:
    """Write an environment and what lies beside it as a compressed tar.

    Raises:
        UserError: tar fails.
    """
    beside = [environment.with_name(environment.name + suffix) for suffix in BESIDE]
    names = [environment.name, *(path.name for path in beside if path.exists())]
    command = ["tar", "--create", "--directory", str(environment.parent), *names]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tar, archive.open("wb") as target:
        zstandard.ZstdCompressor(threads=-1).copy_stream(tar.stdout, target)
        said = tar.stderr.read() if tar.stderr else b""
    refuse_failure(tar, said)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack what `pack` wrote.

    Raises:
        UserError: tar fails, as on a full disk.
    """
    command = ["tar", "--extract", "--directory", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as tar, archive.open("rb") as source:
        with suppress(BrokenPipeError):  # tar says why
            zstandard.ZstdDecompressor().copy_stream(source, tar.stdin)
        if tar.stdin:
            tar.stdin.close()
        said = tar.stderr.read() if tar.stderr else b""
    refuse_failure(tar, said)


def refuse_failure(tar: subprocess.Popen[bytes], said: bytes) -> None:
    """Raise a `UserError` with tar's own words unless it succeeded."""
    if tar.returncode:
        raise UserError(f"tar: {said.decode(errors='replace').strip()}")
