"""The JSON schema of a model, for editors, for messages and for the tables of keys in the documentation."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from blueprint.section import Section


class _Generator(GenerateJsonSchema):
    """Says what a person may write: an optional key is left out, `null` is not its value."""

    def nullable_schema(self, schema: Any) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> dict[str, Any]:
        inner = schema["schema"]
        return self.generate_inner(inner) if schema.get("default", ...) is None else super().default_schema(schema)

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


@cache
def schema_of(model: type[Section]) -> dict[str, Any]:
    """The JSON schema of the values that a model takes."""
    return model.model_json_schema(schema_generator=_Generator)


def resolved(part: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A part of a schema with what it refers to put in its place; what it says itself comes first."""
    if "$ref" not in part:
        return part
    own = {name: value for name, value in part.items() if name != "$ref"}
    return {**schema["$defs"][part["$ref"].removeprefix("#/$defs/")], **own}


def options_of(part: dict[str, Any], schema: dict[str, Any]) -> tuple[str, dict[str, dict[str, Any]]]:
    """The key that chooses between several sections, and each section's schema by what that key says.

    A part that is one section is the only choice, of the name ``""``.
    """
    if "oneOf" not in part:
        return "", {"": part}
    options = [resolved(option, schema) for option in part["oneOf"]]
    chooser = next(
        name
        for name in options[0]["properties"]
        if all("const" in option["properties"].get(name, ()) for option in options)
    )
    return chooser, {option["properties"][chooser]["const"]: option for option in options}
