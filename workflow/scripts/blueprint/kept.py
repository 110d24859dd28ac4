"""What a job has finished survives its end, however it ends: small stores beside the outputs, in ``.kept``.

Snakemake removes a job's declared outputs before it starts. The stores are not declared: what has the same digest
(inputs, settings, code) as before is taken from them instead of being made again.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blueprint.errors import UserError
from blueprint.files import file_digest, read_json, write_json

log = logging.getLogger(__name__)


class Kept:
    """The store of one clip: ``<folder>/.kept/<variant>.<digest>.{mp4,json}``."""

    def __init__(self, folder: Path, digests: Mapping[str, str]) -> None:
        """Open the store of an output folder; ``digests`` says what each variant's output depends on."""
        self.folder = folder
        self.store = folder / ".kept"
        self.digests = digests
        self.store.mkdir(parents=True, exist_ok=True)

    def restore(self, variant: str) -> bool:
        """Link a finished variant to its outputs; False when there is none (or a damaged one, which is dropped)."""
        video, provenance = self._entry(variant)
        if not (video.exists() and provenance.exists()):
            return False
        if read_json(provenance)["sha256"] != file_digest(video):
            log.warning("%s: does not match its recorded digest and is made again", video)
            return False
        self._publish(variant)
        return True

    def add(self, variant: str, video: Path, provenance: dict[str, Any]) -> None:
        """Move a finished video into the store, write its provenance, link both to the outputs.

        The provenance is written last: its presence says that the variant is finished.
        """
        kept_video, kept_provenance = self._entry(variant)
        shutil.move(video, kept_video)  # the scratch folder may be on another disk
        write_json(kept_provenance, {**provenance, "sha256": file_digest(kept_video)})
        self._publish(variant)

    def prune(self) -> None:
        """Remove what no current variant needs."""
        current = {path for variant in self.digests for path in self._entry(variant)}
        for path in set(self.store.iterdir()) - current:
            path.unlink()

    def _entry(self, variant: str) -> tuple[Path, Path]:
        stem = f"{variant}.{self.digests[variant][:16]}"
        return self.store / f"{stem}.mp4", self.store / f"{stem}.json"

    def _publish(self, variant: str) -> None:
        for kept in self._entry(variant):
            output = self.folder / f"{variant}{kept.suffix}"
            output.unlink(missing_ok=True)
            try:
                output.hardlink_to(kept)
            except OSError:  # a file system without hard links
                shutil.copyfile(kept, output)
            os.utime(output)  # newer than the inputs, or Snakemake would run the job again


class KeptValues:
    """JSON values, each with the digest of what it depends on, in one file: ``<folder>/.kept/values.json``."""

    def __init__(self, folder: Path, digests: Mapping[str, str]) -> None:
        """Open the store of an output folder; ``digests`` says what each value depends on now."""
        self.path = folder / ".kept" / "values.json"
        self.digests = digests
        self.values = {}
        if self.path.exists():
            try:
                entries = read_json(self.path)
            except UserError as error:
                log.warning("%s All values are made again.", error)
                entries = {}
            self.values = {key: entry[1] for key, entry in entries.items() if entry[0] == digests.get(key)}

    def add(self, values: Mapping[str, Any]) -> None:
        """Keep finished values; those that nobody needs any more go."""
        self.values |= values
        write_json(self.path, {key: [self.digests[key], value] for key, value in self.values.items()})
