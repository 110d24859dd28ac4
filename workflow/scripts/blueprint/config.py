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

from blueprint.enrich import variants
from blueprint.errors import UserError
from blueprint.ply import check_layout

SCHEMA_PATH = Path(__file__).resolve().parents[2] / "schemas" / "config.schema.yaml"
DEMO_FOLDER = "resources/demo"
DEMO_SCENES = ("kitchen", "warehouse")


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
    completed = validated(config, SCHEMA_PATH, source, "config/README.md")
    _refuse_repeated_names(completed, source)
    return completed


def validated(values: dict[str, Any], schema_path: Path, source: str, manual: str) -> dict[str, Any]:
    """Check values against a YAML schema and return a copy completed with its defaults.

    Args:
        values: as read from YAML; not changed.
        schema_path: the JSON schema.
        source: the file that messages name.
        manual: the document that messages refer to.

    Raises:
        UserError: every violation, one per line.
    """
    schema = yaml.safe_load(schema_path.read_text(encoding="utf-8"))
    errors = sorted(Draft202012Validator(schema).iter_errors(values), key=lambda error: list(map(str, error.path)))
    if errors:
        raise UserError("\n".join(_explain(error, source, manual) for error in errors))
    return _with_defaults(copy.deepcopy(values), schema, schema)


def _explain(error: ValidationError, source: str, manual: str) -> str:
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
    return f"{source}: {key}: found {found}: {error.message}.{remedy} See {manual}."


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
        "facilities": [facility["name"] for facility in config["facilities"]],
        "enrich.variants": [variant["name"] for variant in variants.expand(config["enrich"]["variants"])],
        "clips": _clip_names(config["clips"]),
    }
    for facility in config["facilities"]:
        if "clips" in facility:
            lists[f"facilities[{facility['name']}].clips"] = _clip_names(facility["clips"])
    for key, names in lists.items():
        for name, count in Counter(name.casefold() for name in names).items():
            if count > 1:
                raise UserError(
                    f"{source}: {key}: the name {name!r} is used {count} times (upper and lower case count as one); "
                    "names become folders and must be unique. Rename all but one."
                )


def _clip_names(entries: list[dict[str, Any]]) -> list[str]:
    return [
        entry["name"] if entry["count"] == 1 else f"{entry['name']}-{index}"
        for entry in entries
        for index in range(entry["count"])
    ]


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
    common = {key: render[key] for key in ("width", "height", "fps", "frames")}
    specs = [
        {**common, **{key: value for key, value in entry.items() if key not in ("name", "count")}, "index": index}
        for entry in entries
        for index in range(entry["count"])
    ]
    return dict(zip(_clip_names(entries), specs, strict=True))


def all_clips(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The clips of every facility, fully specified."""
    return [clip for facility in config["facilities"] for clip in clips_of(config, facility["name"]).values()]


def variants_of(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The variants by name, in the order of the configuration, preset sets expanded."""
    return {variant["name"]: variant for variant in variants.expand(config["enrich"]["variants"])}


def is_demo_scene(scene: str) -> bool:
    """Whether a scene path is one that the demo rule makes."""
    return Path(scene).parent.as_posix() == DEMO_FOLDER and Path(scene).stem in DEMO_SCENES


def refuse_unusable_files(config: dict[str, Any], source: str) -> None:
    """Check that the files which the configuration names are there and look like scenes, before any job is planned.

    Raises:
        UserError: the first scene or camera path that is absent or of another kind, with its key.
    """
    for index, facility in enumerate(config["facilities"]):
        scene = facility["scene"]
        if not is_demo_scene(scene) and not Path(scene).is_file():
            made = ", ".join(f"{DEMO_FOLDER}/{name}.ply" for name in DEMO_SCENES)
            raise UserError(
                f"{source}: facilities[{index}].scene: found {scene!r}: there is no such file in {Path.cwd()}. "
                f"Correct the path, or name a demo scene ({made})."
            )
        if Path(scene).suffix == ".ply" and Path(scene).is_file():
            try:
                check_layout(Path(scene))
            except UserError as error:
                raise UserError(f"{source}: facilities[{index}].scene: {error}") from error
        for key, clips in (("clips", config["clips"]), (f"facilities[{index}].clips", facility.get("clips", []))):
            for number, clip in enumerate(clips):
                if "file" in clip and not Path(clip["file"]).is_file():
                    raise UserError(
                        f"{source}: {key}[{number}].file: found {clip['file']!r}: there is no such file in "
                        f"{Path.cwd()}. Name a nerfstudio camera_path JSON."
                    )
