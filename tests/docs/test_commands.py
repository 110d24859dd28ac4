"""What the pages tell a reader to type: every command is one that exists and takes these options; all YAML is valid."""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
import sys
from contextlib import redirect_stderr
from io import StringIO

import click
import pytest
import typer
import yaml
from snakemake.cli import parse_args

import blueprint_cli
from blueprint import config as configuration
from pages import FENCED, PAGES, commands
from workflow_runs import REPOSITORY

SYSTEM = ("git", "cp", "cat", "export")


class Parsed(Exception):
    """A program's own parser has taken its command line."""


def parse_program(words, monkeypatch):
    """Run a program of this checkout until its command line is parsed."""

    def parse(self, arguments=None, namespace=None):
        real(self, arguments, namespace)
        raise Parsed

    real = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(Parsed):
        runpy.run_path(str(REPOSITORY / words[0]), run_name="__main__")


@pytest.mark.parametrize(("command", "borrowed"), list(commands()))
def test_a_shown_command_exists_and_takes_these_options(command, borrowed, monkeypatch):
    words = shlex.split(command, comments=True)
    words = words[: words.index("|")] if "|" in words else words
    program, rest = words[0].removeprefix(".venv/bin/"), words[1:]
    if program in SYSTEM:
        return
    if program == "make":
        targets = [word for word in rest if "=" not in word]
        makefile = (REPOSITORY / "Makefile").read_text()
        assert all(
            re.search(rf"^({re.escape(target)}|\\$\\(VENV\\)/\\.ready):", makefile, re.MULTILINE) for target in targets
        )
        return
    assert borrowed or words[0].startswith(".venv/bin/"), "a reader has not activated anything"
    if program == "snakemake":
        parse_args(rest)
    elif program == "blueprint":
        group = typer.main.get_command(blueprint_cli.app)
        name, sub, arguments = group.resolve_command(click.Context(group), rest)
        if sub is not None and "--help" not in arguments:
            sub.make_context(name, list(arguments))
    elif program == "python" and rest[0] == "-m":
        assert rest[1] in ("pip", "pytest")
    elif program == "python":
        with redirect_stderr(StringIO()):
            parse_program(rest, monkeypatch)


def yaml_blocks():
    for page in PAGES:
        for number, (kind, text) in enumerate(FENCED.findall(page.read_text())):
            if kind == "yaml":
                yield pytest.param(text, id=f"{page.name}-{number}")


FACILITY = {"name": "hall", "scene": "scan.ply"}
KEYS = set(configuration.models.configuration().model_fields)


@pytest.mark.parametrize("text", list(yaml_blocks()))
def test_a_shown_configuration_is_valid(text):
    """As it stands, or with a facility where the block is about something else."""
    config = yaml.safe_load(text)
    assert set(config) <= KEYS
    configuration.complete({"facilities": [FACILITY], **config}, "page.yaml")
