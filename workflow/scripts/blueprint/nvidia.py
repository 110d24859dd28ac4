"""NVIDIA's repositories: where one is installed, and how its programs are run on the cards that a job holds."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from blueprint.engines.gpu import Gpu
from blueprint.errors import UserError
from blueprint.system import root_variable

log = logging.getLogger(__name__)

POLL_S = 0.5
GRACE_S = 60.0
"""From asking a program to end to ending it."""
LIBC = ctypes.CDLL(None)


def installation(title: str, program: str, environment: str, key: str, given: str | None) -> Path:
    """The folder of a repository with its own virtual environment.

    Args:
        title: the repository's name, for messages.
        program: a file that it must hold.
        environment: the conda environment that brings it and sets its variable.
        key: of the configuration, which may name another folder.
        given: that key's value.

    Raises:
        UserError: it is not there.
    """
    variable = root_variable(environment)
    root = Path(given or os.environ.get(variable, ""))
    if not (root / program).is_file():
        found = f"{root} holds no {program}" if str(root) != "." else "neither is set"
        raise UserError(
            f"NVIDIA's {title} is needed: set `{key}` to an installation of it, or use the conda environment "
            f"`{environment}` (`--sdm conda`), which sets {variable}; {found}."
        )
    return root.resolve()


def python_of(root: Path) -> str:
    """The interpreter of an installation."""
    return str(root / ".venv" / "bin" / "python")


def run(
    command: Sequence[str],
    folder: Path,
    gpus: Sequence[Gpu],
    variables: Mapping[str, str],
    during: Callable[[], None] = lambda: None,
) -> int:
    """Run a program to its end, in a process group of its own; what it prints goes to this job's log as it goes.

    Whatever ends this function ends all of the group. Its temporary files are in a folder of its own: NVIDIA's programs
    use names there that are the same for every clip.

    Args:
        command: what to run.
        folder: where.
        gpus: the cards that it may see.
        variables: of its environment, besides this process's.
        during: called about twice a second, and at the end.

    Returns:
        Its exit status.
    """
    log.info("running %s", " ".join(command))
    environment = os.environ | {"PYTHONUNBUFFERED": "1"} | variables
    environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.device for gpu in gpus)
    sys.stdout.flush()
    with tempfile.TemporaryDirectory(prefix="blueprint-") as private:  # a short path: sockets are made there
        process = subprocess.Popen(
            command, cwd=folder, env=environment | {"TMPDIR": private}, process_group=0, preexec_fn=_end_with_parent
        )
        try:
            while process.poll() is None:
                during()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_S)
            during()
        finally:
            _end(process)
    return process.returncode


def _end_with_parent() -> None:
    """Linux: a job that is killed outright takes its program along, which else would keep the card."""
    if sys.platform == "linux":
        LIBC.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _end(process: subprocess.Popen[bytes]) -> None:
    """End all of a group, and wait: the card must be free when this job has ended."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
