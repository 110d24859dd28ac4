"""Every module that a stage's program imports, at once or later, is in the environment that its rule names."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from blueprint.engines import ENGINES, ENVIRONMENTS
from blueprint.environments.installed import normalised, read_pins
from blueprint.export.layouts import LAYOUTS
from blueprint.train.trainers import TRAINERS
from workflow_runs import REPOSITORY, SCRIPTS

OPTIONAL = {"cosmos_guardrail"}
"""Guardrails of the engine diffusers: off by default, and they bring an OpenCV with windows over the one without."""
OF_ONE_LAYOUT = {"lerobot": "lerobot", "webdataset": "metrics", "httpx2": "metrics"}
"""Imported only by the writer of one layout, or to push a dataset: in which environment."""


def programs():
    """(environment, source) of every program that a rule or the Snakefile runs there."""
    found = {("orchestration", SCRIPTS / name) for name in ("host_checks.py", "cloud.py", "vast.py")}
    for path in (REPOSITORY / "rules").glob("*.smk"):
        for rule in re.split(r"^(?=rule \w+:)", path.read_text(), flags=re.MULTILINE):
            environment = re.search(r"conda:\n\s+f?\"\.\./envs/(.+?)\.yaml\"", rule)
            for script in re.findall(r"SCRIPTS\}?/(\w+\.py)", rule):
                if environment and "{" not in environment[1]:
                    found.add((environment[1], SCRIPTS / script))
                elif script == "enrich.py":
                    for engine in ENGINES.values():
                        run = SCRIPTS.joinpath(*engine.module.split(".")).with_suffix(".py")
                        found |= {(engine.environment, SCRIPTS / script), (engine.environment, run)}
                elif script == "export.py":
                    found |= {(layout.environment, SCRIPTS / script) for layout in LAYOUTS.values()}
                elif script == "train.py":
                    for trainer in TRAINERS.values():
                        run = SCRIPTS.joinpath(*trainer.module.split(".")).with_suffix(".py")
                        found |= {(trainer.environment, SCRIPTS / script), (trainer.environment, run)}
    return sorted(found)


def imported(path, seen):
    """Top-level names of the packages that a source imports, directly or through our own modules."""
    if path in seen:
        return set()
    seen.add(path)
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for module in modules:
            parts = module.split(".")
            if parts[0] == "blueprint":
                for length in range(1, len(parts) + 1):
                    if source := source_of(parts[:length]):
                        names |= imported(source, seen)
            else:
                names.add(parts[0])
    return names - sys.stdlib_module_names


def source_of(parts: list[str]) -> Path | None:
    folder = SCRIPTS.joinpath(*parts)
    candidates = (folder / "__init__.py", folder.with_suffix(".py"))
    return next((path for path in candidates if path.exists()), None)


def provided(environment):
    """The distributions in an environment's closure, conda's part included."""
    conda = yaml.safe_load((REPOSITORY / "envs" / f"{environment}.yaml").read_text())["dependencies"]
    locked = (REPOSITORY / "envs" / f"{environment}.lock.txt").read_text()
    return {line.partition("::")[2].split("=")[0] for line in conda} | set(read_pins(locked))


DISTRIBUTIONS = packages_distributions()


def lacking(names, environment):
    there = provided(environment)
    return {name for name in names if not {normalised(found) for found in DISTRIBUTIONS.get(name, [name])} & there}


@pytest.mark.parametrize(
    ("environment", "source"),
    [pytest.param(name, path, id=f"{name}-{path.stem}") for name, path in programs() if path.exists()],
)
def test_a_program_finds_its_modules(environment, source):
    elsewhere = {name for name, there in OF_ONE_LAYOUT.items() if there != environment}
    assert lacking(imported(source, set()), environment) - OPTIONAL - elsewhere == set()


def test_every_environment_of_a_rule_is_looked_at():
    assert {environment for environment, _ in programs()} == set(ENVIRONMENTS)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_is_verified_is_installed(environment):
    assert lacking({module.split(".")[0] for module in ENVIRONMENTS[environment].modules}, environment) == set()


def test_a_module_that_is_not_there_is_noticed():
    assert lacking({"numpy", "natsort", "snakemake"}, "metrics") == {"natsort", "snakemake"}
