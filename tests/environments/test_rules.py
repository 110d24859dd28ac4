"""Rules name their environment, and nothing installs anything while the workflow runs."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from small_runs import small_config
from torch_environments import site_packages
from workflow_runs import (
    REPOSITORY,
    SCRIPTS,
    clean_environment,
    planned_jobs,
    snakemake,
    snakemake_command,
    write_config,
)

RULE_FILES = sorted((REPOSITORY / "rules").glob("*.smk"))
INSTALLERS = ("pip", "uv", "conda", "mamba", "micromamba", "ensurepip")
COMMAND = re.compile(
    r"\b(pip3?|uv|conda|mamba|micromamba)\s+(install|sync|create|env|run|update|upgrade|add|remove|pip)\b"
)
# They install while an environment is made or when a person asks; `environments.py check`, which rules call, does not.
MAKERS = {"lock.py", "supplements.py", "upstream.py"}


def rules():
    """The text of every rule."""
    found = []
    for path in RULE_FILES:
        for block in re.split(r"^(?=rule \w+:)", path.read_text(), flags=re.MULTILINE):
            if match := re.match(r"rule (\w+):", block):
                found.append(pytest.param(block, id=match[1]))
    return found


@pytest.mark.parametrize("rule", rules())
def test_a_rule_that_runs_a_script_names_its_environment(rule):
    if "shell:" not in rule and "script:" not in rule:
        return
    conda = re.search(r"^    conda:\n        (?:f?)\"\.\./envs/(.+?)\.yaml\"$", rule, re.MULTILINE)
    assert conda, "it has no `conda:`"
    if "{" not in conda[1]:
        assert (REPOSITORY / "envs" / f"{conda[1]}.yaml").exists()


@pytest.fixture
def conda_stub(tmp_path):
    """What Snakemake asks conda while it plans; this machine may have none."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "conda").write_text(
        "#!/bin/sh\n"
        'case "$1" in\n'
        """info) echo '{"platform": "linux-64", "conda_prefix": "/none", "root_prefix": "/none"}';;\n"""
        "--version) echo conda 26.1.1;;\n"
        """config) echo '{"get": {"channel_priority": "strict"}}';;\n"""
        "*) exit 1;;\n"
        "esac\n"
    )
    (tools / "conda").chmod(0o755)
    return tools


PROMPTED = [{"name": "evening", "prompt": "evening light"}]


@pytest.mark.parametrize(
    ("enrich", "targets", "expected"),
    [
        ({}, [], {"render", "metrics"}),
        ({"engine": "cosmos-transfer2.5", "variants": PROMPTED}, [], {"render", "metrics", "cosmos-transfer"}),
        ({"engine": "diffusers", "variants": PROMPTED}, [], {"render", "metrics", "cosmos-diffusers"}),
        ({}, ["results/preflight/dreamdojo.json"], {"dreamdojo"}),
    ],
)
def test_the_plan_lists_the_environments(conda_stub, tmp_path, enrich, targets, expected):
    config = small_config()
    config["enrich"] |= enrich
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(REPOSITORY / "Snakefile"),
        "--directory",
        str(tmp_path),
    ]
    command += ["--cores", "1", "--sdm", "conda", "-n", *targets, "--configfile", str(write_config(tmp_path, config))]
    environment = {**clean_environment(), "PATH": f"{conda_stub}{os.pathsep}{os.environ['PATH']}"}
    finished = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    listed = set(re.findall(r"Conda environment .*envs/(\S+)\.yaml will be created", finished.stdout + finished.stderr))
    assert listed == expected


def test_no_rule_names_an_installer():
    for path in [REPOSITORY / "Snakefile", *RULE_FILES]:
        assert not COMMAND.search(path.read_text()), path
        subcommands = set(re.findall(r"environments\.py (\S+)", path.read_text()))
        assert subcommands <= {"check"}, path


def words_in_commands(node, in_command=False):
    """The words in lists and among the arguments of calls, but for `which`, which only looks, and for keys."""
    if isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Call | ast.List):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "which":
            return
        in_command = True
    if in_command and isinstance(node, ast.Constant):
        yield node.lineno, node.value
    for child in ast.iter_child_nodes(node):
        yield from words_in_commands(child, in_command)


