"""A prompt as Cosmos 3 was trained to read it, for a program that adds nothing itself.

As `_format_prompt_with_template` and `run_transfer` of NVIDIA's cosmos-framework do it: length and size are told after
the text, or in the fields of a caption in JSON; of the negative prompt the same; the prompt ends with a sentence that
asks for the controls to be followed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress

from blueprint.engines.cosmos3.sizes import ASPECTS, SIZES

EMPHASIS = (
    "Follow the {hints} control video precisely: shape, contour, silhouette, position, and motion of every visible "
    "structure must align with the {hints} signal at every frame."
)


def with_metadata(text: str, frames: int, fps: int, width: int, height: int) -> str:
    """A prompt that tells length and size.

    Args:
        text: a sentence, or a caption as a JSON object, whose fields are then set.
        frames: of a chunk.
        fps: frames per second.
        width: the model's, in pixels.
        height: the model's, in pixels.
    """
    with suppress(json.JSONDecodeError):
        caption = json.loads(text)
        if isinstance(caption, dict):
            told = {"duration": f"{frames // fps}s", "fps": float(fps), "resolution": {"H": height, "W": width}}
            return json.dumps(caption | told | {"aspect_ratio": _aspect(width, height)})
    sentences = (
        f"The video is {frames / fps:.1f} seconds long and is of {fps} FPS.",
        f"This video is of {height}x{width} resolution.",
    )
    for sentence in sentences:
        text = f"{text.strip().rstrip('.')}. {sentence}".removeprefix(". ")
    return text


def emphasized(text: str, hints: Sequence[str]) -> str:
    """A prompt that ends with NVIDIA's sentence about the controls, by what the model calls them."""
    return f"{text.rstrip()} {EMPHASIS.format(hints=', '.join(hints))}"


def _aspect(width: int, height: int) -> str:
    return next(
        aspect
        for sizes in SIZES.values()
        for aspect, size in zip(ASPECTS, sizes, strict=True)
        if size == (width, height)
    )
