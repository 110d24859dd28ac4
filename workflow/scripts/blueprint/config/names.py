"""Names in the configuration: they become folders and wildcards, and none stands twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from blueprint.engines import variants
from blueprint.section import key


def _can_be_a_wildcard(name: str) -> str:
    if re.search(r"(.+)\1{19}$", name):
        raise ValueError("ends in twenty repetitions, which Snakemake takes for an endless loop. Choose another name")
    return name


Name = Annotated[str, AfterValidator(_can_be_a_wildcard)]


def name_key() -> Any:
    return key(
        "A name that becomes a folder (letters, digits, dot, dash, underscore; it starts with a letter or digit).",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=64,
    )


def each_once(names: list[str]) -> list[str]:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{', '.join(twice)} stands more than once. Remove all but one")
    return names


def clip_names(clips: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of clips, ``count`` expanded into ``<name>-0``, ``<name>-1``, ..."""
    return [
        clip["name"] if clip.get("count", 1) == 1 else f"{clip['name']}-{index}"
        for clip in clips
        for index in range(clip.get("count", 1))
    ]


def refuse_repeated_names(config: Any) -> Any:
    values = config.model_dump(include={"facilities", "clips", "enrich"}, exclude_none=True)
    lists = {
        "facilities": [facility["name"] for facility in values["facilities"]],
        "enrich.variants": [variant["name"] for variant in variants.expand(values["enrich"]["variants"])],
        "clips": clip_names(values["clips"]),
    }
    for facility in values["facilities"]:
        lists[f"facilities[{facility['name']}].clips"] = clip_names(facility.get("clips", []))
    problems = [
        f"{key}: the name {name!r} is used {count} times (upper and lower case count as one); names become folders and "
        "must be unique. Rename all but one"
        for key, names in lists.items()
        for name, count in Counter(name.casefold() for name in names).items()
        if count > 1
    ]
    if problems:
        raise ValueError("\n".join(problems))
    return config
