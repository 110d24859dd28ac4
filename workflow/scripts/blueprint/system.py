"""Other programs of this machine: found beside this Python, run with a deadline, asked in one way.

git, nvidia-smi and the tools of the virtual environment are all run through here, so that none of them can hang a job.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from blueprint import secret
from blueprint.errors import UserError

DEADLINE_S = 60.0


def root_variable(environment: str) -> str:
    """The variable that names an upstream installation's folder: ``COSMOS_TRANSFER_ROOT`` of ``cosmos-transfer``."""
    return f"{environment.upper().replace('-', '_')}_ROOT"


def find_program(name: str) -> str | None:
    """The program of a name beside this Python, or else on PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.is_file() else shutil.which(name)


def run(
    command: Sequence[str | Path],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str | None] | None = None,
    deadline_s: float = DEADLINE_S,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with nothing to read; what its exit status means is for the caller to say.

    Args:
        command: a program's name (see `find_program`) or path, and its arguments.
        folder: where it runs (default here).
        environment: variables set beside those of this process, which keeps its secrets; None takes one away.
        deadline_s: after so many seconds it is ended.

    Returns:
        Its exit status, standard output and standard error; bytes that are not UTF-8 become replacement characters.

    Raises:
        UserError: it is not installed, cannot be run, or takes too long.
    """
    name = str(command[0])
    program = name if os.sep in name else find_program(name)
    if program is None:
        raise UserError(f"{name} is not installed")
    given = {**secret.without(os.environ), **(environment or {})}
    try:
        return subprocess.run(
            [program, *map(str, command[1:])],
            cwd=folder,
            env={key: value for key, value in given.items() if value is not None},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=deadline_s,
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{name} took longer than {deadline_s:g} s and was ended") from error
    except OSError as error:
        raise UserError(f"{name}: cannot be run ({error.strerror})") from error


def git(
    folder: Path,
    *arguments: str,
    check: bool = True,
    environment: Mapping[str, str | None] | None = None,
    deadline_s: float = DEADLINE_S,
) -> subprocess.CompletedProcess[str]:
    """Run git in a folder; it asks for no password and, of its own accord, writes nothing (`git status` would).

    Raises:
        UserError: git is not installed or takes too long; unless ``check`` is off, also when it fails.
    """
    command = ["git", "--no-optional-locks", *arguments]
    finished = run(
        command, folder=folder, environment={"GIT_TERMINAL_PROMPT": "0", **(environment or {})}, deadline_s=deadline_s
    )
    if check and finished.returncode:
        raise UserError(f"{folder}: git {arguments[0]} failed: {finished.stderr.strip()}")
    return finished


def commit_of(folder: Path) -> str:
    """The full commit of the git checkout that holds a folder, with ``-dirty`` when its files were changed.

    Raises:
        UserError: it is not a git checkout, or git is not installed.
    """
    # A checkout in a container or on a shared disk may belong to another user.
    anyone = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    described = git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*", environment=anyone)
    return described.stdout.strip()


PUSH = (
    "`git push`; where you may not push, to a fork of yours: `git remote add fork <its address>`, "
    "`git push fork HEAD`, `launch --remote fork`"
)
"""What to do about a commit that no machine elsewhere can fetch."""


def changed_files(folder: Path, besides: Collection[str] = ()) -> list[str]:
    """Files of a checkout that are not as they were committed, untracked ones among them, but for those named.

    Raises:
        UserError: it is not a git checkout.
    """
    listed = git(folder, "status", "--porcelain", "--untracked-files=all", "-z").stdout.split("\0")
    return [entry[3:] for entry in listed if entry and entry[3:] not in besides]


def ask_nvidia_smi(*fields: str) -> list[list[str]]:
    """What `nvidia-smi --query-gpu` says of each GPU, in MiB, MHz and so on; no GPU where there is no working driver.

    Raises:
        UserError: it does not answer, as with a driver that hangs.
    """
    if find_program("nvidia-smi") is None:
        return []
    asked = run(["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"], deadline_s=30)
    if asked.returncode:
        return []
    return [[value.strip() for value in line.split(",")] for line in asked.stdout.splitlines() if line.strip()]


def architectures_here() -> str:
    """Compute capabilities of this machine's GPUs in torch's form (``8.9;9.0``); empty when there is none."""
    return ";".join(sorted({capability for (capability,) in ask_nvidia_smi("compute_cap")}))


def list_mig_devices() -> list[tuple[int, str, str]]:
    """The parts that cards are divided into (NVIDIA MIG): index of the card, profile such as ``3g.40gb``, UUID.

    Raises:
        UserError: `nvidia-smi` does not answer.
    """
    if find_program("nvidia-smi") is None:
        return []
    found, index = [], 0
    for line in run(["nvidia-smi", "-L"], deadline_s=30).stdout.splitlines():
        if card := re.match(r"GPU (\d+):", line):
            index = int(card[1])
        elif part := re.match(r"\s+MIG (\S+)\s+Device\s+\d+: \(UUID: (MIG-[^)]+)\)", line):
            found.append((index, part[1], part[2]))
    return found


def version_numbers(version: str) -> tuple[int, ...]:
    """A version for comparison: ``570.124.06`` is (570, 124, 6); what follows a part's digits does not count."""
    return tuple(int(digits[0]) if (digits := re.match(r"\d+", part)) else 0 for part in version.split("."))