def test_no_script_calls_an_installer():
    for path in sorted(SCRIPTS.rglob("*.py")):
        if path.parent.name == "environments" and path.name in MAKERS:
            continue
        tree = ast.parse(path.read_text())
        assert [f"{path}:{line}" for line, word in words_in_commands(tree) if word in INSTALLERS] == []
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                imported = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert not {name.split(".")[0] for name in imported} & set(INSTALLERS), f"{path}:{node.lineno}"


@pytest.mark.parametrize(
    "code", ['run([python, "-m", "pip", "install"])', 'command = ["uv", "sync"]', 'run(("conda", "run"))', 'run("pip")']
)
def test_calls_of_installers_are_seen(code):
    assert {word for _, word in words_in_commands(ast.parse(code))} & set(INSTALLERS)


def test_only_people_reach_the_makers():
    """The modules that install are imported by environments.py alone, inside the commands of people."""
    names = "|".join(name.removesuffix(".py") for name in MAKERS)
    importing = [
        path.relative_to(SCRIPTS).as_posix()
        for path in sorted(SCRIPTS.rglob("*.py"))
        if re.search(rf"environments(\.| import .*\b)({names})\b", path.read_text())
    ]
    assert importing == ["environments.py"]


def test_transformer_engine_is_imported_by_nothing_here():
    for path in sorted(SCRIPTS.rglob("*.py")):
        assert not re.search(r"^\s*(import|from) transformer_engine", path.read_text(), re.MULTILINE), path


@pytest.fixture
def recorder(tmp_path):
    """A Python where every installer only leaves a note, and the file of the notes."""
    return make_recorder(tmp_path)


def make_recorder(folder):
    """A Python with all packages of this one, and installers that write a line to a file instead."""
    notes = folder / "notes"
    venv.create(folder / "venv", with_pip=False)
    site = site_packages(folder / "venv")
    (site / "all.pth").write_text(next(path for path in sys.path if path.endswith("site-packages")) + "\n")
    for name in INSTALLERS:
        script = folder / "venv" / "bin" / name
        script.write_text(f'#!/bin/sh\necho "{name} $*" >> "{notes}"\n')
        script.chmod(0o755)
        (site / name).mkdir()
        (site / name / "__init__.py").write_text(f"open({str(notes)!r}, 'a').write('import {name}\\n')\n")
        (site / name / "__main__.py").write_text("")
    return folder / "venv" / "bin" / "python", notes


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """A whole run by a Python that records installers: its folder, its configuration, the file of the notes."""
    folder = tmp_path_factory.mktemp("run")
    python, notes = make_recorder(folder)
    config = small_config()
    config["clips"] = config["clips"][:1]
    config["render"]["frames"] = 2
    work = folder / "work"
    work.mkdir()
    command = [str(python), *snakemake_command(work, write_config(folder, config))[1:]]
    finished = subprocess.run(command, capture_output=True, text=True, env=clean_environment())
    logs = "\n".join(log.read_text() for log in work.glob("logs/**/*.log"))
    assert finished.returncode == 0, finished.stderr + logs
    return work, config, notes


def test_a_run_calls_no_installer(finished_run):
    work, _, notes = finished_run
    assert (work / "results" / "report.html").exists()
    assert not notes.exists(), notes.read_text()


@pytest.mark.parametrize(
    "change",
    [
        {"report": {"title": "Another headline"}},
        {"metrics": {"names": ["psnr"], "thresholds": {"psnr": {"fail": 5.0}}}},
        {"enrich": {"engine": "photometric", "variants": [{"name": "other", "preset": "haze"}]}},
        {"render": {"width": 192, "height": 176, "fps": 8, "frames": 3, "backend": "cpu"}},
    ],
)
def test_the_configuration_makes_no_environment_checked_again(finished_run, change):
    work, config, _ = finished_run
    planned = planned_jobs(snakemake(work, write_config(work, {**config, **change}), "-n"))
    assert planned and "environment" not in planned


def test_the_recorder_records(recorder):
    python, notes = recorder
    environment = {**os.environ, "PATH": f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in ("pip install a", "uv sync", "conda install b", "python -m pip list"):
        subprocess.run(command, shell=True, env=environment, check=True)
    assert notes.read_text().splitlines() == ["pip install a", "uv sync", "conda install b", "import pip"]
