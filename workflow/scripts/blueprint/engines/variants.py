"""Variants as configured -> variants complete: preset sets expanded, prompts read and filled in, seeds set.

Snakemake calls this while it builds the graph, so what is wrong with a prompt is said before any job runs, and what a
job depends on holds the prompt's own text: editing a prompt file, or the description that a prompt names, makes that
variant again and no other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from blueprint.engines import engine
from blueprint.engines.base import PlannedClip
from blueprint.engines.presets import PRESET_SETS
from blueprint.errors import UserError

MAX_SPEC_BYTES = 100_000
"""A job is told its specification on its command line, of which the kernel takes 128 KiB."""


def expand(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
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


def clip_spec(enrich: Mapping[str, Any], clip: PlannedClip) -> dict[str, Any]:
    """All that the variants of a clip depend on, besides the rendered clip and the user's own files.

    Returns:
        ``{"engine", "module", "settings", "variants", "files"}``: what makes them, the keys that decide the pixels, the
        fields of each `Variant`, and the files of the user's own that they are made from.

    Raises:
        UserError: a variant that the engine cannot make, naming it and what to change.
    """
    chosen = engine(enrich["engine"])
    variants = []
    for entry in expand(enrich["variants"]):
        common = {"name": entry["name"], "seed": entry.get("seed", enrich["seed"])}
        key = f"enrich.variants: {entry['name']!r}"
        variants.append({**common, **chosen.complete_variant(entry, enrich, clip, key)})
    spec = {
        "engine": chosen.name,
        "module": chosen.module,
        "settings": chosen.settings(enrich),
        "variants": variants,
        "files": sorted({path for variant in variants for path in chosen.files(variant)}),
    }
    size = len(json.dumps(spec).encode())
    if size > MAX_SPEC_BYTES:
        raise UserError(
            f"enrich.variants: prompts and controls of {clip.name!r} take {size} bytes, {MAX_SPEC_BYTES} are accepted. "
            "Shorten the prompts, or split the variants over two runs."
        )
    return spec
