"""The original failure, with real pip and a real compiled extension: reproduced, prevented, explained."""

from __future__ import annotations

import json
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


def test_a_package_that_moves_torch_all_the_same_is_found_out(tmp_path, monkeypatch):
    """A package without requirements, which writes over torch when it is installed: only comparing finds it."""
    python = str(make_environment(tmp_path / "venv", *TORCH_AND_NEEDS))
    for name in ("__init__.py", "version.py"):  # no hard links where something is going to write
        linked = site_packages(tmp_path / "venv") / "torch" / name
        content = linked.read_bytes()
        linked.unlink()
        linked.write_bytes(content)
    project = tmp_path / "intruder"
    (project / "torch").mkdir(parents=True)
    (project / "torch" / "version.py").write_text("__version__ = '9.9.9'\ncuda = None\ngit_version = 'x'\n")
    (project / "setup.py").write_text(
        "from setuptools import setup\nsetup(name='intruder', version='1.0', packages=['torch'])\n"
    )
    (project / "torch" / "__init__.py").write_text("")
    wheels = tmp_path / "wheels"
    built = run(
        sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "-w", str(wheels), str(project)
    )
    assert built.returncode == 0, built.stderr
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    with pytest.raises(UserError, match=r"became torch 9\.9\.9"):
        supplements.add(python, ["intruder==1.0"])


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
