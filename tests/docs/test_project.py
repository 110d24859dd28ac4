"""What surrounds the code: one version, an automation that runs what we run, a recipe that copies what is there."""

import re

import pytest
import yaml

from workflow_runs import REPOSITORY

VERSION = (REPOSITORY / "workflow" / "VERSION").read_text().strip()


def test_the_version_is_one():
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    assert yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())["version"] == VERSION
    assert re.findall(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)[0] == VERSION


@pytest.mark.parametrize("path", sorted((REPOSITORY / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_github_can_read_it(path):
    assert isinstance(yaml.safe_load(path.read_text()), dict)


def test_continuous_integration_runs_what_we_run():
    jobs = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert {"run": ".ci/run"} in jobs["ci"]["steps"]
    assert (REPOSITORY / ".ci" / "run").stat().st_mode & 0o111


def test_the_container_copies_what_is_there_and_no_secret():
    recipe = (REPOSITORY / "Containerfile").read_text()
    for line in re.findall(r"^COPY (.*)$", recipe, re.MULTILINE):
        assert all((REPOSITORY / name).exists() for name in line.split()[:-1])
    for name in (".containerignore", ".dockerignore"):
        assert "config/runtime.env" in (REPOSITORY / name).read_text().splitlines()


def test_links_in_the_pages_lead_to_files():
    for page in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / "config").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
