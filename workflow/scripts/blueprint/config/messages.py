"""Values checked against a model; what is wrong with them is said as a person would: file, line, key, value, remedy."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from blueprint.config.schema import options_of, resolved, schema_of
from blueprint.errors import UserError
from blueprint.section import Section
from blueprint.yaml_file import Document, Location

Model = TypeVar("Model", bound=Section)

WRONG = {
    "int_type": "not an integer",
    "int_from_float": "not an integer",
    "float_type": "not a number",
    "finite_number": "not a finite number",
    "bool_type": "not true or false",
    "string_type": "not a text",
    "list_type": "not a list",
    "model_type": "not keys with values",
    "dict_type": "not keys with values",
    "greater_than_equal": "less than the minimum of {ge:g}",
    "greater_than": "not more than {gt:g}",
    "less_than_equal": "more than the maximum of {le:g}",
    "less_than": "not less than {lt:g}",
    "multiple_of": "not a multiple of {multiple_of:g}",
    "literal_error": "not one of {expected}",
    "too_short": "fewer than {min_length}",
    "too_long": "more than {max_length}",
    "string_too_short": "shorter than {min_length} character(s)",
    "string_too_long": "longer than {max_length} characters",
    "string_pattern_mismatch": "does not match {pattern}",
}
"""What is wrong with a value, by pydantic's name of the error; pydantic's own words for any other."""


def checked(
    model: type[Model], values: Mapping[str, Any], source: str, manual: str, document: Document | None
) -> Model:
    """Values as a model, with its defaults.

    Args:
        model: the top section.
        values: as read from YAML; not changed.
        source: the file or files, for messages.
        manual: the page that messages refer to.
        document: what stands in which line, if it is known.

    Raises:
        UserError: every violation, one per line.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    schema, lines = schema_of(model), []
    for problem in problems:
        where, part, _ = _located(problem["loc"], schema)
        found = problem["input"]
        place = document.place(where, found) if document and where else source
        for told in _told(problem, where, part, schema).split("\n"):
            lines.append(f"{place}: {told} See {manual}.")
    raise UserError("\n".join(dict.fromkeys(lines)))


def _located(location: Location, schema: dict[str, Any]) -> tuple[Location, dict[str, Any], dict[str, Location]]:
    """Where in the file an error lies, what the schema says of that place, and the places it is chosen from.

    pydantic's location holds the name of a chosen engine or camera path as if it were a key. The last result says, by
    each name that could have been chosen there, what pydantic would call the same place; the name chosen comes first.
    """
    where: list[str | int] = []
    part, choices = schema, {}
    for index, step in enumerate(location):
        if "oneOf" in part:
            options = options_of(part, schema)[1]
            part = options[str(step)]
            names = [str(step), *(name for name in options if name != step)]
            choices = {name: (*location[:index], name, *location[index + 1 :]) for name in names}
            continue
        where.append(step)
        inner = part.get("items") if isinstance(step, int) else part.get("properties", {}).get(step)
        part = resolved(inner or {}, schema)
    return tuple(where), part, choices


def _told(problem: Mapping[str, Any], where: Location, part: dict[str, Any], schema: dict[str, Any]) -> str:
    kind, found, context = problem["type"], problem["input"], problem.get("ctx", {})
    name = spelled(where)
    if kind == "missing":
        return f"{spelled(where[:-1])}: the key {where[-1]!r} is missing.{_expected(part)}"
    if kind in ("extra_forbidden", "invalid_key"):
        return _unknown(problem["loc"], schema)
    if kind in ("union_tag_invalid", "union_tag_not_found") and isinstance(found, Mapping):
        return _unknown_choice(where, found, part, schema)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return f"{name}: found {_shown(found)}: not keys with values.{_expected(part)}"
    if kind == "value_error":
        said = f"{context['error']}."
        return (
            said if not where else f"{name}: {'' if isinstance(found, Mapping) else f'found {_shown(found)}: '}{said}"
        )
    wrong = WRONG[kind].format(**context) if kind in WRONG else problem["msg"]
    return f"{name}: found {_shown(found)}: {wrong}.{_expected(part)}"


def _unknown(location: Location, schema: dict[str, Any]) -> str:
    where, part, choices = _located(location[:-1], schema)
    known, unknown = sorted(part.get("properties", {})), location[-1]
    owners = [name for name, place in choices.items() if unknown in _located(place, schema)[1].get("properties", {})]
    close = difflib.get_close_matches(str(unknown), known, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    if owners:
        takers = ", ".join(f"`{owner}`" for owner in owners)
        hint = f", which `{next(iter(choices))}` does not take (it goes with {takers})"
    return f"{spelled(where)}: unknown key {unknown!r}{hint}. Known keys: {', '.join(known)}."


def _unknown_choice(where: Location, found: Mapping[str, Any], part: dict[str, Any], schema: dict[str, Any]) -> str:
    chooser, options = options_of(part, schema)
    meaning, names = next(iter(options.values()))["properties"][chooser], ", ".join(options)
    if chooser not in found:
        return f"{spelled(where)}: the key {chooser!r} is missing. One of {names}.{_expected(meaning)}"
    return f"{spelled((*where, chooser))}: found {_shown(found[chooser])}: not one of {names}.{_expected(meaning)}"


def _expected(part: dict[str, Any]) -> str:
    return f" Expected: {part['description']}" if part.get("description") else ""


def _shown(found: Any) -> str:
    text = repr(found)
    return text if len(text) <= 120 else text[:117] + "..."


def spelled(location: Location) -> str:
    """A place in a configuration as messages call it: ``clips[0].height_m``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return text.removeprefix(".") or "(top level)"
