"""Who is given which secret: no process has one in its environment that it does not need.

Snakemake's process hands its environment to every job. It therefore takes the secrets out of it, and keeps those that
some program needs in memory, under a path that only such a program asks for (`take`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path

VARIABLES = (
    *("B2_APPLICATION_KEY_ID", "B2_APPLICATION_KEY", "VAST_API_KEY", "CONTAINER_API_KEY"),
    *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "GIT_TOKEN", "NOTIFY_URLS"),
)
PLACE = "BLUEPRINT_SECRETS"
"""Names the file in memory; it holds no secret itself."""


def without(environ: Mapping[str, str], keep: Collection[str] = ()) -> dict[str, str]:
    """An environment for a child process, without secrets but those to keep; rclone's settings are secrets too."""
    return {
        name: value
        for name, value in environ.items()
        if name in keep or (name not in VARIABLES and not name.startswith("RCLONE_"))
    }


def conceal(for_jobs: Mapping[str, str], environ: MutableMapping[str, str] = os.environ) -> None:
    """Take all secrets out of this process's environment; programs can `take` those of ``for_jobs``."""
    for name in [name for name in VARIABLES if name in environ]:
        del environ[name]
    if for_jobs:
        handle = os.memfd_create("blueprint")  # in no folder, closed in children, gone with this process
        os.write(handle, json.dumps(dict(for_jobs)).encode())
        environ[PLACE] = f"/proc/{os.getpid()}/fd/{handle}"


def take(*names: str, environ: MutableMapping[str, str] = os.environ) -> None:
    """Put secrets that were kept for jobs (all, without ``names``) into this program's environment."""
    with suppress(KeyError, OSError, ValueError):
        for name, value in json.loads(Path(environ[PLACE]).read_bytes()).items():
            if not names or name in names:
                environ.setdefault(name, value)
