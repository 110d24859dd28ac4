"""Prompts of generative engines: where their words come from, and what is filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blueprint.engines.presets import PRESETS
from blueprint.errors import UserError
from blueprint.section import Section, key

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
MAX_CHARACTERS = 8000
"""The text encoder reads 512 tokens, some 2,500 characters; nobody means to write more than this."""


class PromptKeys(Section):
    """Keys of a variant that a generative engine follows."""

    prompt: str | None = key(
        "What the clip should look like. `{facility.name}` and `{facility.description}` are filled in. Without it (and "
        "without `prompt_file`) the words of the preset are taken.",
        None,
        min_length=1,
    )
    prompt_file: str | None = key("Text file that holds the prompt.", None, min_length=1)


def prompt_of(entry: Mapping[str, Any], facility: Mapping[str, Any], key: str) -> str:
    """The complete prompt of a variant: its own, a file's, or its preset's words.

    Raises:
        UserError: there is none, or two, or it cannot be used.
    """
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
    return fill_in(prompt, facility, key)


def fill_in(prompt: str, facility: Mapping[str, Any], key: str) -> str:
    """A prompt with ``{facility.name}`` and ``{facility.description}`` replaced by the facility's facts.

    Raises:
        UserError: an unknown placeholder, a fact that the configuration does not give, or a text that cannot be used.
    """
    facts = {f"facility.{fact}": facility[fact] for fact in ("name", "description")}

    def replace(match: re.Match[str]) -> str:
        fact = match[1]
        if fact not in facts:
            raise UserError(f"{key}: unknown placeholder {match[0]} in the prompt. Known: {', '.join(facts)}.")
        if not facts[fact]:
            raise UserError(f"{key}: the prompt uses {match[0]}, but facility {facility['name']!r} has none. Add it.")
        return facts[fact]

    return _usable(PLACEHOLDER.sub(replace, prompt), key)


def _usable(text: str, key: str) -> str:
    if not text.strip():
        raise UserError(
            f"{key}: the text is empty or white space ({text[:20]!r}). Write what is meant, or leave the key out."
        )
    if "\0" in text:
        raise UserError(f"{key}: the text holds a NUL character, which no program can be given. Remove it.")
    if len(text) > MAX_CHARACTERS:
        raise UserError(
            f"{key}: the text has {len(text)} characters, {MAX_CHARACTERS} are accepted (the text encoder reads 512 "
            "tokens, some 2,500 characters). Shorten it."
        )
    return text


def _read_prompt(path: Path, key: str) -> str:
    try:
        text = " ".join(path.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{key}: prompt_file {path} cannot be read ({error}).") from error
    if not text:
        raise UserError(f"{key}: prompt_file {path} is empty; there is no default prompt.")
    return text
