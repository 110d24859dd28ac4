"""Control and mask videos of the user's own: they must fit the clip before a model is loaded for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blueprint.engines.task import Clip, Variant
from blueprint.errors import UserError
from blueprint.video import probe


def refuse_other_lengths(clip: Clip, variants: Sequence[Variant]) -> None:
    """Compare the number of frames of each control and mask video with the clip's: a program would pad or cut silently.

    Raises:
        UserError: a video that is longer or shorter, naming its key.
    """
    for variant in variants:
        parts = {f"controls.{name}": control for name, control in variant.controls.items()} | variant.more
        for name, part in parts.items():
            for key in ("control_path", "mask_path"):
                if key in part and (found := probe(Path(part[key])).frames) != clip.info.frames:
                    raise UserError(
                        f"{variant.name}: {name}.{key}: {part[key]} has {found} frames, the clip {clip.rgb} has "
                        f"{clip.info.frames}. Make it as long as the clip."
                    )
