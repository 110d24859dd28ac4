"""config/README.md says what the schema says."""

import pytest

import config_docs
from blueprint.config import load_schema
from workflow_runs import REPOSITORY


def test_page_is_in_step_with_the_schema():
    page = (REPOSITORY / "config" / "README.md").read_text()
    assert config_docs.with_keys(page) == page, "run `make config-docs`"


def every_key(schema, path=""):
    for name, child in schema.get("properties", {}).items():
        yield f"{path}{name}", child
        yield from every_key(child, f"{path}{name}.")


@pytest.mark.parametrize("part", ["top", *load_schema()["$defs"]])
def test_every_key_is_described(part):
    schema = load_schema() if part == "top" else load_schema()["$defs"][part]
    for key, child in every_key(schema):
        assert "$ref" in child or child.get("description", "").endswith("."), f"{part}: {key} has no description"
