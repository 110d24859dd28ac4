"""An environment is filled from its lock by uv, hashes required, away from the user's settings, and records it."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest

from blueprint.environments import fill
from blueprint.environments.installed import RECORD, lock_of
from blueprint.errors import UserError
from torch_environments import prefix_of_this_python, site_packages
from workflow_runs import REPOSITORY, SCRIPTS

CONDA = (
    "# Packages from the index: sha256 0\n# bzip2: sha256 " + "a" * 64 + "\nchannels:\n- conda-forge\ndependencies:\n"
    "- conda-forge::bzip2=1.0.8=hda65f42_8\n- conda-forge::python=3.11.14=hd63d673_3_cpython\n"
)
FILL = (
    "import sys; from pathlib import Path; sys.path.insert(0, {scripts!r}); from blueprint.environments import fill; "
)
FILL += "fill.fill(Path(sys.prefix), Path({envs!r}), 'small')"


def records(prefix, **changes):
    """What conda notes of its packages, as far as it is looked at."""
    (prefix / "conda-meta").mkdir(exist_ok=True, parents=True)
    channel = "https://conda.anaconda.org/conda-forge/linux-64"
    packages = {
        "bzip2": {"version": "1.0.8", "build": "hda65f42_8", "sha256": "a" * 64},
        "python": {"version": "3.11.14", "build": "hd63d673_3_cpython", "sha256": "b" * 64},
    }
    for name, values in changes.items():
        packages[name] = packages.get(name, {}) | values
    for name, values in packages.items():
        record = {"name": name, "channel": channel, **values}
        (prefix / "conda-meta" / f"{name}.json").write_text(json.dumps(record))


@pytest.fixture
def envs(tmp_path):
    """Files of a small environment: what conda installs, and a lock with real hashes."""
    folder = tmp_path / "envs"
    folder.mkdir()
    (folder / "small.yaml").write_text(CONDA)
    locked = [(REPOSITORY / "envs" / f"{name}.lock.txt").read_text() for name in ("orchestration", "build")]
    lines = [re.search(rf"^{name}==.*$", "\n".join(locked), re.MULTILINE)[0] for name in ("uv", "tomli", "pathspec")]
    (folder / "small.lock.txt").write_text("\n".join(lines) + "\n")
    return folder


def fill_by(prefix, envs, **environment):
    """Fill the environment by its own Python, which has pip and nothing of ours."""
    code = FILL.format(scripts=str(SCRIPTS), envs=str(envs))
    command = [str(prefix / "bin" / "python"), "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


@pytest.fixture
def prefix(tmp_path):
    """An environment as conda leaves it."""
    prefix_of_this_python(tmp_path / "prefix", "pip", "setuptools")
    records(tmp_path / "prefix")
    return tmp_path / "prefix"


def test_an_environment_is_filled_and_recorded(prefix, envs, tmp_path):
    """`PIP_USER=1` once put everything into `~/.local` with exit status 0."""
    settings = {
        "PIP_USER": "1",
        "PYTHONUSERBASE": str(tmp_path / "user"),
        "UV_SYSTEM_PYTHON": "1",
        "UV_TARGET": "/nowhere",
    }
    finished = fill_by(prefix, envs, **settings)
    assert finished.returncode == 0, finished.stderr
    there = {path.name.partition("-")[0] for path in site_packages(prefix).glob("*.dist-info")}
    assert {"uv", "tomli", "pathspec"} <= there
    assert not (tmp_path / "user").exists()
    assert set(lock_of(prefix, envs, "python").pins) == {"uv", "tomli", "pathspec"}


def test_a_package_with_another_hash_is_refused(prefix, envs):
    lock = envs / "small.lock.txt"
    lock.write_text(re.sub(r"(?m)^(pathspec\S+).*$", r"\1 --hash=sha256:" + "0" * 64, lock.read_text()))
    finished = fill_by(prefix, envs)
    assert finished.returncode == 1
    assert "Hash mismatch for `pathspec" in finished.stderr
    assert not (prefix / RECORD).exists(), "what is not whole has no record"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"python": {"version": "3.11.15"}},
            "python: locked 3.11.14=hd63d673_3_cpython from conda-forge, found 3.11.15",
        ),
        ({"python": {"build": "0_cpython"}}, "found 3.11.14=0_cpython"),
        (
            {"python": {"channel": "https://repo.anaconda.com/pkgs/main/linux-64"}},
            "from https://repo.anaconda.com/pkgs",
        ),
        ({"bzip2": {"sha256": "c" * 64}}, f"bzip2: locked sha256 {'a' * 64}, found {'c' * 64}"),
        ({"more": {"version": "1", "build": "0"}}, "more: not locked, found 1"),
    ],
)
def test_what_conda_made_of_other_packages_is_refused(tmp_path, changes, message):
    records(tmp_path, **changes)
    with pytest.raises(UserError, match=re.escape(message)):
        fill.refuse_other_conda(tmp_path, CONDA)


def test_what_conda_lacks_is_named(tmp_path):
    records(tmp_path)
    fill.refuse_other_conda(tmp_path, CONDA)
    (tmp_path / "conda-meta" / "bzip2.json").unlink()
    with pytest.raises(UserError, match=r"bzip2: locked 1\.0\.8=hda65f42_8 from conda-forge, found none"):
        fill.refuse_other_conda(tmp_path, CONDA)


def test_a_python_that_conda_did_not_make_is_left_alone(tmp_path):
    with pytest.raises(UserError, match=r"conda did not make this environment\. Nothing was installed"):
        fill.refuse_other_conda(tmp_path, CONDA)
