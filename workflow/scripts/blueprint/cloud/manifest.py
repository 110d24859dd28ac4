"""The SHA-256 of every file that was saved: what comes back from the bucket is what was made, or it is not used.

Each machine writes its own parts below `results/.cloud/manifest/`, of a limited size, so that news cost one small
upload. An entry may stand before its file is there. A file that is another's hard link is stored once: its entry names
the other one.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from blueprint.cloud.bucket import MANIFEST
from blueprint.files import file_digest, write_json

log = logging.getLogger(__name__)

PART = 500
"""Files in one part, after which another one is begun."""
THREADS = 4


class Manifest:
    """What all machines of the run have saved, as far as this one knows, and this one's parts."""

    def __init__(self, root: Path) -> None:
        """Read every part that is there; one that cannot be read is told of and left out."""
        self.root = root
        self.digests: dict[str, set[str]] = {}
        """Path -> digests under which it was ever saved."""
        self.links: dict[str, tuple[str, str]] = {}
        """Path -> digest, and the file that it is a hard link of."""
        self.is_whole = True
        self._part: dict[str, list[str]] = {}
        self._name = ""
        for path in sorted((root / MANIFEST).glob("[!.]*.json")):
            try:
                self._take(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError, AttributeError) as error:
                self.is_whole = False
                log.warning("%s: no list of saved files (%s): left out", path, error)

    def _take(self, entries: Mapping[str, list[str]]) -> None:
        for path, (digest, *linked) in entries.items():
            self.digests.setdefault(path, set()).add(digest)
            if linked:
                self.links[path] = (digest, linked[0])

    def add(self, paths: Iterable[str], links: Mapping[str, str]) -> list[str]:
        """Enter files as they are now; the parts that have changed, to be uploaded no later than the files' records.

        Args:
            links: hard links among this machine's files: path -> the file that is stored for it.
        """
        paths = list(paths)
        digests = self.digest(paths)
        entries = {path: [digest] for path, digest in digests.items() if digest not in self.digests.get(path, ())}
        news = {path: other for path, other in links.items() if other in digests or self._linked_to(path) != other}
        digests |= self.digest(set(news.values()) - digests.keys())
        entries |= {path: [digests[other], other] for path, other in news.items() if other in digests}
        changed = []
        self._take(entries)
        for path, entry in entries.items():
            if not self._name or len(self._part) >= PART:
                self._part, self._name = (
                    {},
                    f"{MANIFEST}/{time.time_ns() // 1_000_000:013d}-{secrets.token_hex(4)}.json",
                )
            self._part[path] = entry
            if self._name not in changed:
                changed.append(self._name)
            if len(self._part) >= PART:
                write_json(self.root / self._name, self._part)
        if changed:
            write_json(self.root / self._name, self._part)
        return changed

    def _linked_to(self, path: str) -> str | None:
        return self.links[path][1] if path in self.links else None

    def digest(self, paths: Iterable[str]) -> dict[str, str]:
        """SHA-256 of files of the working directory; without those that cannot be read."""

        def one(path: str) -> tuple[str, str | None]:
            try:
                return path, file_digest(self.root / path)
            except OSError:
                return path, None

        with ThreadPoolExecutor(THREADS) as pool:
            return {path: digest for path, digest in pool.map(one, paths, chunksize=1) if digest is not None}

    def strangers(self, paths: Iterable[str], is_finished: Callable[[str], bool]) -> list[str]:
        """Files whose bytes nobody has saved under that name, or that count as finished though nobody has saved them.

        Nothing is a stranger to a run that has no list, as one of an older version; a list that cannot be read excuses
        what may have stood there.
        """
        if not self.digests:
            return []
        found = self.digest(path for path in paths if not path.startswith(f"{MANIFEST}/"))
        return sorted(
            path
            for path, digest in found.items()
            if (digest not in self.digests[path] if path in self.digests else self.is_whole and is_finished(path))
        )

    def link(self) -> list[str]:
        """Make the hard links again that were not stored; the paths that are there now."""
        made = []
        for path, (digest, other) in self.links.items():
            here, source = self.root / path, self.root / other
            if not here.exists() and source.is_file() and self.digest([other]).get(other) == digest:
                here.parent.mkdir(parents=True, exist_ok=True)
                os.link(source, here)
                made.append(path)
        return made
