"""Upstream repositories, played by local ones with a real uv.lock: the post-deploy scripts run as they are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from blueprint.environments.upstream import Upstream, check_out, install
from blueprint.errors import UserError
from blueprint.files import file_digest
from workflow_runs import REPOSITORY, SCRIPTS

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "cosmos-stand-in"
version = "1.0"
requires-python = ">=3.10"
dependencies = ["natsort==8.4.0"]

[project.optional-dependencies]
cu128 = ["termcolor==3.1.0"]

[tool.uv]
package = false
"""


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, **options)


def git(folder, *arguments):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
    finished = run("git", "-C", str(folder), *identity, *arguments)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    """A repository with a real uv.lock; its second commit is the pinned one, its last one another."""
    folder = tmp_path_factory.mktemp("upstream")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    (folder / "pyproject.toml").write_text(PROJECT)
    locked = run(sys.executable, "-m", "uv", "lock", "--python", sys.executable, cwd=folder)
    assert locked.returncode == 0, locked.stderr
    for number in range(3):
        (folder / "stand_in.py").write_text(f"NUMBER = {number}\n")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message", f"commit {number}")
    return folder


def source(upstream, **changes):
    """What identifies the pinned commit."""
    values = {
        "repository": str(upstream),
        "commit": git(upstream, "rev-parse", "main~1"),
        "lock_sha256": file_digest(upstream / "uv.lock"),
        "python": sys.executable,
        "extra": "cu128",
    }
    return Upstream(**{**values, **changes})


def state(folder):
    """Every file of an installation, with its content's digest."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]
    return {path: file_digest(path) for path in files if path.suffix != ".pyc"}


def test_installs_the_pinned_commit_from_its_lock(upstream, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_PROJECT_ENVIRONMENT", str(tmp_path / "elsewhere"))
    python = install(source(upstream), tmp_path, "stand-in")
    root = tmp_path / "share" / "stand-in"
    assert python == root / ".venv" / "bin" / "python"
    assert (root / "stand_in.py").read_text() == "NUMBER = 1\n"
    versions = run(str(python), "-c", "import natsort, termcolor; print(natsort.__version__)")
    assert versions.stdout.strip() == "8.4.0", versions.stderr


def test_done_again_it_changes_nothing(upstream, tmp_path):
    install(source(upstream), tmp_path, "stand-in")
    before = state(tmp_path)
    install(source(upstream), tmp_path, "stand-in")
    assert state(tmp_path) == before


def test_activation_sets_the_root(upstream, tmp_path):
    install(source(upstream), tmp_path, "stand-in")
    hook = tmp_path / "etc" / "conda" / "activate.d" / "stand-in.sh"
    environment = {**os.environ, "CONDA_PREFIX": str(tmp_path)}
    shown = run("sh", "-c", f'. "{hook}"; printf %s "$STAND_IN_ROOT"', env=environment)
    assert shown.stdout == str(tmp_path / "share" / "stand-in")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"commit": "main"}, "not a full commit"),
        ({"commit": "0" * 40}, f"commit {'0' * 40} cannot be fetched"),
        ({"lock_sha256": "0" * 64}, f"expected sha256 {'0' * 64}, found"),
        ({"extra": "cu999"}, "`-m uv sync --frozen"),
        ({"repository": "/nowhere"}, "cannot be fetched"),
    ],
)
def test_refuses_what_is_not_pinned(upstream, tmp_path, changes, message):
    with pytest.raises(UserError, match=re.escape(message)):
        install(source(upstream, **changes), tmp_path, "stand-in")
    assert not (tmp_path / "etc").exists(), "an environment that failed is not announced"


def test_a_package_that_is_not_the_locked_one_is_refused(upstream, tmp_path):
    fork = tmp_path / "fork"
    shutil.copytree(upstream, fork)
    lock = fork / "uv.lock"
    lock.write_text(re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", lock.read_text()))
    git(fork, "commit", "--quiet", "--all", "--message", "tampered")
    with pytest.raises(UserError, match=r"(?i)hash mismatch"):
        install(source(fork, commit=git(fork, "rev-parse", "main")), tmp_path, "stand-in")


def test_local_changes_are_refused(upstream, tmp_path):
    pinned = source(upstream)
    check_out(pinned.repository, pinned.commit, tmp_path / "tree")
    (tmp_path / "tree" / "stand_in.py").write_text("NUMBER = 7\n")
    with pytest.raises(UserError, match="changed by hand"):
        check_out(pinned.repository, pinned.commit, tmp_path / "tree")


def test_another_pin_moves_the_tree(upstream, tmp_path):
    first, second = git(upstream, "rev-parse", "main~2"), git(upstream, "rev-parse", "main")
    check_out(str(upstream), first, tmp_path / "tree")
    check_out(str(upstream), second, tmp_path / "tree")
    assert (tmp_path / "tree" / "stand_in.py").read_text() == "NUMBER = 2\n"


# The post-deploy scripts themselves: only what they install, and where it comes from, is replaced.


def run_post_deploy(name, folder, replacements):
    """Run `envs/<name>.post-deploy.sh` with regular expressions replaced, as Snakemake would: from a copy elsewhere."""
    script = (REPOSITORY / "envs" / f"{name}.post-deploy.sh").read_text()
    for pattern, value in replacements.items():
        script, count = re.subn(pattern, value, script, flags=re.DOTALL)
        assert count == 1, pattern
    (folder / "deployed.sh").write_text(script)
    environment = {
        **os.environ,
        "CONDA_PREFIX": str(folder / "prefix"),
        "BLUEPRINT_SCRIPTS": str(SCRIPTS),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    return run("bash", str(folder / "deployed.sh"), env=environment, cwd=folder)


def pins(pinned):
    return {
        r"--repository \S+": f"--repository {pinned.repository}",
        r"--commit \S+": f"--commit {pinned.commit}",
        r"--lock-sha256 \S+": f"--lock-sha256 {pinned.lock_sha256}",
        r"--python 3\S+": f"--python {pinned.python}",
    }


def test_post_deploy_fails_on_an_import_that_fails(upstream, tmp_path):
    """natsort is there, torch and the extensions are not: the environment must not be used."""
    finished = run_post_deploy("cosmos-transfer", tmp_path, pins(source(upstream)))
    assert finished.returncode == 1
    interpreter = tmp_path / "prefix" / "share" / "cosmos-transfer" / ".venv" / "bin" / "python"
    assert f"torch is not installed in {interpreter}" in finished.stderr
    assert f"transformer_engine is not installed in {interpreter}" in finished.stderr
    assert "natsort is not installed" not in finished.stderr
    assert "Traceback" not in finished.stderr


def test_post_deploy_succeeds_twice_when_all_imports(upstream, tmp_path):
    run_post_deploy("cosmos-transfer", tmp_path, pins(source(upstream)))
    site = next((tmp_path / "prefix").glob("share/cosmos-transfer/.venv/lib/*/site-packages"))
    for module in ("sam2", "flash_attn", "natten", "transformer_engine/pytorch", "cosmos_transfer2/config", "torch"):
        target = site / module / "__init__.py"
        target.parent.mkdir(parents=True)
        target.write_text("")
    (site / "torch" / "version.py").write_text(TORCH_VERSION)
    for _ in range(2):
        finished = run_post_deploy("cosmos-transfer", tmp_path, pins(source(upstream)))
        assert finished.returncode == 0, finished.stderr
        assert "cosmos-transfer: all modules import" in finished.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"commit": "0" * 40}, "cannot be fetched"), ({"lock_sha256": "0" * 64}, "expected sha256")],
)
def test_post_deploy_fails_on_another_source(upstream, tmp_path, changes, message):
    finished = run_post_deploy("cosmos-transfer", tmp_path, pins(source(upstream, **changes)))
    assert finished.returncode == 1
    assert message in finished.stderr
    assert "Traceback" not in finished.stderr


DREAMDOJO = """
[project]
name = "dreamdojo-stand-in"
version = "1.0"
requires-python = ">=3.10"
dependencies = ["torch==2.7.0", "setuptools==80.9.0"]

