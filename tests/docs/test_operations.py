"""docs/operations.md: every failure has its four parts, and every test that it names exists and is run."""

import re
import subprocess
import sys

import pytest

from workflow_runs import REPOSITORY

PAGE = REPOSITORY / "docs" / "operations.md"
PARTS = ("Symptom", "Cause", "Now", "Proof")
LINK = re.compile(r"\[`(tests/[\w/]+\.py)::(\w+)`\]\(\.\./(tests/[\w/]+\.py)\)")


def entries():
    """Text of each entry of the page by its heading."""
    parts = re.split(r"^### (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {heading: text.split("\n## ")[0] for heading, text in zip(parts[1::2], parts[2::2], strict=True)}


def test_every_test_named_here_exists_and_is_run_by_make_test():
    named = {f"{file}::{name}" for text in entries().values() for file, name, _ in LINK.findall(text)}
    files = sorted({name.split("::")[0] for name in named})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "not slow and not gpu", *files]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert not named - {line.split("[")[0] for line in finished.stdout.splitlines() if "::" in line}


def test_the_eight_original_failures_are_here():
    assert [heading[0] for heading in entries() if re.match(r"\d\. ", heading)] == list("12345678")


@pytest.mark.parametrize("heading", entries())
def test_each_entry_says_symptom_cause_remedy_and_proof(heading):
    text = entries()[heading]
    assert re.findall(r"^- \*\*(\w+):\*\*", text, re.MULTILINE) == list(PARTS)
    assert LINK.search(text.split("**Proof:**")[1])


def test_links_lead_to_files():
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE.read_text(encoding="utf-8")):
        assert (PAGE.parent / target).is_file(), target
    for file, _, target in LINK.findall(PAGE.read_text(encoding="utf-8")):
        assert file == target
