"""What the tests of several folders share, made once for all test processes where it takes long."""

import fcntl
import os
import shutil

import pytest

from installers import make_recorder
from small_runs import small_config
from workflow_runs import snakemake, write_config


def made_once(tmp_path_factory, name, make):
    """A folder that `make(folder)` fills in the first test process that asks, while the others wait for it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, done = shared / name, shared / f"{name}.done"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def recorded_run(tmp_path_factory):
    """A run of the small configuration by a Python whose installers leave notes: folders `run` and `recorder`."""

    def make(folder):
        (folder / "run").mkdir()
        python = make_recorder(folder / "recorder")
        snakemake(folder / "run", write_config(folder / "run", small_config()), python=python)

    return made_once(tmp_path_factory, "recorded", make)


@pytest.fixture(scope="session")
def finished_run(recorded_run):
    """A folder in which the small configuration has been run; not to be changed."""
    return recorded_run / "run"


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of the finished run that a test may change, with its modification times."""
    copy = tmp_path / "run"
    shutil.copytree(finished_run, copy)
    return copy