[project.optional-dependencies]
cu128 = []

[tool.uv]
package = false

[tool.uv.sources]
torch = {path = "torch-stand-in"}
"""
TORCH_VERSION = "__version__ = '2.7.0+cu128'\ncuda = '12.8'\ngit_version = 'x'\n"
SETUP = "from setuptools import setup\nimport torch\nsetup(name='pytorch3d', version='0.7.9', packages=['pytorch3d'])\n"


@pytest.fixture(scope="module")
def dreamdojo(tmp_path_factory):
    """A repository whose lock brings a torch (without substance), and one of pytorch3d, whose build imports torch."""
    folder, pytorch3d = tmp_path_factory.mktemp("dreamdojo"), tmp_path_factory.mktemp("pytorch3d")
    write(
        folder,
        {
            "pyproject.toml": DREAMDOJO,
            "torch-stand-in/pyproject.toml": '[project]\nname = "torch"\nversion = "2.7.0"\n',
            "torch-stand-in/torch/__init__.py": "",
            "torch-stand-in/torch/version.py": TORCH_VERSION,
            "transformer_engine/pytorch.py": "",
            "flash_attn.py": "",
            "lightning.py": "",
            "cosmos_predict2/action_conditioned.py": "import natsort, pytorch3d\n\n\ndef inference(): ...\n",
        },
    )
    locked = run(sys.executable, "-m", "uv", "lock", "--python", sys.executable, cwd=folder)
    assert locked.returncode == 0, locked.stderr
    write(pytorch3d, {"setup.py": SETUP, "pytorch3d/__init__.py": ""})
    for repository in (folder, pytorch3d):
        git(repository, "init", "--quiet", "--initial-branch", "main")
        git(repository, "add", ".")
        git(repository, "commit", "--quiet", "--message", "stand-in")
    return folder, pytorch3d


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def dreamdojo_pins(folder, pytorch3d, supplements):
    pinned = Upstream(str(folder), git(folder, "rev-parse", "main"), file_digest(folder / "uv.lock"), sys.executable)
    return {
        **pins(pinned),
        r"piq==.*yarl==\S+": supplements,
        r"git\+https://\S+@\w{40}": f"git+file://localhost{pytorch3d}@{git(pytorch3d, 'rev-parse', 'main')}",
    }


def test_post_deploy_of_dreamdojo_adds_what_its_code_imports(dreamdojo, tmp_path):
    """Supplements come without their dependencies, pytorch3d is built against the torch that is there; twice."""
    for _ in range(2):
        finished = run_post_deploy("dreamdojo", tmp_path, dreamdojo_pins(*dreamdojo, "natsort==8.4.0"))
        assert finished.returncode == 0, finished.stderr
        assert "added natsort==8.4.0; torch is what it was" in finished.stderr
        assert "dreamdojo: all modules import" in finished.stderr


def test_post_deploy_of_dreamdojo_fails_on_a_supplement_that_wants_another_torch(dreamdojo, tmp_path):
    finished = run_post_deploy("dreamdojo", tmp_path, dreamdojo_pins(*dreamdojo, "torchvision==0.28.0"))
    assert finished.returncode == 1
    assert "torchvision 0.28.0 depends on torch==2.13.0" in finished.stderr
    assert "dreamdojo: all modules import" not in finished.stderr
    assert "Traceback" not in finished.stderr
