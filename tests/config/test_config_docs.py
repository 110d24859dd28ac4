"""What is generated from the models is in step with them, and good enough for a person and for an editor."""

import json

import pytest
import yaml
from jsonschema import Draft202012Validator

import config_docs
from blueprint.cloud.settings import CloudKeys
from blueprint.config.models import configuration
from blueprint.config.schema import resolved, schema_of
from workflow_runs import REPOSITORY

GENERATED = config_docs.generated((REPOSITORY / config_docs.PAGE).read_text())
EXAMPLES = sorted(path for path in (REPOSITORY / "config").rglob("*.yaml"))


@pytest.mark.parametrize("name", GENERATED)
def test_committed_file_is_in_step_with_the_models(name):
    assert (REPOSITORY / name).read_text() == GENERATED[name], "run `make config-docs`"


@pytest.mark.parametrize("model", [configuration(), CloudKeys], ids=["configuration", "cloud"])
def test_every_key_is_described_in_a_sentence(model):
    schema = schema_of(model)
    for part in [schema, *schema["$defs"].values()]:
        for name, child in part["properties"].items():
            assert resolved(child, schema).get("description", "").endswith("."), f"{part.get('title')}: {name}"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_editor_accepts_the_examples(path):
    validator = Draft202012Validator(json.loads(GENERATED["workflow/schemas/config.schema.json"]))
    assert not [error.message for error in validator.iter_errors(yaml.safe_load(path.read_text()))]


def test_an_editor_accepts_the_cloud_settings_and_refuses_a_wrong_key():
    validator = Draft202012Validator(json.loads(GENERATED["workflow/schemas/cloud.schema.json"]))
    settings = yaml.safe_load((REPOSITORY / "profiles/vast/cloud.yaml").read_text())
    assert validator.is_valid(settings) and not validator.is_valid({**settings, "budget": 3})


def test_a_key_of_some_paths_only_says_so():
    rows = [row for row in GENERATED[config_docs.PAGE].splitlines() if row.startswith("| `clips[].")]
    (length,) = [row for row in rows if "length_m" in row]
    (name,) = [row for row in rows if "clips[].name" in row]
    assert length.endswith("(`sweep`) |") and not name.endswith(") |")
