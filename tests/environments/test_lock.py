"""The environment files: exact, hashed, in step with their inputs, and to be had from the package index today."""

from __future__ import annotations

import re
import shutil

import pytest
import yaml

from blueprint.engines import ENVIRONMENTS
from blueprint.environments import inputs, lock
from blueprint.environments.installed import read_pins
from blueprint.errors import UserError
from workflow_runs import REPOSITORY

ENVS = REPOSITORY / "envs"
NAMES = inputs.names(ENVS)
SHARED = [name for name in NAMES if not inputs.read_inputs(ENVS, name).own_versions]
WITH_TORCH = ["cosmos-diffusers", "metrics", "render"]
PIP_LINE = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[^\s=<>~!*;]+)( --hash=sha256:[0-9a-f]{64})+")


def read(name, folder=ENVS):
    return yaml.safe_load((folder / f"{name}.yaml").read_text())


def lines(name):
    """The lines of an environment's lock."""
    return [line for line in (ENVS / f"{name}.lock.txt").read_text().splitlines() if not line.startswith("#")]


def pins(name):
    """Version by package of an environment's part from the index."""
    return read_pins((ENVS / f"{name}.lock.txt").read_text())


def constraints():
    return read_pins((ENVS / "laptop.constraints.txt").read_text())


@pytest.fixture
def folder(tmp_path):
    """A copy of the environment files that a test may spoil."""
    return shutil.copytree(ENVS, tmp_path / "envs")


def test_there_is_an_environment_for_every_need():
    assert set(NAMES) == set(ENVIRONMENTS)


@pytest.mark.parametrize("name", NAMES)
def test_one_channel_in_words_that_every_conda_takes(name):
    """`nodefaults` is refused by conda from 26.7.1 on: what keeps other channels out is the channel of each package."""
    content = read(name)
    assert content["channels"] == ["conda-forge"]
    assert all(line.startswith("conda-forge::") for line in content["dependencies"])


@pytest.mark.parametrize("name", NAMES)
def test_every_line_is_exact(name):
    content = read(name)
    assert set(content) == {"channels", "dependencies"}
    conda = [line.removeprefix("conda-forge::") for line in content["dependencies"]]
    assert [line for line in conda if not inputs.CONDA_PIN.fullmatch(line)] == []
    assert lines(name) and [line for line in lines(name) if not PIP_LINE.fullmatch(line)] == []
    assert {"python", "pip"} <= {line.split("=")[0] for line in conda}
    assert pins(name)["uv"] == constraints()["uv"]


@pytest.mark.parametrize("name", NAMES)
def test_in_step_with_its_inputs(name):
    assert inputs.out_of_step(ENVS, name) is None


def test_torch_is_the_same_everywhere():
    direct = {pin for name in SHARED for pin in inputs.read_inputs(ENVS, name).pip if pin.startswith("torch==")}
    assert direct == {f"torch=={constraints()['torch']}"}
    assert {f"torch=={pins(name)['torch']}" for name in WITH_TORCH} == direct
    assert [name for name in SHARED if "torch" in pins(name)] == WITH_TORCH


@pytest.mark.parametrize("name", SHARED)
def test_versions_are_those_of_the_laptop(name):
    laptop = constraints()
    assert {
        package: version for package, version in pins(name).items() if laptop.get(package, version) != version
    } == {}


def test_gsplat_is_compiled_by_the_cuda_that_torch_was_built_with():
    render = pins("render")
    versions = {
        render[package].rpartition(".")[0] for package in ("nvidia-cuda-nvcc", "nvidia-cuda-nvrtc", "nvidia-nvvm")
    }
    assert versions == {"13.0"}


def test_the_native_stacks_have_no_torch_of_ours():
    """transformer-engine and its torch stay in the upstream's own environment."""
    for name in NAMES:
        assert "transformer-engine" not in pins(name)


@pytest.mark.parametrize("name", ["cosmos-transfer", "dreamdojo"])
def test_upstream_is_pinned_by_commit_and_lock(name):
    script = (ENVS / f"{name}.post-deploy.sh").read_text()
    assert re.search(r"--commit [0-9a-f]{40}\b", script)
    assert re.search(r"--lock-sha256 [0-9a-f]{64}\b", script)
    assert re.search(r"--python 3\.10\.\d+\b", script)


