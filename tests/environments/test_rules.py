"""Rules name their environment, and nothing installs anything while the workflow runs."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys

import pytest

from installers import INSTALLERS, NOTES, make_recorder
from small_runs import small_config
from workflow_runs import (
    REPOSITORY,
    SCRIPTS,
    clean_environment,
    planned_jobs,
    snakemake,
    write_conda_stub,
    write_config,
)

RULE_FILES = sorted((REPOSITORY / "rules").glob("*.smk"))
COMMAND = re.compile(
    r"\b(pip3?|uv|conda|mamba|micromamba)\s+(install|sync|create|env|run|update|upgrade|add|remove|pip)\b"
)
# They install while an environment is made or when a person asks; `environments.py check`, which rules call, does not.
MAKERS = {"fill.py", "lock.py", "supplements.py", "upstream.py"}
ASKERS = {"installed.py"}  # asks uv to compare (`--check`), before every job


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
    conda = re.search(r"^    conda:\n        (?:lambda wildcards: f|f?)\"\.\./envs/(.+?)\.yaml\"$", rule, re.MULTILINE)
    assert conda, "it has no `conda:`"
    if "{" not in conda[1]:
        assert (REPOSITORY / "envs" / f"{conda[1]}.yaml").exists()


@pytest.fixture
def conda_stub(tmp_path):
    return write_conda_stub(tmp_path / "tools")


PROMPTED = [{"name": "evening", "prompt": "evening light"}]


@pytest.mark.parametrize(
    ("enrich", "targets", "expected"),
    [
        ({}, [], {"render", "metrics"}),
        ({"engine": "cosmos-transfer2.5", "variants": PROMPTED}, [], {"render", "metrics", "cosmos-transfer"}),
        ({"engine": "diffusers", "variants": PROMPTED}, [], {"render", "metrics", "cosmos-diffusers"}),
        ({"engine": "cosmos3-diffusers", "variants": PROMPTED}, [], {"render", "metrics", "cosmos-diffusers"}),
        ({"engine": "cosmos3", "variants": PROMPTED}, [], {"render", "metrics", "cosmos3"}),
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
    """The words in lists and among the arguments of calls, but for those that only look for a program, and for keys."""
    if isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Call | ast.List):
        called = getattr(node, "func", None)
        if getattr(called, "attr", getattr(called, "id", "")) in ("which", "find_program", "_program"):
            return
        in_command = True
    if in_command and isinstance(node, ast.Constant):
        yield node.lineno, node.value
    for child in ast.iter_child_nodes(node):
        yield from words_in_commands(child, in_command)


def test_no_script_calls_an_installer():
    for path in sorted(SCRIPTS.rglob("*.py")):
        if path.parent.name == "environments" and path.name in MAKERS | ASKERS:
            continue
        tree = ast.parse(path.read_text())
        assert [f"{path}:{line}" for line, word in words_in_commands(tree) if word in INSTALLERS] == []
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                imported = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert not {name.split(".")[0] for name in imported} & set(INSTALLERS), f"{path}:{node.lineno}"


def test_what_runs_before_a_job_only_asks():
    tree = ast.parse((SCRIPTS / "blueprint" / "environments" / "installed.py").read_text())
    lists = [node for node in ast.walk(tree) if isinstance(node, ast.List)]
    words = [{part.value for part in node.elts if isinstance(part, ast.Constant)} for node in lists]
    calls = [found for found in words if found & set(INSTALLERS)]
    assert calls and all("--check" in found for found in calls)


@pytest.mark.parametrize(
    "code", ['run([python, "-m", "pip", "install"])', 'command = ["uv", "sync"]', 'run(("conda", "run"))', 'run("pip")']
)
def test_calls_of_installers_are_seen(code):
    assert {word for _, word in words_in_commands(ast.parse(code))} & set(INSTALLERS)


def test_only_people_reach_the_makers():
    """The modules that install are imported by the programs of people and of environments in the making."""
    names = "|".join(name.removesuffix(".py") for name in MAKERS)
    importing = [
        path.relative_to(SCRIPTS).as_posix()
        for path in sorted(SCRIPTS.rglob("*.py"))
        if re.search(rf"environments(\.| import .*\b)({names})\b", path.read_text())
    ]
    assert importing == ["blueprint/environments/upstream.py", "environments.py", "fill_environment.py"]


def test_transformer_engine_is_imported_by_nothing_here():
    for path in sorted(SCRIPTS.rglob("*.py")):
        assert not re.search(r"^\s*(import|from) transformer_engine", path.read_text(), re.MULTILINE), path


def test_a_run_calls_no_installer(recorded_run):
    assert (recorded_run / "run" / "results" / "report.html").exists()
    notes = recorded_run / "recorder" / NOTES
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
def test_the_configuration_makes_no_environment_checked_again(finished_run, tmp_path, change):
    config = write_config(tmp_path, small_config(**change))
    planned = planned_jobs(snakemake(finished_run, config, "-n"))
    assert planned and "environment" not in planned


def test_the_recorder_records(tmp_path):
    python = make_recorder(tmp_path)
    environment = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    for command in ("pip install a", "uv sync", "conda install b", "python -m pip list"):
        subprocess.run(command, shell=True, env=environment, check=True)
    assert (tmp_path / NOTES).read_text().splitlines() == ["pip install a", "uv sync", "conda install b", "import pip"]
