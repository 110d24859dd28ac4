"""Upstream repositories, played by local ones with a real uv.lock: the post-deploy scripts run as they are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from blueprint import system
from blueprint.environments.installed import lock_of, upstream_differences
from blueprint.environments.upstream import Upstream, check_out, install
from blueprint.errors import UserError
from blueprint.files import file_digest
from torch_environments import make_wheel
from workflow_runs import REPOSITORY, SCRIPTS, git

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


@pytest.fixture(scope="module")
def envs(tmp_path_factory):
    """Environment files with one for the stand-in, whose own packages are none, and the real ones that build."""
    folder = tmp_path_factory.mktemp("envs")
    (folder / "stand-in.lock.txt").write_text("")
    shutil.copy(REPOSITORY / "envs" / "build.lock.txt", folder)
    return folder


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, **options)


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


def test_installs_the_pinned_commit_from_its_lock(upstream, envs, tmp_path, monkeypatch):
    for name in ("UV_PROJECT_ENVIRONMENT", "UV_PROJECT", "VIRTUAL_ENV"):  # of a person's own work
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    python = install(source(upstream), tmp_path, "stand-in", envs)
    root = tmp_path / "share" / "stand-in"
    assert python == root / ".venv" / "bin" / "python"
    assert (root / "stand_in.py").read_text() == "NUMBER = 1\n"
    versions = run(str(python), "-c", "import natsort, termcolor; print(natsort.__version__)")
    assert versions.stdout.strip() == "8.4.0", versions.stderr


def test_done_again_it_changes_nothing(upstream, envs, tmp_path):
    install(source(upstream), tmp_path, "stand-in", envs)
    before = state(tmp_path)
    install(source(upstream), tmp_path, "stand-in", envs)
    assert state(tmp_path) == before


def test_activation_sets_the_root(upstream, envs, tmp_path):
    install(source(upstream), tmp_path, "stand-in", envs)
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
def test_refuses_what_is_not_pinned(upstream, envs, tmp_path, changes, message):
    with pytest.raises(UserError, match=re.escape(message)):
        install(source(upstream, **changes), tmp_path, "stand-in", envs)
    assert not (tmp_path / "etc").exists(), "an environment that failed is not announced"


def test_a_package_that_is_not_the_locked_one_is_refused(upstream, envs, tmp_path):
    fork = tmp_path / "fork"
    shutil.copytree(upstream, fork)
    lock = fork / "uv.lock"
    lock.write_text(re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", lock.read_text()))
    git(fork, "commit", "--quiet", "--all", "--message", "tampered")
    with pytest.raises(UserError, match=r"(?i)hash mismatch"):
        install(source(fork, commit=git(fork, "rev-parse", "main")), tmp_path, "stand-in", envs)


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


# Before every job the installation is held against its lock, by uv itself.


@pytest.fixture(scope="module")
def recorded(upstream, envs, tmp_path_factory):
    """An installation and what its environment's record says of it."""
    prefix = tmp_path_factory.mktemp("prefix")
    python = install(source(upstream), prefix, "stand-in", envs)
    return python, lock_of(prefix, envs, "python").upstream


def test_what_uv_installed_passes(recorded):
    assert upstream_differences(recorded[1]) == []


def test_natsort_removed_or_moved_is_found(recorded):
    """The fifth original failure, and the first in small."""
    python, installation = recorded
    pip = (sys.executable, "-m", "uv", "pip")
    assert run(*pip, "uninstall", "--python", str(python), "natsort").returncode == 0
    found = [difference.text for difference in upstream_differences(installation)]
    assert found == [f"natsort: locked 8.4.0, not installed (in {installation.root}/.venv)"]
    assert run(*pip, "install", "--python", str(python), "natsort==8.3.1").returncode == 0
    found = [difference.text for difference in upstream_differences(installation)]
    assert found == [f"natsort: locked 8.4.0, installed 8.3.1 (in {installation.root}/.venv)"]
    assert run(*pip, "install", "--python", str(python), "natsort==8.4.0").returncode == 0
    assert upstream_differences(installation) == []


def test_a_package_from_a_repository_is_named_with_its_commit(monkeypatch, recorded):
    """What uv says of one that is not there has another form."""
    said = f"Would install 1 package\n + video-depth-anything @ git+https://example.invalid/vda.git@{'a' * 40}\n"
    monkeypatch.setattr(system, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, "", said))
    found = upstream_differences(recorded[1])[0].text
    assert found.startswith(
        f"video-depth-anything: locked git+https://example.invalid/vda.git@{'a' * 40}, not installed"
    )


# What the lock leaves open: with what source packages are built, and which OpenCV stays.

BUILT = """
[project]
name = "cosmos-stand-in"
version = "1.0"
requires-python = ">=3.10"
dependencies = ["torch==2.7.0", "sam2==1.1.0", "opencv-python==4.11.0.86", "opencv-python-headless==4.11.0.86"]

[tool.uv]
package = false
find-links = ["{wheels}"]
environments = ["sys_platform == 'linux'"]
no-binary-package = ["sam2"]
"""
SAM2 = """
import torch
from setuptools import setup
open("sam2/__init__.py", "w").write(f"BUILT_WITH = {torch.__version__!r}")
setup(name="sam2", version="1.1.0", packages=["sam2"])
"""