@pytest.mark.parametrize("name", NAMES)
def test_the_index_offers_the_closure_today(name, tmp_path):
    """Resolution only: the closure follows from the direct pins, and every archive has the recorded hash."""
    written = inputs.read_inputs(ENVS, name)
    locked = tmp_path / "locked.txt"
    locked.write_text("\n".join(f"{package}=={version}" for package, version in pins(name).items()))
    resolved = lock.resolve_inputs(written, locked, f"uv=={pins(name)['uv']}")
    assert {package["name"]: package["version"] for package in resolved} == pins(name)
    recorded = {line.split("==")[0]: set(re.findall(r"sha256:(\w+)", line)) for line in lines(name)}
    for package in resolved:
        offered = {archive["hashes"]["sha256"] for archive in package.get("wheels") or [package["sdist"]]}
        assert recorded[package["name"]] <= offered


def test_changed_inputs_are_noticed(folder):
    path = folder / "metrics.in.yaml"
    path.write_text(path.read_text().replace("piq==0.8.0", "piq==0.7.0"))
    assert "generated from other inputs" in inputs.out_of_step(folder, "metrics")


def test_a_changed_conda_list_is_noticed(folder):
    path = folder / "conda" / "python.txt"
    path.write_text(path.read_text().replace("bzip2=1.0.8", "bzip2=1.0.9"))
    assert "generated from other inputs" in inputs.out_of_step(folder, "metrics")


def test_edits_by_hand_are_noticed(folder):
    path = folder / "metrics.lock.txt"
    path.write_text(path.read_text().replace("torch==2.13.0", "torch==2.14.1"))
    assert "metrics.lock.txt: it was edited by hand" in inputs.out_of_step(folder, "metrics")


def test_a_missing_file_is_noticed(folder):
    (folder / "metrics.yaml").unlink()
    assert "it is missing" in inputs.out_of_step(folder, "metrics")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("conda: [python]\npip: [numpy>=2]\n", "'numpy>=2'; every line must be exact: name==version"),
        ("conda: [python]\npip: [numpy==2.*]\n", "'numpy==2.*'; every line must be exact"),
        ("conda: [perl]\npip: []\n", "conda: found 'perl', but there is no"),
        ("conda: [python]\npip: []\nextra: 1\n", "unknown key extra. Known keys: conda, pip, source_only, supplements"),
    ],
)
def test_inputs_that_are_not_exact_are_refused(folder, content, message):
    (folder / "new.in.yaml").write_text(content)
    with pytest.raises(UserError, match=re.escape(message)):
        inputs.read_inputs(folder, "new")


def test_a_conda_package_without_build_is_refused(folder):
    (folder / "conda" / "python.txt").write_text("python=3.11.14\n")
    with pytest.raises(UserError, match="every line must be exact: name=version=build, then perhaps sha256:<hash>"):
        inputs.read_inputs(folder, "metrics")


def test_an_unknown_environment_is_refused():
    with pytest.raises(UserError, match=r"nothing\.in\.yaml: there is no such file. Environments: cosmos-diffusers, "):
        inputs.read_inputs(ENVS, "nothing")


def test_pins_that_do_not_go_together_are_explained(tmp_path):
    (tmp_path / "none.txt").write_text("")
    with pytest.raises(UserError, match=r"torchvision==0\.29\.1 depends on torch"):
        lock.resolve(("torch==2.13.0", "torchvision==0.29.1"), (), tmp_path / "none.txt")


def test_lock_writes_what_is_committed(folder):
    """`make lock` on unchanged inputs changes nothing, as long as the index offers what it did."""
    constraints = folder / "laptop.constraints.txt"
    constraints.write_text("\n".join(f"{package}=={version}" for package, version in pins("dreamdojo").items()))
    written = lock.lock(folder, "dreamdojo")
    assert {path.name for path in written} == {
        "dreamdojo.yaml",
        "dreamdojo.lock.txt",
        "dreamdojo.supplements.lock.txt",
    }
    for path in written:
        assert path.read_text() == (ENVS / path.name).read_text()


