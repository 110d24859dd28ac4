"""The configuration: validated once, completed with defaults, expanded into facilities, clips and variants."""

from __future__ import annotations

import copy
import difflib
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from blueprint.errors import UserError

SCHEMA_PATH = Path(__file__).resolve().parents[2] / "schemas" / "config.schema.yaml"
DEMO_FOLDER = "resources/demo"


def load_schema() -> dict[str, Any]:
    """The JSON schema of the configuration: the single source of keys, units, defaults and descriptions."""
    return yaml.safe_load(SCHEMA_PATH.read_text(encoding="utf-8"))


def complete(config: dict[str, Any], source: str) -> dict[str, Any]:
    """Validate a user's configuration and fill in the defaults.

    Args:
        config: as read from YAML; not changed.
        source: the file that messages name.

    Raises:
        UserError: every violation, one per line, each with key, value found and what is accepted.
    """
    schema = load_schema()
    errors = sorted(Draft202012Validator(schema).iter_errors(config), key=lambda error: list(map(str, error.path)))
    if errors:
        raise UserError("\n".join(_explain(error, source) for error in errors))
    completed = _with_defaults(copy.deepcopy(config), schema, schema)
    _refuse_repeated_names(completed, source)
    return completed


def _explain(error: ValidationError, source: str) -> str:
    key = error.json_path.removeprefix("$.").removeprefix("$") or "(top level)"
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        unknown = [name for name in error.instance if name not in known]
        hints = []
        for name in unknown:
            close = difflib.get_close_matches(str(name), known, n=1)
            hints.append(f"{name!r}" + (f" (did you mean {close[0]!r}?)" if close else ""))
        return f"{source}: {key}: unknown key {', '.join(hints)}. Known keys: {', '.join(known)}."
    found = repr(error.instance)
    if len(found) > 120:
        found = found[:117] + "..."
    described = error.schema.get("description", "").strip() if isinstance(error.schema, dict) else ""
    remedy = f" Expected: {described}" if described else ""
    return f"{source}: {key}: found {found}: {error.message}.{remedy} See config/README.md."


def _with_defaults(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> Any:
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if isinstance(value, dict):
        for name, child in schema.get("properties", {}).items():
            if name not in value and "default" in child:
                value[name] = copy.deepcopy(child["default"])
            if name in value:
                value[name] = _with_defaults(value[name], child, root)
    elif isinstance(value, list) and "items" in schema:
        value = [_with_defaults(item, schema["items"], root) for item in value]
    return value


def _refuse_repeated_names(config: dict[str, Any], source: str) -> None:
    lists = {
        "facilities": config["facilities"],
        "clips": config["clips"],
        "enrich.variants": config["enrich"]["variants"],
    }
    for facility in config["facilities"]:
        if "clips" in facility:
            lists[f"facilities[{facility['name']}].clips"] = facility["clips"]
    for key, entries in lists.items():
        for name, count in Counter(entry["name"].casefold() for entry in entries).items():
            if count > 1:
                raise UserError(
                    f"{source}: {key}: the name {name!r} is used {count} times (upper and lower case count as one); "
                    "names become folders and must be unique. Rename all but one."
                )


def facility_of(config: dict[str, Any], name: str) -> dict[str, Any]:
    """The configuration of one facility.

    Raises:
        KeyError: there is none of that name.
    """
    return next(facility for facility in config["facilities"] if facility["name"] == name)


def clips_of(config: dict[str, Any], facility: str) -> dict[str, dict[str, Any]]:
    """The clips of a facility by name, fully specified; ``count`` is expanded into ``<name>-0``, ``<name>-1``, ..."""
    entries = facility_of(config, facility).get("clips", config["clips"])
    render = config["render"]
    clips = {}
    for entry in entries:
        clip = {"width": render["width"], "height": render["height"], "fps": render["fps"], **entry}
        clip.setdefault("frames", render["frames"])
        count = clip.pop("count")
        name = clip.pop("name")
        for index in range(count):
            clips[name if count == 1 else f"{name}-{index}"] = {**clip, "index": index}
    return clips


def variants_of(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The variants by name, in the order of the configuration."""
    return {entry["name"]: entry for entry in config["enrich"]["variants"]}


def is_demo_scene(scene: str) -> bool:
    """Whether a scene path is one that the demo rule makes."""
    return Path(scene).parent.as_posix() == DEMO_FOLDER
