"""An upstream repository at a pinned commit, installed from its own lock file into an environment of its own.

NVIDIA's Cosmos and DreamDojo pin everything they need, compiled extensions and torch included, in a sound `uv.lock`.
Installing from it, and from nothing else, is what keeps torch and its extensions together.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from blueprint.errors import UserError
from blueprint.files import file_digest, write_text


@dataclass(frozen=True)
class Upstream:
    """What identifies an installation from a repository."""

    repository: str
    commit: str
    """Full commit, 40 hexadecimal digits."""
    lock_sha256: str
    """Digest of the repository's `uv.lock`."""
    python: str
    """Python version, exact, or an interpreter."""
    extra: str | None = None
    """The extra to install, such as ``cu128``."""


def install(upstream: Upstream, prefix: Path, name: str) -> Path:
    """Install into ``<prefix>/share/<name>``; done again, it changes nothing.

    The environment at ``prefix`` sets ``<NAME>_ROOT`` to that folder whenever conda activates it.

    Returns:
        The interpreter of the installation, ``<prefix>/share/<name>/.venv/bin/python``.

    Raises:
        UserError: a commit that is not full or not in the repository, local changes, another lock file, or a failed
            installation.
    """
    root = prefix / "share" / name
    check_out(upstream.repository, upstream.commit, root)
    lock = root / "uv.lock"
    if not lock.exists() or file_digest(lock) != upstream.lock_sha256:
        found = file_digest(lock) if lock.exists() else "no such file"
        raise UserError(f"{lock}: expected sha256 {upstream.lock_sha256}, found {found}. Nothing was installed.")
    _sync(upstream, prefix, root)
    _set_on_activation(prefix, name)
    return root / ".venv" / "bin" / "python"


def check_out(repository: str, commit: str, folder: Path) -> None:
    """Make ``folder`` a work tree of ``repository`` at ``commit``, without its history.

    Raises:
        UserError: the commit is not a full one or is not in the repository, git is absent, or tracked files in
            ``folder`` were changed.
    """
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise UserError(f"{commit!r} is not a full commit (40 hexadecimal digits): only that pins a source.")
    if not shutil.which("git"):
        raise UserError("git is not installed: install it, then make the environment anew.")
    if not (folder / ".git").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _git(folder, "init", "--quiet")
    if _git(folder, "status", "--porcelain", "--untracked-files=no").stdout.strip():
        raise UserError(
            f"{folder}: tracked files were changed by hand. Delete the folder and make the environment anew."
        )
    if _git(folder, "rev-parse", "--verify", "--quiet", "HEAD", check=False).stdout.strip() == commit:
        return
    fetched = _git(folder, "fetch", "--quiet", "--depth", "1", repository, commit, check=False)
    if fetched.returncode:
        raise UserError(f"{repository}: commit {commit} cannot be fetched:\n{fetched.stderr.strip()}")
    _git(folder, "checkout", "--quiet", "--detach", "FETCH_HEAD")


def _git(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    # Large files of upstream are examples and test data.
    environment = {**os.environ, "GIT_LFS_SKIP_SMUDGE": "1", "GIT_TERMINAL_PROMPT": "0"}
    finished = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False, env=environment
    )
    if check and finished.returncode:
        raise UserError(f"{folder}: git {arguments[0]} failed:\n{finished.stderr.strip()}")
    return finished


def _sync(upstream: Upstream, prefix: Path, root: Path) -> None:
    command = [sys.executable, "-m", "uv", "sync", "--frozen", "--python", upstream.python]
    command += ["--extra", upstream.extra] if upstream.extra else []
    elsewhere = {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"}  # would install somewhere else
    environment = {name: value for name, value in os.environ.items() if name not in elsewhere}
    environment["UV_PYTHON_INSTALL_DIR"] = str(prefix / "share" / "uv-python")
    finished = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env=environment)
    if finished.returncode:
        raise UserError(f"{root}: `{' '.join(command[1:])}` failed:\n{finished.stderr.strip()}")


def _set_on_activation(prefix: Path, name: str) -> None:
    variable = root_variable(name)
    hooks = prefix / "etc" / "conda"
    write_text(hooks / "activate.d" / f"{name}.sh", f'export {variable}="$CONDA_PREFIX/share/{name}"\n')
    write_text(hooks / "deactivate.d" / f"{name}.sh", f"unset {variable}\n")


def root_variable(name: str) -> str:
    """The environment variable that names an installation's folder: ``COSMOS_TRANSFER_ROOT`` of ``cosmos-transfer``."""
    return f"{name.upper().replace('-', '_')}_ROOT"