SMALL = {
    "laptop.txt": "rich==14.0.0\nuv==0.13.9\n",
    "laptop.constraints.txt": "markdown-it-py==3.0.0\nmdurl==0.1.2\npygments==2.19.1\nrich==14.0.0\nuv==0.13.9\n",
    "conda/python.txt": "python=3.11.14=hd63d673_3_cpython\n",
    "one.in.yaml": "# with a comment\nconda: [python]\npip: [rich==14.0.0]\n",
    "two.in.yaml": "conda: [python]\npip:\n  - rich==14.0.0  # why\n  - mdurl==0.1.2\n",
}


@pytest.fixture
def small(tmp_path):
    """Two environments and a laptop that pin the same package."""
    (tmp_path / "conda").mkdir()
    for name, text in SMALL.items():
        (tmp_path / name).write_text(text)
    lock.lock_all(tmp_path)
    return tmp_path


def test_one_command_bumps_a_version_everywhere_and_says_what_changed(small):
    changes = lock.bump(small, "rich==15.0.0")
    for name in ("laptop.txt", "laptop.constraints.txt", "one.in.yaml", "two.in.yaml", "one.lock.txt", "two.lock.txt"):
        assert f"{name}: rich 14.0.0 -> 15.0.0" in changes
        assert "rich==14.0.0" not in (small / name).read_text()
    assert "# why" in (small / "two.in.yaml").read_text() and "# with a comment" in (small / "one.in.yaml").read_text()
    assert [inputs.out_of_step(small, name) for name in ("one", "two")] == [None, None]


def test_a_package_that_only_others_pull_in_is_bumped_too(small):
    changes = lock.bump(small, "pygments==2.19.2")
    assert {"laptop.constraints.txt: pygments 2.19.1 -> 2.19.2", "one.lock.txt: pygments 2.19.1 -> 2.19.2"} <= set(
        changes
    )


@pytest.mark.parametrize(
    ("pin", "message"),
    [
        ("markdown-it-py==1.0.0", "markdown-it-py==1.0.0 does not go with the other pins; nothing was changed"),
        ("numpy==2.4.6", "nothing in .* pins numpy"),
        ("rich>=15", "found 'rich>=15'. Write name==version"),
    ],
)
def test_a_bump_that_cannot_be_changes_nothing(small, pin, message):
    before = {path: path.read_bytes() for path in small.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=message):
        lock.bump(small, pin)
    assert {path: path.read_bytes() for path in small.rglob("*") if path.is_file()} == before


def test_what_upstream_builds_with_is_locked():
    """sam2 asks for `torch>=2.5.1` to be built: an isolated build would fetch today's. Nothing is left to fetch."""
    locked = (ENVS / "build.lock.txt").read_text()
    assert {"setuptools", "hatchling", "wheel", "editables"} <= set(read_pins(locked))
    assert "torch" not in read_pins(locked)
    assert [line for line in locked.splitlines()[1:] if not PIP_LINE.fullmatch(line)] == []


def test_supplements_have_hashes():
    found = (ENVS / "dreamdojo.supplements.lock.txt").read_text().splitlines()[1:]
    assert len(found) == len(inputs.read_inputs(ENVS, "dreamdojo").supplements) == 15
    assert [line for line in found if not PIP_LINE.fullmatch(line)] == []


def test_constraints_keep_versions_that_still_fit(tmp_path):
    requirements, target = tmp_path / "laptop.txt", tmp_path / "laptop.constraints.txt"
    requirements.write_text("rich==15.0.0\n")
    target.write_text("rich==14.0.0\nmarkdown-it-py==4.0.0\n")
    lock.lock_constraints(requirements, target)
    header, *lines = target.read_text().splitlines()
    assert header.startswith("# Generated: the full closure of laptop.txt.")
    assert "rich==15.0.0" in lines and "markdown-it-py==4.0.0" in lines
    assert any(line.startswith("mdurl==") for line in lines)
