"""Hold result files against the committed schemas."""

from __future__ import annotations

import json
from typing import Any

from jsonschema import Draft202012Validator

from workflow_runs import REPOSITORY


def file_errors(kind: str, value: Any) -> list[str]:
    """What ``workflow/schemas/<kind>.schema.json`` finds wrong with the content of a result file."""
    schema = json.loads((REPOSITORY / "workflow" / "schemas" / f"{kind}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(value)]
