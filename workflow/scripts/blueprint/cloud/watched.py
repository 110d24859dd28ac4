"""Downloads that a person watches: rclone-python draws the bars, in a process of its own.

It keeps its settings in the process and runs rclone through a shell, by name: hence the process, whose environment
holds the temporary remote and finds the packaged rclone first, and hence paths that a shell cannot misread. Whatever
happens unattended calls rclone itself (`blueprint.cloud.bucket`), with limits of time.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from blueprint.cloud.bucket import PARALLEL, PATIENCE, Bucket, BucketError, Stamp, rclone_binary

PROGRAM = Path(__file__).resolve().parents[2] / "transfer.py"


class WatchedBucket(Bucket):
    """The run's folder in the bucket, for one who sits before the terminal; Ctrl-C ends a transfer."""

    def download(self, wanted: Mapping[str, Stamp]) -> set[str]:
        """As `Bucket.download`, with progress bars and without a limit of time; what is corrupt does not come."""
        if not wanted:
            return set()
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as names:
            names.write("\n".join(wanted))
            names.flush()
            options = [f"--files-from-raw={names.name}", "--update", *PARALLEL, *PATIENCE]
            folder = str(Path(rclone_binary()).parent)
            path = os.pathsep.join([folder, self._environment.get("PATH", os.defpath)])
            done = subprocess.run(
                [sys.executable, str(PROGRAM), self.remote, ".", *map(shlex.quote, options)],
                cwd=self.root,
                env={**self._environment, "PATH": path},
                stdin=subprocess.DEVNULL,
            )
        if done.returncode:
            raise BucketError("rclone copy: not everything came (see above). Pull again; what came is kept.")
        return set()
