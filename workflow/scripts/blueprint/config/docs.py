"""The tables of keys in the documentation, from a model's JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from blueprint.config.schema import options_of, resolved, schema_of
from blueprint.section import Section

Alternatives = Mapping[str, dict[str, Any]]
"""What a key is, by the engine or camera path that takes it; ``""`` where it does not depend on one."""

TOLD_ELSEWHERE = ("facilities[].clips", "enrich.variants[].controls")
"""Keys whose own keys are those of another: `clips`, `enrich.controls`."""
HEAD = ("| key | type | default | meaning |", "| --- | --- | --- | --- |")
BOUNDS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))


def keys_tables(model: type[Section]) -> str:
    """Markdown: one table per top-level key of a configuration, one row per key below it."""
    schema = schema_of(model)
    return "\n".join(
        "\n".join([f"### `{name}`", "", *HEAD, *_rows(name, {"": part}, {""}, required, schema), ""])
        for name, part, required in _properties(schema, schema)
    )


def keys_table(model: type[Section]) -> str:
    """Markdown: one table of all keys of a small file."""
    schema, rows = schema_of(model), list(HEAD)
    for name, part, required in _properties(schema, schema):
        rows += _rows(name, {"": part}, {""}, required, schema)
    return "\n".join([*rows, ""])


def _properties(part: dict[str, Any], schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], bool]]:
    for name, child in part.get("properties", {}).items():
        yield name, resolved(child, schema), name in part.get("required", ())


def _rows(
    name: str, found: Alternatives, all_owners: set[str], required: bool, schema: dict[str, Any]
) -> Iterator[str]:
    """The row of a key, or one for each way in which engines or camera paths take it, and those of the keys below."""
    cells: dict[str, list[str]] = {}
    for owner, part in found.items():
        cells.setdefault(_cells(name, _type(part, schema), required, part), []).append(owner)
    for cell, owners in cells.items():
        yield f"{cell} |" if set(owners) == all_owners else f"{cell} (`{'`, `'.join(owners)}`) |"
    if name not in TOLD_ELSEWHERE:
        yield from _rows_below(f"{name}[]" if "items" in next(iter(found.values())) else name, found, schema)


def _cells(name: str, kind: str, required: bool, part: dict[str, Any]) -> str:
    default = "**required**" if required else _default(part)
    return f"| `{name}` | {kind} | {default} | {' '.join(part.get('description', '').split())}"


def _rows_below(prefix: str, found: Alternatives, schema: dict[str, Any]) -> Iterator[str]:
    options: dict[str, dict[str, Any]] = {}
    chooser = ""
    for owner, part in found.items():
        chooser, inner = options_of(resolved(part.get("items", part), schema), schema)
        options |= inner if chooser else {owner: inner[""]}
    below: dict[str, dict[str, tuple[dict[str, Any], bool]]] = {}
    for owner, option in options.items():
        for name, child, required in _properties(option, schema):
            below.setdefault(name, {})[owner] = (child, required)
    for name, takers in below.items():
        required = all(needed for _, needed in takers.values())
        children = {owner: child for owner, (child, _) in takers.items()}
        if name == chooser:
            one = next((child for child in children.values() if "default" in child), children[next(iter(children))])
            yield _cells(f"{prefix}.{name}", " \\| ".join(f"`{option}`" for option in options), required, one) + " |"
        else:
            yield from _rows(f"{prefix}.{name}", children, set(options), required, schema)


def _default(part: dict[str, Any]) -> str:
    return f"`{json.dumps(part['default'])}`" if part.get("default", {}) != {} else ""


def _type(part: dict[str, Any], schema: dict[str, Any]) -> str:
    part = resolved(part, schema)
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return " \\| ".join(f"`{json.dumps(value).strip(chr(34))}`" for value in part["enum"])
    if part.get("type") == "array":
        items = resolved(part.get("items", {}), schema)
        return "list" if items.get("type", "object") == "object" else f"list of {_type(items, schema)}"
    kinds = part.get("type", "object")
    kind = " or ".join(kinds) if isinstance(kinds, list) else kinds
    return f"{kind} {', '.join(f'{sign} {part[name]:g}' for name, sign in BOUNDS if name in part)}".strip()
