"""The original failure, with real pip and a real compiled extension: reproduced, prevented, explained."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from blueprint.environments import supplements
from blueprint.environments.verify import TorchBuild, torch_build, verify
from blueprint.errors import UserError
from torch_environments import (
    TORCH_AND_NEEDS,
    compile_extension,
    install_transformer_engine,
    make_environment,
    make_wheel,
    site_packages,
)
from workflow_runs import SCRIPTS

PIQ = ["piq==0.8.0", "torchvision==0.28.0", "pillow==12.2.0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An environment with torch and an extension compiled for it: the native stack before anybody touched it."""
    folder = tmp_path_factory.mktemp("native")
    make_environment(folder, *TORCH_AND_NEEDS)
    extension = compile_extension(tmp_path_factory.mktemp("extension") / "good.so")
    install_transformer_engine(folder, extension, "2.2+cpu.torch213")
    return folder


@pytest.fixture(scope="module")
def python(folder):
    return str(folder / "bin" / "python")


def run(*command):
    return subprocess.run(command, capture_output=True, text=True)


def add(python, *requirements):
    """The command that a person is told to use."""
    return run(sys.executable, str(SCRIPTS / "environments.py"), "add", "--python", python, *requirements)


def packages(folder):
    """What is installed, by the names of the metadata folders."""
    return {path.name for path in site_packages(folder).glob("*.dist-info")}


def test_the_stack_works_before(python):
    finished = run(python, "-c", "import transformer_engine.pytorch, transformer_engine_torch as t; print(t.device())")
    assert finished.stdout.strip() == "cuda:1", finished.stderr


def test_the_old_way_moves_torch(python):
    """The command of the upstream installer (`uv pip install ... piq`), as a dry run."""
    before = torch_build(python)
    finished = run(sys.executable, "-m", "uv", "pip", "install", "--dry-run", "--python", python, "-U", "piq")
    moved = re.search(r"^ \+ torch==(\S+)$", finished.stderr, re.MULTILINE)
    assert moved and moved[1] != before.version, finished.stderr


@pytest.mark.slow  # pip downloads what it only plans
def test_the_old_way_moves_torch_with_pip(python, tmp_path):
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--dry-run", "--report", str(report), "-U"]
    finished = run(*command, "piq")
    assert finished.returncode == 0, finished.stderr
    planned = {
        entry["metadata"]["name"]: entry["metadata"]["version"] for entry in json.loads(report.read_text())["install"]
    }
    assert planned["torch"] != torch_build(python).version


def test_the_helper_installs_piq_and_leaves_torch(tmp_path):
    python = str(make_environment(tmp_path / "venv", *TORCH_AND_NEEDS))
    before, there = torch_build(python), packages(tmp_path / "venv")
    finished = add(python, *PIQ)
    assert finished.returncode == 0, finished.stderr
    assert torch_build(python) == before
    assert packages(tmp_path / "venv") - there == {
        "piq-0.8.0.dist-info",
        "torchvision-0.28.0.dist-info",
        "pillow-12.2.0.dist-info",
    }
    assert add(python, *PIQ).returncode == 0, "adding what is there is no error"


def test_a_request_for_another_torch_is_refused_and_names_who_asks(python, folder):
    there = packages(folder)
    finished = add(python, "torchvision==0.29.1")
    assert finished.returncode == 1
    assert "torchvision 0.29.1 depends on torch" in finished.stderr
    assert torch_build(python).version in finished.stderr
    assert "Traceback" not in finished.stderr
    assert packages(folder) == there


@pytest.mark.parametrize(
    ("requirements", "message"),
    [
        (["torch==2.14.1"], "torch is not to be changed"),
        (["piq"], "is not exact"),
        (["piq>=0.8"], "is not exact"),
        (["piq==0.*"], "is not exact"),
        (["piq @ git+https://example.invalid/piq.git@main"], "is not exact"),
        ([f"piq @ file:///tmp/piq-9-py3-none-any.whl#git+x@{'0' * 40}"], "is not exact"),
        (["not a requirement"], "is not a requirement"),
        (["numpy==2.0.0"], "would replace numpy"),
        (["piq==0.8.0"], "Name all of it: piq==0.8.0 pillow=="),
    ],
)
def test_what_the_helper_refuses(python, folder, requirements, message):
    there = packages(folder)
    with pytest.raises(UserError, match=re.escape(message)):
        supplements.add(python, requirements)
    assert packages(folder) == there


@pytest.mark.parametrize("name", ["torch/version.py", "torch/lib/libc10.so"])
def test_a_package_that_would_write_over_torch_is_refused_before_it_does(folder, python, tmp_path, monkeypatch, name):
    """A wheel without requirements: neither pip's plan nor torch's version tells that it moves torch."""
    make_wheel(tmp_path, "intruder", "1.0", {name: "not torch"})
    there = packages(folder)
    only_here = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    monkeypatch.setattr(supplements, "isolation", lambda: only_here)
    with pytest.raises(UserError, match=rf"intruder-1\.0\S+ would write over {name}, which belongs to torch"):
        supplements.add(python, ["intruder==1.0"])
    assert packages(folder) == there


def test_the_users_settings_do_not_turn_an_installation_into_a_rehearsal(tmp_path):
    """`PIP_DRY_RUN=1` once made the helper report what it had not done."""
    python = str(make_environment(tmp_path / "venv", *TORCH_AND_NEEDS))
    command = [sys.executable, str(SCRIPTS / "environments.py"), "add", "--python", python, "natsort==8.4.0"]
    finished = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PIP_DRY_RUN": "1"})
    assert finished.returncode == 0, finished.stderr
    assert "natsort-8.4.0.dist-info" in packages(tmp_path / "venv")


def test_an_environment_without_torch_is_refused(tmp_path):
    python = str(make_environment(tmp_path / "venv"))
    with pytest.raises(UserError, match="no torch in this environment"):
        supplements.add(python, ["piq==0.8.0"])


def test_an_extension_built_for_another_torch_is_explained(tmp_path):
    """The old C++ ABI of torch's own wheels up to 2.6: the undefined symbol of the original failure."""
    python = str(make_environment(tmp_path / "venv", *TORCH_AND_NEEDS))
    extension = compile_extension(tmp_path / "old.so", "-D_GLIBCXX_USE_CXX11_ABI=0")
    install_transformer_engine(tmp_path / "venv", extension, "2.2+cu128.torch27")
    with pytest.raises(UserError) as failure:
        verify(python, ["torch", "transformer_engine.pytorch"])
    message = str(failure.value)
    library = site_packages(tmp_path / "venv") / "transformer_engine_torch.so"
    assert "transformer_engine.pytorch does not import" in message
    assert f"{library} (from transformer-engine 2.2+cu128.torch27)" in message
    assert "built for        torch 2.7 (by its version 2.2+cu128.torch27)" in message
    assert f"found            {torch_build(python)}" in message
    assert re.search(r"undefined symbol _ZNK?3c106Device", message)
    assert "Traceback" not in message


def test_the_verified_environment_says_which_torch_it_found(python):
    assert verify(python, ["torch", "transformer_engine.pytorch", "transformer_engine_torch.device"]) == torch_build(
        python
    )
    assert isinstance(torch_build(python), TorchBuild)