@pytest.fixture(scope="module")
def with_sources(tmp_path_factory):
    """A repository that needs a source package which asks for `torch>=2.5.1` to be built, and both builds of OpenCV."""
    folder, wheels = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheels")
    for version in ("2.7.0", "2.14.1"):
        make_wheel(wheels, "torch", version, {"torch/__init__.py": f"__version__ = {version!r}\n"})
    for name, text in (("opencv-python", "raise ImportError('libGL.so.1')"), ("opencv-python-headless", "")):
        make_wheel(wheels, name, "4.11.0.86", {"cv2/__init__.py": text})
    package = tmp_path_factory.mktemp("package") / "sam2-1.1.0"
    build = '[build-system]\nrequires = ["setuptools>=61.0", "torch>=2.5.1"]\nbuild-backend = "setuptools.build_meta"\n'
    write(package, {"setup.py": SAM2, "sam2/__init__.py": "", "pyproject.toml": build})
    write(package, {"PKG-INFO": "Metadata-Version: 2.2\nName: sam2\nVersion: 1.1.0\n"})
    shutil.make_archive(str(wheels / "sam2-1.1.0"), "gztar", package.parent, package.name)
    (folder / "pyproject.toml").write_text(BUILT.replace("{wheels}", str(wheels)))
    git(folder, "init", "--quiet", "--initial-branch", "main")
    assert run(sys.executable, "-m", "uv", "lock", "--python", sys.executable, cwd=folder).returncode == 0
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "stand-in")
    return folder


def test_source_packages_are_built_against_the_torch_that_is_there(with_sources, envs, tmp_path):
    lock, commit = with_sources / "uv.lock", git(with_sources, "rev-parse", "main")
    python = install(Upstream(str(with_sources), commit, file_digest(lock), sys.executable), tmp_path, "stand-in", envs)
    shown = run(str(python), "-c", "import sam2, cv2; print(sam2.BUILT_WITH)")
    assert shown.stdout.strip() == "2.7.0", shown.stderr
    names = {path.name for path in python.parent.parent.glob("lib/*/site-packages/*.dist-info")}
    assert "opencv_python_headless-4.11.0.86.dist-info" in names, "the build that needs no libGL"
    assert not any(name.startswith("opencv_python-") for name in names)
    assert upstream_differences(lock_of(tmp_path, envs, "python").upstream) == []


# The post-deploy scripts themselves: only what they install, and where it comes from, is replaced.


def run_post_deploy(name, folder, replacements, scripts=SCRIPTS):
    """Run `envs/<name>.post-deploy.sh` with regular expressions replaced, as Snakemake would: from a copy elsewhere."""
    script = (REPOSITORY / "envs" / f"{name}.post-deploy.sh").read_text()
    replacements = {r'python "\$scripts/fill_environment\.py" \S+\n': "", **replacements}  # see test_fill.py
    for pattern, value in replacements.items():
        script, count = re.subn(pattern, value, script, flags=re.DOTALL)
        assert count == 1, pattern
    (folder / "deployed.sh").write_text(script)
    environment = {
        **os.environ,
        "CONDA_PREFIX": str(folder / "prefix"),
        "BLUEPRINT_SCRIPTS": str(scripts),
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
    modules = ("sam2", "flash_attn", "natten/libnatten", "transformer_engine/pytorch", "cosmos_transfer2/inference")
    for module in (*modules, "cv2", "torch"):
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

[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project.optional-dependencies]
cu128 = []

[tool.setuptools]
packages = ["transformer_engine", "cosmos_predict2", "torchcodec"]
py-modules = ["flash_attn", "lightning", "cv2"]

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
            "cv2.py": "",
            "flash_attn.py": "",
            "lightning.py": "",
            "torchcodec/decoders.py": "",
            "cosmos_predict2/action_conditioned.py": (
                "import importlib.metadata\n\nimport pytorch3d\n\nimportlib.metadata.version('piq')\n\n\n"
                "def inference(): ...\n"
            ),
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


def dreamdojo_pins(folder, pytorch3d):
    pinned = Upstream(str(folder), git(folder, "rev-parse", "main"), file_digest(folder / "uv.lock"), sys.executable)
    return {
        **pins(pinned),
        r"git\+https://\S+@\w{40}": f"git+file://localhost{pytorch3d}@{git(pytorch3d, 'rev-parse', 'main')}",
    }


def test_post_deploy_of_dreamdojo_adds_what_its_code_imports(dreamdojo, tmp_path):
    """Supplements come from their own hashed lock, pytorch3d is built against the torch that is there."""
    checkout = tmp_path / "checkout"
    shutil.copytree(SCRIPTS, checkout / "workflow" / "scripts")
    shutil.copytree(REPOSITORY / "envs", checkout / "envs")
    supplements = checkout / "envs" / "dreamdojo.supplements.lock.txt"  # but for piq, of another Python than this one
    supplements.write_text(re.search(r"^piq==.*\n", supplements.read_text(), re.MULTILINE)[0])
    finished = run_post_deploy("dreamdojo", tmp_path, dreamdojo_pins(*dreamdojo), checkout / "workflow" / "scripts")
    assert finished.returncode == 0, finished.stderr
    assert "torch is what it was" in finished.stderr and "dreamdojo: all modules import" in finished.stderr
    installation = lock_of(tmp_path / "prefix", checkout / "envs", "python").upstream
    assert installation.supplements["piq"] == "0.8.0"
    assert upstream_differences(installation) == []
    python = f"{installation.root}/.venv/bin/python"
    assert run(sys.executable, "-m", "uv", "pip", "uninstall", "--python", python, "piq").returncode == 0
    assert [one.text for one in upstream_differences(installation)] == ["piq: locked 0.8.0, not installed"]
