"""Other programs: found beside this Python first, ended after their deadline, and git and nvidia-smi as they answer."""

import os
import sys
import time
from pathlib import Path

import pytest

from blueprint import system
from blueprint.errors import UserError


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a shell script of a name first on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def write(name, script):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return write


def test_a_program_beside_this_python_comes_before_one_on_path(program):
    assert system.find_program("greet") is None
    greet, pip = program("greet", "echo hello"), program("pip", "exit 7")
    assert system.find_program("greet") == str(greet)
    assert system.find_program("pip") == str(Path(sys.executable).parent / "pip") != str(pip)
    assert system.run(["greet"]).stdout == "hello\n"


def test_status_output_and_variables_are_handed_back(program, tmp_path):
    program("answer", 'echo "$WORD in $PWD"; printf "\\377" >&2; cat; exit 3')
    done = system.run(["answer"], folder=tmp_path, environment={"WORD": "yes"})
    assert (done.returncode, done.stdout, done.stderr) == (3, f"yes in {tmp_path}\n", "\ufffd")


def test_a_program_that_hangs_is_ended(program, tmp_path):
    program("wait", f"echo $$ > {tmp_path}/pid; exec sleep 600")
    with pytest.raises(UserError, match=r"wait took longer than 0\.5 s and was ended"):
        system.run(["wait"], deadline_s=0.5)
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.05)


def test_a_program_that_is_absent_or_cannot_run_is_named(tmp_path):
    with pytest.raises(UserError, match="no-such-program is not installed"):
        system.run(["no-such-program"])
    with pytest.raises(UserError, match=r"nothing: cannot be run \(No such file"):
        system.run([tmp_path / "nothing"])


def test_git_says_what_failed_and_which_commit_it_is(tmp_path):
    with pytest.raises(UserError, match="git describe failed: fatal: not a git repository"):
        system.commit_of(tmp_path)
    system.git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("1")
    system.git(tmp_path, "add", "file")
    author = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    system.git(tmp_path, *author, "commit", "--quiet", "-m", "One")
    commit = system.git(tmp_path, "rev-parse", "HEAD").stdout.strip()
    assert len(commit) == 40 and system.commit_of(tmp_path) == commit
    (tmp_path / "file").write_text("2")
    assert system.commit_of(tmp_path) == f"{commit}-dirty"
    assert system.git(tmp_path, "rev-parse", "--verify", "--quiet", "no-branch", check=False).returncode == 1


def test_gpus_as_nvidia_smi_lists_them(program):
    program("nvidia-smi", 'echo "0, NVIDIA L40S, 46068"; echo "1, NVIDIA L40S, 46068"')
    assert system.ask_nvidia_smi("index", "name", "memory.total") == [
        ["0", "NVIDIA L40S", "46068"],
        ["1", "NVIDIA L40S", "46068"],
    ]
    program("nvidia-smi", "echo 'NVIDIA-SMI has failed'; exit 9")
    assert system.ask_nvidia_smi("index") == []


def test_no_driver_means_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert system.ask_nvidia_smi("index") == []


@pytest.mark.parametrize(
    ("newer", "older"), [("570.124.06", "570.124"), ("580.65", "570.124.06"), ("10.0", "9.9"), ("570.9-beta", "570.8")]
)
def test_versions_are_compared_by_their_numbers(newer, older):
    assert system.version_numbers(newer) > system.version_numbers(older)
