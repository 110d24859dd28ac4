"""What is said when a module does not import, a Python does not run, or a driver is too old."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

from blueprint.engines import ENVIRONMENTS
from blueprint.environments.needs import Needs, check_spec, verify_environment
from blueprint.environments.verify import (
    TorchBuild,
    driver_problem,
    explain,
    installed_driver,
    torch_build,
    verify,
)
from blueprint.errors import UserError
from torch_environments import make_environment, site_packages
from workflow_runs import SCRIPTS

CUDA_13, CUDA_12 = TorchBuild("2.13.0+cu130", "13.0", "a"), TorchBuild("2.7.0+cu128", "12.8", "b")
CPU = TorchBuild("2.13.0+cpu", None, "c")


@pytest.fixture
def folder(tmp_path):
    """An empty virtual environment."""
    make_environment(tmp_path / "venv")
    return tmp_path / "venv"


def write_module(folder, name, text):
    (site_packages(folder) / f"{name}.py").write_text(text)


def failure(folder, *modules):
    with pytest.raises(UserError) as raised:
        verify(str(folder / "bin" / "python"), modules)
    return str(raised.value)


def test_a_module_that_is_not_installed(folder):
    """The fifth original failure: natsort was not in the environment of a stage that had already rendered."""
    assert failure(folder, "natsort").startswith(f"natsort is not installed in {folder}/bin/python.")


def test_a_module_that_another_needs(folder):
    write_module(folder, "stage", "import natsort\n")
    assert "natsort, which stage needs, is not installed" in failure(folder, "stage")


def test_every_problem_is_named_at_once(folder):
    message = failure(folder, "natsort", "json", "sam2")
    assert "natsort is not installed" in message and "sam2 is not installed" in message and "json" not in message


def test_an_attribute_counts_as_a_module(folder):
    assert verify(str(folder / "bin" / "python"), ["json.dumps", "xml.dom"]) is None
    assert "AttributeError" in failure(folder, "json.nothing")


def test_an_import_that_kills_the_interpreter(folder):
    write_module(folder, "deadly", "import os, sys\nprint('last words', file=sys.stderr, flush=True)\nos.abort()\n")
    message = failure(folder, "json", "deadly")
    assert message.startswith("deadly does not import") and "died with status -6: last words" in message


def test_what_an_import_prints_is_no_result(folder):
    write_module(folder, "chatty", 'print("{}")\n')
    assert verify(str(folder / "bin" / "python"), ["chatty"]) is None


def test_the_probe_hides_no_module(folder):
    """The probe's own folder has a `lock` and a `verify`; an environment may have others of that name."""
    assert "lock is not installed" in failure(folder, "lock")


def test_a_python_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="cannot be run"):
        verify(str(tmp_path / "python"), ["json"])


def test_an_extension_names_its_torch_by_the_note_beside_it():
    result = {
        "module": "gsplat.csrc",
        "error": "ImportError: /env/gsplat/csrc.so: undefined symbol: _ZN3c106Device3strEv",
        "missing": None,
        "owner": {"name": "gsplat", "version": "1.5.3", "requires": ["torch"], "built_for": "2.12.0+cu130"},
    }
    message = explain(result, CUDA_13, "python")
    assert "built for        torch 2.12.0+cu130" in message
    assert "found            torch 2.13.0+cu130 (CUDA 13.0)" in message


def test_an_extension_names_its_torch_by_its_requirements():
    result = {
        "module": "flash_attn",
        "error": "ImportError: /env/flash_attn_2_cuda.so: undefined symbol: _ZN3c104cuda9SetDeviceEa",
        "missing": None,
        "owner": {"name": "flash-attn", "version": "2.7", "requires": ["einops", "torch==2.7.0"], "built_for": None},
    }
    assert "built for        torch==2.7.0 (by its requirements)" in explain(result, CPU, "python")


@pytest.mark.parametrize(
    ("driver", "torch", "minimum", "needed"),
    [
        ("575.57.08", CUDA_13, None, "580.65.06"),
        ("580.65.06", CUDA_13, None, None),
        ("565.77", CUDA_12, None, None),
        ("565.77", CUDA_12, "570.124.06", "570.124.06"),
        ("520.61.05", CUDA_12, None, "525.60.13"),
        ("470.1", CPU, None, None),
        ("470.1", None, None, None),
        (None, CUDA_13, "570.124.06", None),
    ],
)
def test_driver(driver, torch, minimum, needed):
    problem = driver_problem(driver, torch, minimum)
    assert (problem is None) == (needed is None)
    if needed:
        assert f"driver {driver} is too old for {torch}: at least {needed} is needed" in problem


def test_the_driver_is_asked_of_nvidia_smi(folder, tmp_path, monkeypatch):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text("#!/bin/sh\nprintf '550.54.14\\n550.54.14\\n'\n")
    (tools / "nvidia-smi").chmod(0o755)
    (site_packages(folder) / "torch").mkdir()
    (site_packages(folder) / "torch" / "__init__.py").write_text("")
    (site_packages(folder) / "torch" / "version.py").write_text("__version__ = '2.13.0'\ncuda = '13.0'\n")
    monkeypatch.setenv("PATH", str(tools))
    assert installed_driver() == "550.54.14"
    assert "driver 550.54.14 is too old for torch 2.13.0 (CUDA 13.0)" in failure(folder, "torch")
    monkeypatch.setenv("PATH", str(folder))
    assert installed_driver() is None


