"""The report: one self-contained page made from the results of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from blueprint import files

TEMPLATES = Path(__file__).parent / "templates"


def build(results: Path, spec: dict[str, Any]) -> str:
    """The page as HTML.

    Args:
        results: the folder ``results``.
        spec: ``title``, ``facilities`` (clip names by facility), ``variants``.

    Raises:
        UserError: a result cannot be read.
    """
    summaries = [files.read_json(results / facility / "summary.json") for facility in spec["facilities"]]
    return environment().get_template("report.html").render(title=spec["title"], summaries=summaries)


def environment() -> Environment:
    """The templates, with everything they show escaped."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
