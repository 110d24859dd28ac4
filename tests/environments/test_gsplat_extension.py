"""gsplat is compiled while the environment is made, by that environment's compiler; here without CUDA sources."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blueprint import system
from blueprint.environments import gsplat_extension
from blueprint.environments.verify import torch_build
from blueprint.errors import UserError
from torch_environments import TORCH_AND_NEEDS, make_environment, site_packages
from workflow_runs import SCRIPTS

MODULE = """
#include <Python.h>
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "csrc", nullptr, -1, nullptr};
PyMODINIT_FUNC PyInit_csrc() { return PyModule_Create(&module); }
"""


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Puts an `nvidia-smi` on PATH that prints the given text."""

    def put(text):
        folder = tmp_path / "tools"
        folder.mkdir()
        (folder / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{text}'\n")
        (folder / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return put


def test_the_gpus_of_this_machine_are_compiled_for(nvidia_smi):
    nvidia_smi("9.0\\n8.9\\n9.0\\n")
    assert system.architectures_here() == "8.9;9.0"


def test_without_a_gpu_nothing_is_compiled(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert system.architectures_here() == ""
    command = [sys.executable, str(SCRIPTS / "environments.py"), "compile-gsplat"]
    finished = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": "/nowhere"})
    assert finished.returncode == 0 and "gsplat is not compiled" in finished.stderr


def test_an_environment_without_gsplat_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(UserError, match="gsplat is not installed in this environment"):
        gsplat_extension.build("9.0")


def stand_in(folder):
    """An environment with torch, the sources of a `gsplat` and what of the CUDA toolkit is looked at."""
    python = make_environment(folder, *TORCH_AND_NEEDS, "packaging")
    site = site_packages(folder)
    for name, text in {
        "gsplat/__init__.py": "",
        "gsplat/cuda/ext.cpp": MODULE,
        "gsplat/cuda/csrc/part.cpp": "int part() { return 1; }\n",
        "nvidia/cu13/bin/nvcc": "#!/bin/sh\n",
        "nvidia/cu13/lib/libcudart.so.13": "",
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python), "ninja==1.13.2"]
    subprocess.run(install, check=True)
    return python, site / "gsplat" / "csrc.so"


def compile_gsplat(python):
    command = [str(python), str(SCRIPTS / "environments.py"), "compile-gsplat", "--architectures", "9.0"]
    environment = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_compiles_once_and_notes_the_torch(tmp_path):
    python, extension = stand_in(tmp_path / "venv")
    finished = compile_gsplat(python)
    assert finished.returncode == 0, finished.stderr
    assert Path(f"{extension}.torch").read_text() == torch_build(str(python)).version
    assert subprocess.run([str(python), "-c", "from gsplat import csrc"]).returncode == 0
    assert {path.name for path in extension.parent.glob("csrc*")} == {"csrc.so", "csrc.so.torch"}
    made = extension.stat().st_mtime_ns
    assert compile_gsplat(python).returncode == 0
    assert extension.stat().st_mtime_ns == made


def test_without_the_pinned_compiler_it_is_refused(tmp_path):
    folder = tmp_path / "venv"
    python = make_environment(folder)
    (site_packages(folder) / "gsplat").mkdir()
    (site_packages(folder) / "gsplat" / "__init__.py").write_text("")
    (site_packages(folder) / "nvidia" / "cu13").mkdir(parents=True)
    finished = compile_gsplat(python)
    assert finished.returncode == 1
    assert "cu13: there is no nvcc" in finished.stderr and "Traceback" not in finished.stderr
