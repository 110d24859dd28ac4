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

RESERVED = re.compile(r"_(control|mask)_(edge|vis|depth|seg)$")
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
# What decides the pixels, per engine, of the keys in `enrich`.
ENGINE_SETTINGS: dict[str, tuple[str, ...]] = {
    "photometric": (),
    "cosmos-transfer2.5": (
        *("model", "disable_guardrails", "guidance", "num_steps", "resolution", "sigma_max"),
        *("num_conditional_frames", "num_video_frames_per_chunk"),
    ),
    "diffusers": (
        *("disable_guardrails", "guidance", "num_steps", "resolution"),
        *("num_conditional_frames", "num_video_frames_per_chunk"),
        *("diffusers_revision", "diffusers_controlnet_revision"),
    ),
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


def clip_spec(enrich: dict[str, Any], facility: dict[str, Any], clip: str) -> dict[str, Any]:
    """All that the variants of a clip depend on, besides the rendered clip and the files of `control_files`.

    Args:
        enrich: the completed `enrich` part of the configuration.
        facility: the completed configuration of the facility.
        clip: the clip's name.

    Raises:
        UserError: a variant that the engine cannot make, naming it and what to change.
    """
    engine = enrich["engine"]
    settings = {**enrich, "num_steps": enrich.get("num_steps", 4 if enrich["model"] == "edge/distilled" else 35)}
    variants = []
    for entry in expand(enrich["variants"]):
        key = f"enrich.variants: {entry['name']!r}"
        variant = {"name": entry["name"], "seed": entry.get("seed", enrich["seed"])}
        if engine == "photometric":
            variant["preset"] = _preset(entry, key)
        else:
            variant |= _prompts(entry, facility, key)
            variant["controls"] = _controls(entry.get("controls", enrich["controls"]), facility["name"], clip)
            (_check_native if engine == "cosmos-transfer2.5" else _check_diffusers)(variant, enrich, key)
        variants.append(variant)
    return {
        "engine": engine,
        "settings": {name: settings.get(name) for name in ENGINE_SETTINGS[engine]},
        "variants": variants,
    }


def control_files(spec: dict[str, Any]) -> list[str]:
    """The user's own control and mask videos that a clip's specification names, without repetition."""
    controls = [control for variant in spec["variants"] for control in variant.get("controls", {}).values()]
    return sorted({control[key] for control in controls for key in ("control_path", "mask_path") if key in control})


def _preset(entry: dict[str, Any], key: str) -> str:
    if "preset" not in entry:
        raise UserError(
            f"{key} names no preset, and the photometric engine cannot follow a prompt. Give it `preset:` "
            f"({', '.join(PRESETS)}), or choose another `enrich.engine`."
        )
    return entry["preset"]


def _prompts(entry: dict[str, Any], facility: dict[str, Any], key: str) -> dict[str, str]:
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
    prompts = {"prompt": fill_in(prompt, facility, key)}
    if "negative_prompt" in entry:
        prompts["negative_prompt"] = fill_in(entry["negative_prompt"], facility, key)
    return prompts


def _controls(controls: dict[str, Any], facility: str, clip: str) -> dict[str, dict[str, Any]]:
    filled = {}
    for name, control in controls.items():
        filled[name] = {
            key: value.replace("{facility}", facility).replace("{clip}", clip) if key.endswith("_path") else value
            for key, value in control.items()
        }
        if "control_path" in control:
            filled[name].pop("from_render", None)
    return filled


def _check_native(variant: dict[str, Any], enrich: dict[str, Any], key: str) -> None:
    for name, control in variant["controls"].items():
        if "mask_path" in control and "mask_prompt" in control:
            raise UserError(f"{key}: controls.{name} has both `mask_path` and `mask_prompt`. Keep one.")
    if enrich["gpus"] == 0:
        raise UserError("enrich.gpus: found 0; the engine cosmos-transfer2.5 needs a GPU.")
    if RESERVED.search(variant["name"]):
        raise UserError(f"{key}: the repository writes its controls under such names. Rename the variant.")
    if enrich["model"] == "edge/distilled":
        if set(variant["controls"]) != {"edge"}:
            found = ", ".join(variant["controls"])
            raise UserError(f"{key}: the model edge/distilled takes the control `edge` alone, found {found}.")
        if "negative_prompt" in variant:
            raise UserError(f"{key}: the model edge/distilled has no negative prompt. Remove it.")


def _check_diffusers(variant: dict[str, Any], enrich: dict[str, Any], key: str) -> None:
    if len(variant["controls"]) != 1:
        found = ", ".join(variant["controls"])
        raise UserError(
            f"{key}: the diffusers engine takes one control, found {len(variant['controls'])} ({found}). Keep one, or "
            "use `enrich.engine: cosmos-transfer2.5`."
        )
    ((name, control),) = variant["controls"].items()
    for unknown in ("mask_path", "mask_prompt", "control_prompt"):
        if unknown in control:
            raise UserError(f"{key}: the diffusers engine has no `controls.{name}.{unknown}`. Remove it.")
    if name != "edge" and not control.get("from_render") and "control_path" not in control:
        raise UserError(
            f"{key}: the diffusers engine cannot make {name} from the render: give `controls.{name}.control_path`."
        )
    for setting, known in (("model", ("base",)), ("gpus", (0, 1)), ("sigma_max", (None,))):
        if enrich.get(setting) not in known:
            raise UserError(f"enrich.{setting}: found {enrich[setting]!r}, which the diffusers engine does not know.")


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
