"""Variants as configured -> variants complete: preset sets expanded, prompts read and filled in, seeds set.

Snakemake calls this while it builds the graph, so what is wrong with a prompt is said before any job runs, and what a
job depends on holds the prompt's own text: editing a prompt file, or the description that a prompt names, makes that
variant again and no other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blueprint.enrich.presets import PRESET_SETS, PRESETS
from blueprint.errors import UserError

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
# What decides the pixels, per engine, of the keys in `enrich`.
ENGINE_SETTINGS: dict[str, tuple[str, ...]] = {
    "photometric": (),
    "cosmos-transfer2.5": ("disable_guardrails",),
    "diffusers": ("disable_guardrails",),
}


def expand(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The configured variants; an entry with ``preset_set`` becomes one variant per preset, ``<name>-<preset>``."""
    variants = []
    for entry in entries:
        common = {key: value for key, value in entry.items() if key != "preset_set"}
        if "preset_set" not in entry:
            variants.append(common)
            continue
        for preset in PRESET_SETS[entry["preset_set"]]:
            variants.append({**common, "name": f"{entry['name']}-{preset}", "preset": preset})
    return variants


def clip_spec(enrich: dict[str, Any], facility: dict[str, Any]) -> dict[str, Any]:
    """All that the variants of a facility's clips depend on, besides the rendered clips.

    Args:
        enrich: the completed `enrich` part of the configuration.
        facility: the completed configuration of the facility.

    Raises:
        UserError: a variant that the engine cannot make, naming it and what to change.
    """
    engine = enrich["engine"]
    resolve = _look if engine == "photometric" else _prompted
    variants = []
    for entry in expand(enrich["variants"]):
        variants.append({"name": entry["name"], "seed": entry.get("seed", enrich["seed"]), **resolve(entry, facility)})
    return {
        "engine": engine,
        "settings": {key: enrich[key] for key in ENGINE_SETTINGS[engine]},
        "variants": variants,
    }


def _look(entry: dict[str, Any], facility: dict[str, Any]) -> dict[str, Any]:
    if "preset" not in entry:
        raise UserError(
            f"enrich.variants: {entry['name']!r} names no preset, and the photometric engine cannot follow a prompt. "
            f"Give it `preset:` ({', '.join(PRESETS)}), or choose another `enrich.engine`."
        )
    return {"preset": entry["preset"]}


def _prompted(entry: dict[str, Any], facility: dict[str, Any]) -> dict[str, Any]:
    key = f"enrich.variants: {entry['name']!r}"
    if "prompt" in entry and "prompt_file" in entry:
        raise UserError(f"{key} has both `prompt` and `prompt_file`. Keep one.")
    if "prompt" in entry:
        prompt = entry["prompt"]
    elif "prompt_file" in entry:
        prompt = _read_prompt(Path(entry["prompt_file"]), key)
    elif "preset" in entry:
        prompt = PRESETS[entry["preset"]].prompt
    else:
        raise UserError(f"{key} has no prompt, and there is no default. Give it `prompt`, `prompt_file` or `preset`.")
    resolved = {"prompt": fill_in(prompt, facility, key)}
    if "negative_prompt" in entry:
        resolved["negative_prompt"] = fill_in(entry["negative_prompt"], facility, key)
    return resolved


def _read_prompt(path: Path, key: str) -> str:
    try:
        text = " ".join(path.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{key}: prompt_file {path} cannot be read ({error}).") from error
    if not text:
        raise UserError(f"{key}: prompt_file {path} is empty; there is no default prompt.")
    return text


def fill_in(prompt: str, facility: dict[str, Any], key: str) -> str:
    """A prompt with ``{facility.name}`` and ``{facility.description}`` replaced by the facility's facts.

    Raises:
        UserError: an unknown placeholder, or a fact that the configuration does not give.
    """
    facts = {f"facility.{fact}": facility[fact] for fact in ("name", "description")}

    def replace(match: re.Match[str]) -> str:
        fact = match[1]
        if fact not in facts:
            raise UserError(f"{key}: unknown placeholder {match[0]} in the prompt. Known: {', '.join(facts)}.")
        if not facts[fact]:
            raise UserError(f"{key}: the prompt uses {match[0]}, but facility {facility['name']!r} has none. Add it.")
        return facts[fact]

    return PLACEHOLDER.sub(replace, prompt)
