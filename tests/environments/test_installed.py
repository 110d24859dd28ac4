"""What is installed is what is locked: asked before every job, answered without importing anything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from blueprint.environments import installed
from blueprint.errors import UserError
from small_runs import small_config
from torch_environments import copy_of_this_environment, make_wheel, prefix_of_this_python, site_packages
from workflow_runs import REPOSITORY, SCRIPTS, clean_environment, snakemake_command, write_config

TORCH_FILES = {"torch/__init__.py": "", "torch/version.py": "__version__ = '2.14.1'\ncuda = '13.0'\n"}


def run(*command, **options):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)


def check(python, **environment):
    """What `installed.py` says, started by an interpreter as a job starts it."""
    return run(python, SCRIPTS / "installed.py", env={**clean_environment(), "PYTHONNOUSERSITE": "1"} | environment)


def next_job(python, folder, **environment):
    """Snakemake, run by an interpreter up to the first job of this workflow."""
    config = write_config(folder, small_config())
    command = [str(python), *snakemake_command(folder, config, "results/preflight/render.json")[1:]]
    return run(*command, env=clean_environment() | environment)


def pip(python, *arguments):
    finished = run(sys.executable, "-m", "pip", "--python", python, *arguments)
    assert finished.returncode == 0, finished.stderr


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """A folder that pip installs from, where a newer piq asks for a newer torch, as the real one does."""
    folder = tmp_path_factory.mktemp("wheels")
    make_wheel(folder, "torch", "2.14.1", TORCH_FILES)
    make_wheel(folder, "piq", "0.9.0", {"piq/__init__.py": ""}, ("torch>=2.14",))
    return folder


@pytest.fixture
def user_site(tmp_path):
    """A home whose `~/.local` holds another torch."""
    local = site_packages(tmp_path / "home" / ".local")
    wheel = make_wheel(tmp_path, "torch", "2.14.1", TORCH_FILES)
    shutil.unpack_archive(wheel, local, "zip")
    return tmp_path / "home"


@pytest.fixture(scope="module")
def prefix_python(tmp_path_factory):
    """A Python like those of conda, which look into `~/.local`: its own prefix, not a virtual environment."""
    return prefix_of_this_python(tmp_path_factory.mktemp("conda") / "prefix")


def test_another_torch_in_the_users_site_is_found_where_python_sees_it(prefix_python, user_site):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONNOUSERSITE"}
    assert check(prefix_python, HOME=str(user_site)).returncode == 0, "switched off, it is not seen"
    finished = run(prefix_python, SCRIPTS / "installed.py", env=environment | {"HOME": str(user_site)})
    assert finished.returncode == 1
    assert f"torch: locked 2.13.0, installed 2.14.1 (in {user_site}/.local/lib/" in finished.stderr


def test_no_job_sees_the_users_site(prefix_python, user_site, tmp_path):
    """The job imports the locked torch, whatever lies in `~/.local` and whatever the user's settings say."""
    settings = {
        "PIP_USER": "1",
        "UV_PROJECT": "/nowhere",
        "PYTHONPATH": str(user_site / ".local"),
        "HOME": str(user_site),
    }
    snakefile = tmp_path / "Snakefile"
    snakefile.write_text(
        f"""
include: "{REPOSITORY}/rules/common.smk"
rule look:
    output: "seen"
    shell: "env > seen; python -c 'import torch; print(torch.__file__)' >> seen"
"""
    )
    for name in ("workflow", "envs"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    config = write_config(tmp_path, small_config())
    command = [prefix_python, "-m", "snakemake", "--snakefile", snakefile, "--directory", tmp_path, "--cores", "1"]
    command += ["--configfile", config]
    finished = run(*command, env=clean_environment() | settings)
    assert finished.returncode == 0, finished.stderr
    seen = (tmp_path / "seen").read_text()
    assert str(site_packages(prefix_python.parent.parent) / "torch") in seen
    assert "PYTHONNOUSERSITE=1" in seen
    assert not re.search(r"^(PIP_|UV_|PYTHONPATH|PYTHONHOME)", seen, re.MULTILINE)


# The tests share one copy and stand in order: those that change it for good are the last.


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of a copy of the environment that the tests run in."""
    return copy_of_this_environment(tmp_path_factory.mktemp("copy") / "venv")


def test_an_environment_as_it_was_made_passes(python):
    finished = check(python)
    assert finished.returncode == 0, finished.stderr


def test_a_package_more_that_harms_none_is_let_be(python, tmp_path):
    wheel = make_wheel(tmp_path, "harmless", "1.0", {"harmless.py": ""})
    extra = tmp_path / "extra"
    shutil.unpack_archive(wheel, extra, "zip")
    assert check(python, PYTHONPATH=str(extra)).returncode == 0


def test_a_library_that_something_wrote_over_is_found(python):
    library = site_packages(python.parent.parent) / "torch" / "lib" / "libc10.so"
    aside = library.rename(library.with_suffix(".aside"))
    library.write_bytes(b"not this")
    finished = check(python)
    aside.replace(library)
    assert finished.returncode == 1
    pattern = r"torch: locked 2\.13\.0, but something wrote over \S+libc10\.so \(8 bytes instead of \d+\)"
    assert re.search(pattern, finished.stderr)


def test_a_package_whose_files_are_gone_is_found(python):
    package = site_packages(python.parent.parent) / "piq"
    aside = package.rename(package.with_name("aside"))
    finished = check(python)
    aside.rename(package)
    assert re.search(r"piq: locked 0\.8\.0, but \S+piq/__init__\.py is gone", finished.stderr)


def test_the_opencv_with_windows_over_the_one_without_is_found(python, tmp_path):
    cv2 = site_packages(python.parent.parent) / "cv2" / "__init__.py"
    text = cv2.read_text()
    cv2.unlink()
    pip(
        python,
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        make_wheel(tmp_path, "opencv-python", "5.0.0.93", {"cv2/__init__.py": text}),
    )
    finished = check(python)
    pip(python, "uninstall", "--quiet", "-y", "opencv-python")
    cv2.write_text(text)
    wanted = "but opencv-python 5.0.0.93, which is not locked, brings the same files (cv2/__init__.py)"
    assert wanted in finished.stderr


def test_the_original_failure_stops_the_next_job(python, wheels, tmp_path):
    """`pip install -U piq` moves torch; the next job names it, both versions, and what to do. Nothing has run."""
    pip(python, "install", "--quiet", "--no-index", "--find-links", wheels, "-U", "piq")
    finished = next_job(python, tmp_path)
    assert finished.returncode != 0
    assert re.search(r"torch: locked 2\.13\.0, installed 2\.14\.1 \(in \S+site-packages\)", finished.stderr)
    assert "piq: locked 0.8.0, installed 0.9.0" in finished.stderr
    assert f"{python} -m pip uninstall -y piq torch; {python} -m pip install -r {REPOSITORY}/envs/" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "results" / "preflight" / "render.json").exists()


def test_a_package_that_was_removed_stops_the_next_job(python):
    pip(python, "uninstall", "--quiet", "-y", "av", "mpmath")
    finished = check(python)
    assert finished.returncode == 1
    assert "av: locked 18.1.0, not installed\n" in finished.stderr
    assert re.search(r"mpmath: locked \S+, not installed, though sympy needs it", finished.stderr)
    assert "Traceback" not in finished.stderr


# An environment that conda made: its own record counts, every line of it.


def made_by_conda(folder, pins, torch=None):
    """An environment with some packages and the record that its making leaves."""
    wheels = [make_wheel(folder / "wheels", name, version, {f"{name}.py": ""}) for name, version in pins.items()]
    site = folder / "site"
    for wheel in wheels:
        shutil.unpack_archive(wheel, site, "zip")
    return site


def texts(lock, site):
    return [difference.text for difference in installed.differences(lock, [str(site)])]


def test_every_line_of_an_environments_own_lock_counts(tmp_path):
    pins = {"natsort": "8.4.0", "termcolor": "3.1.0"}
    site = made_by_conda(tmp_path, pins)
    installed.write_record(tmp_path, "metrics", pins)
    lock = installed.lock_of(tmp_path, REPOSITORY / "envs", "python")
    assert texts(lock, site) == []
    shutil.rmtree(site / "natsort-8.4.0.dist-info")
    assert texts(lock, site) == ["natsort: locked 8.4.0, not installed"]
    assert lock.source == "envs/metrics.yaml"
    assert lock.repair == f"rm -rf {tmp_path} && snakemake --sdm conda --conda-create-envs-only"


def test_another_build_of_the_same_torch_is_found(tmp_path):
    site = made_by_conda(tmp_path, {"torch": "2.13.0"})
    version = site / "torch" / "version.py"
    version.parent.mkdir()
    version.write_text("__version__ = '2.13.0+cpu'\ncuda: str | None = None\ngit_version = 'abc'\n")
    pins = {"torch": "2.13.0"}
    lock = installed.Lock("x", "y", pins, None, "2.13.0+cu130 13.0 abc")
    assert texts(lock, site) == [
        "torch: locked 2.13.0, of the build 2.13.0+cu130 13.0 abc, installed is 2.13.0+cpu None abc"
    ]


def test_a_distribution_that_is_there_twice_is_found(tmp_path):
    site = made_by_conda(tmp_path, {"natsort": "8.4.0"})
    shutil.copytree(site / "natsort-8.4.0.dist-info", site / "natsort-8.5.0.dist-info")
    lock = installed.Lock("x", "y", {"natsort": "8.4.0"})
    assert texts(lock, site)[0].startswith("natsort: locked 8.4.0, installed twice, 8.4.0 and 8.5.0")


def test_a_check_that_fails_says_all_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    installed.write_record(tmp_path, "metrics", {"absent-one": "1.0", "absent-two": "2.0"})
    with pytest.raises(UserError, match=r"absent-one: locked 1\.0, not installed\n  absent-two") as raised:
        installed.check(REPOSITORY / "envs")
    assert f"{tmp_path} is not what envs/metrics.yaml locks" in str(raised.value)
