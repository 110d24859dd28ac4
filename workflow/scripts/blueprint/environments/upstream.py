"""An upstream repository at a pinned commit, installed from its own lock file into an environment of its own.

NVIDIA's Cosmos and DreamDojo pin everything they need, compiled extensions and torch included, in a sound `uv.lock`.
Installing from it, and from nothing else, is what keeps torch and its extensions together. What the lock leaves open is
settled here: with what source packages are built (`envs/build.lock.txt`, hashed, in the environment itself, beside the
torch that they must fit), and which of two builds of OpenCV that write the same files stays.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from blueprint import system
from blueprint.environments import fill
from blueprint.environments.installed import Upstream as Installed
from blueprint.environments.installed import read_pins, torch_of
from blueprint.errors import UserError
from blueprint.files import file_digest, write_text

DOWNLOAD_S = 2 * 3600.0


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


LEFT_OUT = ("opencv-python",)
"""Locked, but not installed: `opencv-python-headless` of the same version brings the same `cv2` and needs no libGL,
which a CUDA container lacks. Of the two, the one that is written last would win."""


def install(upstream: Upstream, prefix: Path, name: str, envs: Path) -> Path:
    """Install into ``<prefix>/share/<name>``, and record it; done again, it changes nothing.

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
    python = root / ".venv" / "bin" / "python"
    sync = _sync(upstream, prefix, root, envs / "build.lock.txt")
    supplements = envs / f"{name}.supplements.lock.txt"
    pins = read_pins(supplements.read_text(encoding="utf-8")) if supplements.exists() else {}
    if pins:
        fill.install(str(python), supplements)
    torch = torch_of(str(path) for path in root.glob(".venv/lib/python3*/site-packages"))
    fill.add_to_record(prefix, envs, name, Installed(str(root), sync, pins, torch))
    _set_on_activation(prefix, name)
    return python


def check_out(repository: str, commit: str, folder: Path) -> None:
    """Make ``folder`` a work tree of ``repository`` at ``commit``, without its history.

    Raises:
        UserError: the commit is not a full one or is not in the repository, git is absent, or tracked files in
            ``folder`` were changed.
    """
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise UserError(f"{commit!r} is not a full commit (40 hexadecimal digits): only that pins a source.")
    if not (folder / ".git").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _git(folder, "init", "--quiet")
    if _git(folder, "status", "--porcelain", "--untracked-files=no").stdout.strip():
        raise UserError(
            f"{folder}: tracked files were changed by hand. Delete the folder and recreate the environment."
        )
    if _git(folder, "rev-parse", "--verify", "--quiet", "HEAD", check=False).stdout.strip() == commit:
        return
    fetched = _git(folder, "fetch", "--quiet", "--depth", "1", repository, commit, check=False)
    if fetched.returncode:
        raise UserError(f"{repository}: commit {commit} cannot be fetched:\n{fetched.stderr.strip()}")
    _git(folder, "checkout", "--quiet", "--detach", "FETCH_HEAD")


def _git(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    # Large files of upstream are examples and test data.
    return system.git(folder, *arguments, check=check, environment={"GIT_LFS_SKIP_SMUDGE": "1"}, deadline_s=DOWNLOAD_S)


def _sync(upstream: Upstream, prefix: Path, root: Path, build: Path) -> list[str]:
    """Wheels first, then what builds the rest, then the rest, built where it is installed; returns the last words."""
    sync = ["sync", "--frozen", "--inexact", "--python", upstream.python]
    sync += ["--extra", upstream.extra] if upstream.extra else []
    sync += [argument for name in LEFT_OUT for argument in ("--no-install-package", name)]
    sources = [argument for name in source_packages(root / "uv.lock") for argument in ("--no-install-package", name)]
    variables = {"UV_PYTHON_INSTALL_DIR": str(prefix / "share" / "uv-python"), "SAM2_BUILD_CUDA": "0"}
    uv = [sys.executable, "-m", "uv"]
    fill.run([*uv, *sync, "--no-build", "--no-install-local", *sources], root, **variables)
    fill.install(str(root / ".venv" / "bin" / "python"), build)
    sync.append("--no-build-isolation")
    fill.run([*uv, *sync], root, **variables)
    return sync


def source_packages(lock: Path) -> list[str]:
    """Packages of a `uv.lock` that have no wheel on any platform: uv would build them."""
    packages = tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
    return sorted({package["name"] for package in packages if not package.get("wheels")})


def _set_on_activation(prefix: Path, name: str) -> None:
    variable = system.root_variable(name)
    hooks = prefix / "etc" / "conda"
    write_text(hooks / "activate.d" / f"{name}.sh", f'export {variable}="$CONDA_PREFIX/share/{name}"\n')
    write_text(hooks / "deactivate.d" / f"{name}.sh", f"unset {variable}\n")