def test_torch_is_read_without_importing_it(folder):
    (site_packages(folder) / "torch").mkdir()
    (site_packages(folder) / "torch" / "__init__.py").write_text("raise SystemExit('imported')\n")
    (site_packages(folder) / "torch" / "version.py").write_text("__version__ = '2.7.0'\ncuda = None\n")
    assert torch_build(str(folder / "bin" / "python")) == TorchBuild("2.7.0", None, None)


def test_the_upstream_interpreter_is_asked(folder, monkeypatch):
    root = folder.parent / "root"
    root.mkdir()
    (root / ".venv").symlink_to(folder)
    needs = Needs((), ENVIRONMENTS["cosmos-transfer"].upstream)
    monkeypatch.delenv("COSMOS_TRANSFER_ROOT", raising=False)
    with pytest.raises(UserError, match=r"COSMOS_TRANSFER_ROOT is not set.*--sdm conda"):
        verify_environment("cosmos-transfer", needs)
    for given, variable in ((str(root), ""), ("", str(root))):
        monkeypatch.setenv("COSMOS_TRANSFER_ROOT", variable)
        with pytest.raises(UserError, match=f"natsort is not installed in {re.escape(str(root))}/.venv/bin/python"):
            verify_environment("cosmos-transfer", needs, given)


def test_modules_are_imported_as_the_stages_program_would(folder, tmp_path):
    """From the repository's folder, with `examples/` first on the path and nothing of the user's own."""
    root = tmp_path / "root"
    (root / "examples").mkdir(parents=True)
    (root / "examples" / "beside.py").write_text(f"import os\nassert os.getcwd() == {str(root)!r}, os.getcwd()\n")
    (root / "hidden.py").write_text("")
    python = str(folder / "bin" / "python")
    verify(python, ["beside"], root=root)
    with pytest.raises(UserError, match="hidden is not installed"):
        verify(python, ["hidden"], root=root)


def test_an_extension_that_its_package_hides_is_loaded_for_real(folder):
    """natten catches the failure of its own library: `import natten` proves nothing."""
    package = site_packages(folder) / "natten"
    package.mkdir()
    (package / "__init__.py").write_text("try:\n    from natten import libnatten\nexcept ImportError:\n    pass\n")
    (package / "libnatten.py").write_text("raise ImportError('/x/libnatten.so: undefined symbol: _ZN3c10')\n")
    verify(str(folder / "bin" / "python"), ["natten"])
    assert "undefined symbol _ZN3c10" in failure(folder, "natten.libnatten")
    modules = {name for needs in ENVIRONMENTS.values() if needs.upstream for name in needs.upstream.modules}
    assert {"natten.libnatten", "cv2", "flash_attn", "transformer_engine.pytorch"} <= modules


@pytest.mark.parametrize("gpu", [True, False])
def test_gsplat_must_load_where_there_is_a_gpu(tmp_path, monkeypatch, gpu):
    """Else a paid GPU would stand idle while the CPU renders, with a line in a log."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text("#!/bin/sh\nprintf '580.65.06\\n'\n" if gpu else "#!/bin/sh\nexit 1\n")
    (tools / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    needs = Needs(("json",), gpu_modules=ENVIRONMENTS["render"].gpu_modules)
    if gpu:
        with pytest.raises(UserError, match=r"gsplat is not installed|gsplat does not import"):
            verify_environment("render", needs)
    else:
        verify_environment("render", needs)


def test_the_marker_says_nothing_of_the_machine(tmp_path):
    spec = check_spec("metrics", ENVIRONMENTS["metrics"], SCRIPTS.parents[1] / "envs")
    marker = tmp_path / "metrics.json"
    command = [sys.executable, str(SCRIPTS / "environments.py"), "check", "--spec", json.dumps(spec)]
    finished = subprocess.run([*command, "--output", str(marker)], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert json.loads(marker.read_text()) == spec
    assert set(spec) == {"environment", "modules", "lock"}
    assert set(spec["lock"]) == {"metrics.yaml", "metrics.post-deploy.sh", "metrics.lock.txt"}


def test_a_changed_lock_is_checked_again(tmp_path):
    envs = shutil.copytree(SCRIPTS.parents[1] / "envs", tmp_path / "envs")
    before = check_spec("metrics", ENVIRONMENTS["metrics"], envs)
    (envs / "render.yaml").write_text("changed")
    assert check_spec("metrics", ENVIRONMENTS["metrics"], envs) == before
    (envs / "metrics.post-deploy.sh").write_text("changed")
    assert check_spec("metrics", ENVIRONMENTS["metrics"], envs) != before


def test_no_marker_when_something_does_not_import(tmp_path):
    marker = tmp_path / "cosmos-transfer.json"
    spec = json.dumps(check_spec("cosmos-transfer", ENVIRONMENTS["cosmos-transfer"], SCRIPTS.parents[1] / "envs"))
    command = [sys.executable, str(SCRIPTS / "environments.py"), "check", "--spec", spec, "--output", str(marker)]
    finished = subprocess.run([*command, "--root", str(tmp_path)], capture_output=True, text=True)
    assert finished.returncode == 1
    assert f"{tmp_path}/.venv/bin/python: cannot be run" in finished.stderr and "Traceback" not in finished.stderr
    assert not marker.exists()
