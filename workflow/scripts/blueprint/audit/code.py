"""Checks of the checkout: linters, quick tests, the state of git, and that no secret is about to leave with it.

Every tool is run as it is found beside this Python; one that is missing is a failed check with the command to install
it. None of them writes: caches and byte code are switched off.
"""

from __future__ import annotations

import stat
from collections.abc import Collection
from pathlib import Path

from blueprint import system
from blueprint.audit import secrets
from blueprint.checks import Check
from blueprint.errors import UserError

INSTALL = "make a fresh environment: `rm -rf .venv && make .venv/.ready`"
QUICK_TESTS = ("tests/config",)
SOURCES = ("workflow", "tests", "benchmarks")
LINTERS = {
    "ruff check": ("ruff", "check", "--no-cache", "--quiet", *SOURCES),
    "ruff format": ("ruff", "format", "--check", "--no-cache", "--quiet", *SOURCES),
    "snakefmt": ("snakefmt", "--check", "Snakefile", "rules"),
    "snakemake lint": ("snakemake", "--lint"),
    "quick tests": ("pytest", "--quiet", "-p", "no:cacheprovider", "--no-header", *QUICK_TESTS),
}
"""Command lines that must succeed, by the name of their check. All are run in the root of the checkout."""


def run_tool(folder: Path, command: tuple[str, ...]) -> tuple[int, str]:
    """Exit status and output of a tool that is run in a folder so that it leaves nothing behind.

    Raises:
        UserError: it is not installed, or takes longer than two minutes.
    """
    finished = system.run(command, folder=folder, environment={"PYTHONDONTWRITEBYTECODE": "1"}, deadline_s=120)
    return finished.returncode, finished.stdout + finished.stderr


def check_linter(root: Path, name: str) -> Check:
    """Whether one of `LINTERS` finds nothing."""
    command = LINTERS[name]
    try:
        status, said = run_tool(root, command)
    except UserError as error:
        return Check(name, "fail", str(error), INSTALL)
    shown = " ".join(command)
    if status:
        return Check(name, "fail", _last_lines(said), f"run `{shown}`, then correct what it names")
    return Check(name, "ok", _last_lines(said, 1) or f"`{shown}` finds nothing")


def check_git(root: Path, besides: Collection[str] = ()) -> Check:
    """Whether the commit that a rented machine would clone is the code that lies here; some files need not be in it."""
    try:
        changed = system.changed_files(root, besides)
        commit = system.git(root, "rev-parse", "--short", "HEAD").stdout.strip()
    except UserError as error:
        return Check("git state", "fail", str(error), "run the audit in a clone of the repository")
    if changed:
        shown = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        return Check("git state", "fail", f"not committed: {shown}", "commit or remove these, then audit again")
    if not system.git(root, "branch", "--remotes", "--contains", "HEAD").stdout.strip():
        return Check("git state", "fail", f"commit {commit} is on no remote branch", system.PUSH)
    return Check("git state", "ok", f"commit {commit}, clean and pushed")


def check_secrets(root: Path) -> Check:
    """Whether files or history hold something that looks like a secret."""
    try:
        findings = secrets.scan(root)
    except UserError as error:
        return Check("secret scan", "fail", str(error), "run the audit in a clone of the repository")
    if findings:
        shown = "; ".join(map(str, findings[:5])) + (f"; {len(findings) - 5} more" if len(findings) > 5 else "")
        remedy = (
            "revoke what is a secret and remove it (from the history too); record what is none with "
            "`workflow/scripts/audit.py --update-baseline` and `detect-secrets audit .secrets.baseline`"
        )
        return Check("secret scan", "fail", shown, remedy)
    return Check("secret scan", "ok", "no finding in files and history")


def check_runtime_env(root: Path) -> Check:
    """Whether the runtime secrets file is kept from git and from other users of the machine."""
    name = "runtime secrets"
    if system.git(root, "check-ignore", "-q", secrets.RUNTIME_ENV, check=False).returncode:
        remedy = f"add /{secrets.RUNTIME_ENV} to .gitignore"
        return Check(name, "fail", f"git does not ignore {secrets.RUNTIME_ENV}", remedy)
    file = root / secrets.RUNTIME_ENV
    if not file.exists():
        return Check(name, "ok", f"{secrets.RUNTIME_ENV} is ignored by git (and absent)")
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        return Check(name, "fail", f"{secrets.RUNTIME_ENV} has mode {mode:03o}", f"chmod 600 {secrets.RUNTIME_ENV}")
    return Check(name, "ok", f"{secrets.RUNTIME_ENV} is ignored by git, mode {mode:03o}")


def _last_lines(text: str, count: int = 4) -> str:
    return "\n".join([line for line in text.strip().splitlines() if line.strip()][-count:])
