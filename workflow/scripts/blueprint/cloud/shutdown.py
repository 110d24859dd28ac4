"""The setting `shutdown`: `stop`, `destroy`, or a command that ends the machine."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

PROVIDER_MODES = ("stop", "destroy")
HARMLESS = {
    *("[", "true", "false", "test", "echo", "printf", "cat", "date", "logger", "sleep", "wait", "touch", "ls", "pwd"),
    *(
        "id",
        "whoami",
        "who",
        "uname",
        "hostname",
        "uptime",
        "env",
        "printenv",
        "yes",
        "seq",
        "wc",
        "head",
        "tail",
        "sync",
    ),
}
RUNS_ANOTHER = {
    *("sh", "bash", "dash", "zsh", "ksh", "fish", "busybox", "perl", "ruby", "node", "awk", "sed", "find", "xargs"),
    *(
        "timeout",
        "nohup",
        "nice",
        "ionice",
        "setsid",
        "stdbuf",
        "chroot",
        "flock",
        "watch",
        "time",
        "script",
        "unshare",
    ),
}


def words_of(shutdown: str) -> list[str]:
    """A command as its program and arguments; no shell is involved."""
    return shlex.split(shutdown)


def placeholder_problem(shutdown: str) -> str | None:
    """Why a setting would end no machine, as far as can be told anywhere; None when it may.

    The check finds placeholders and slips, it does not prove that a command works.
    """
    if shutdown in PROVIDER_MODES:
        return None
    try:
        words = words_of(shutdown)
    except ValueError as error:
        return f"{shutdown!r} cannot be read as a command ({error})"
    if words[:1] and Path(words[0]).name == "sudo" and words[0].startswith("/"):
        words = [word for word in words[1:] if not word.startswith("-")]
    if not words or not words[0].startswith("/"):
        return f"{shutdown!r} is neither `stop` nor `destroy`, nor a command whose program is named by its full path"
    program = Path(words[0]).name
    if program in HARMLESS or (program.startswith("python") and "-c" in words):
        return f"{shutdown!r} ends no machine: it prints, waits or does nothing"
    if program in RUNS_ANOTHER:
        return f"{shutdown!r} only starts another program: name that one, or a script of your own, by its full path"
    return None


def absence_problem(shutdown: str) -> str | None:
    """Why a command cannot be run on this machine; None when it can, or is none."""
    if shutdown in PROVIDER_MODES:
        return None
    program = Path(words_of(shutdown)[0])
    if not program.is_file() or not os.access(program, os.X_OK):
        return f"{shutdown!r}: there is no program {program} on this machine"
    real = program.resolve().name
    return f"{shutdown!r} is {real} by another name" if real in HARMLESS | RUNS_ANOTHER else None
