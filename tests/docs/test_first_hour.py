"""A new user's first hour: the README, then every other page, typed word by word in an empty home directory."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pages import PAGES, commands
from workflow_runs import GUITAR, REPOSITORY, git, write_conda_stub

pytestmark = pytest.mark.slow
SHOWN_ELSEWHERE = {
    r".*--profile profiles/slurm": "wants a cluster: tests/slurm/test_slurm.py",
    r"make test": "runs the suite that this test is part of",
    r"make lock": "asks the package index for every package: tests/environments/test_lock.py",
    r"make gpu-check|.*gpu_check\.py": "is for a machine with a GPU: tests/environments/test_gpu_check.py",
    r"make gpu-wheels": "downloads for another machine: tests/environments/test_gpu_check.py",
    r".*--conda-create-envs-only": "makes environments from a channel: tests/environments/test_fill.py",
    r".*environments\.py add ": "wants an installation of NVIDIA's: tests/environments/test_torch_stays.py",
}
"""Commands that are not typed here, and why."""
NEED_CONDA = "--sdm conda"
"""Planned only, by a stand-in: conda's packages come from a channel."""
NEED_GPUS = "--resources gpu="
"""Planned only."""
ACCOUNTS = re.compile(r"VAST_API_KEY|B2_APPLICATION_KEY|HF_TOKEN|Backblaze|bucket: still the example")
MAY_FAIL = {"git state", "Vast", "bucket", "launch", "Hugging Face", "disk"}
"""Checks of the audit that a machine without accounts or 65 GB for weights, or an unpushed clone, cannot pass."""
AUDITED = re.compile(r"^ {2}(\S.*?) {2,}(fail|unknown) ", re.MULTILINE)
LONGEST_S = 900


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A clone of the working tree, with an empty home that holds a scan, and a PATH with Python and git alone."""
    folder = tmp_path_factory.mktemp("first-hour")
    clone, scans = folder / "blueprint", folder / "home" / "scans"
    scans.mkdir(parents=True)
    for name in git(REPOSITORY, "ls-files", "-co", "--exclude-standard").splitlines():
        if (REPOSITORY / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, clone / name)
    git(clone, "init", "--quiet")
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "clone")
    if GUITAR.is_file():
        shutil.copy(GUITAR, scans / "kitchen.ply")
    return folder


class Typist:
    """Types commands, one after the other, and keeps what was seen."""

    def __init__(self, folder: Path) -> None:
        self.clone, self.home = folder / "blueprint", folder / "home"
        python = Path(sys.executable).resolve().parent
        self.environment = {
            **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
            "HOME": str(self.home),
            "PATH": f"{python}:/usr/bin:/bin",
            "BROWSER": "true",
        }
        self.typed: list[tuple[str, float]] = []

    def type(self, command: str, path_too: Path | None = None) -> tuple[int, str]:
        """Run a line as a shell in the clone does; returns its exit status and all it printed."""
        environment = dict(self.environment)
        if path_too:
            environment["PATH"] = f"{path_too}:{environment['PATH']}"
        start = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.clone,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_S,
        )
        self.typed.append((command, time.monotonic() - start))
        assert "Traceback" not in done.stdout, done.stdout[-3000:]
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def typist(place):
    found = Typist(place)
    yield found
    print(f"\n{len(found.typed)} commands in {sum(seconds for _, seconds in found.typed) / 60:.1f} minutes:")
    for command, seconds in found.typed:
        print(f"{seconds:7.1f} s  {command}")


def prepared(typist: Typist) -> None:
    """What a reader of the other pages has: a configuration for a rented machine, its scan, and a second run."""
    text = (REPOSITORY / "config" / "examples" / "production_kitchen.yaml").read_text()
    (typist.clone / "config" / "mine.yaml").write_text(text)
    scene = typist.clone / yaml.safe_load(text)["facilities"][0]["scene"]
    scene.parent.mkdir(parents=True, exist_ok=True)
    if not scene.exists():
        shutil.copy(typist.clone / "resources" / "demo" / "kitchen.ply", scene)
    if (typist.clone / "my.yaml").exists() and not (typist.clone / "other.yaml").exists():
        shutil.copy(typist.clone / "my.yaml", typist.clone / "other.yaml")
        status, printed = typist.type(".venv/bin/blueprint run other.yaml")
        assert status == 0, printed
    git(typist.clone, "add", "--force", "config/mine.yaml")


def lines() -> list[str]:
    """Every command of the pages in the order of reading, each once, without its comment."""
    assert PAGES[0].name == "README.md"
    found = [re.split(r"\s{2,}#", parameters.values[0])[0].strip() for parameters in commands()]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("command", lines())
def test_it_can_be_typed_as_it_stands(typist, command):
    """It works, or says in one line which account is missing; nothing else happens, and never a traceback."""
    for pattern, why in SHOWN_ELSEWHERE.items():
        if re.match(pattern, command):
            assert (REPOSITORY / why.rpartition(": ")[2]).exists() or why.startswith("runs the suite")
            return
    if not GUITAR.is_file() and re.search(r"my\.yaml|~/scans", command):
        pytest.skip(f"{GUITAR} (a capture that the repository does not carry) is not there")
    if "make demo" not in command:
        assert (typist.clone / ".venv" / ".ready").exists(), "set-up came first"
    if re.search(r"mine\.yaml|other\.yaml", command):
        prepared(typist)
    if NEED_CONDA in command:
        tools = typist.home / "tools"
        status, printed = typist.type(f"{command} -n", tools if tools.exists() else write_conda_stub(tools))
        assert status == 0, printed
        return
    status, printed = typist.type(f"{command} -n" if NEED_GPUS in command else command)
    if AUDITED.search(printed):
        assert {name for name, _ in AUDITED.findall(printed)} <= MAY_FAIL, printed
    elif status:
        errors = [line for line in printed.splitlines() if ACCOUNTS.search(line)]
        assert errors and len(printed.splitlines()) <= 6, printed


def test_the_first_report_of_the_readers_own_scan_is_there(typist):
    """What the README promised: a verdict on a scan of one's own, upright."""
    if not GUITAR.is_file():
        pytest.skip(f"{GUITAR} (a capture that the repository does not carry) is not there")
    results = typist.clone / "results"
    assert (results / "report.html").stat().st_size > 1e6, "of the demo"
    assert (results / "my" / "report.html").stat().st_size > 1e6
    assert yaml.safe_load((typist.clone / "my.yaml").read_text())["facilities"][0]["up_axis"] == "-y"
