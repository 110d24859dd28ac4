"""Does a variant show at each moment what the render shows then? Engines that work in chunks can lose frames silently.

Edges survive a change of light and material, so frames are compared by the strength of their edges, small and without
their mean: the correlation of variant frame t with render frame t - s. Where the render moves, a variant that is late
by s frames correlates best at that s. How much better counts in proportion to what the render itself loses over s
frames, which makes the measure independent of the speed of the camera.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blueprint.errors import UserError
from blueprint.video import read_video

WIDTH_PX = 128
MAX_SHIFT = 16
"""Frames; a chunk of any length loses at most 3, and a clip of many chunks adds them up."""
WINDOW = 32
"""Frames that are judged together."""
LEAST_GAIN = 0.15
"""Of what the render loses over the shift: 1 is a variant that shows exactly other frames, 0 and less one in step."""
LEAST_LOSS = 0.03
"""What the render must lose over a shift for it to be seen: a camera that stands still shows no shift."""


@dataclass(frozen=True)
class Shift:
    """Variant frames ``first`` to ``last`` show what the render shows ``frames`` earlier (negative: later)."""

    first: int
    last: int
    frames: int


def refuse_drift(variant: str, video: Path, render: np.ndarray) -> None:
    """Compare a finished variant with the edges of its render.

    Raises:
        UserError: a part of the variant is out of step, naming frames and shift.
    """
    if shift := find_shift(render, edges(read_video(video))):
        when = f"{abs(shift.frames)} frame(s) {'earlier' if shift.frames > 0 else 'later'}"
        raise UserError(
            f"{variant}: frames {shift.first} to {shift.last} show what the render shows {when}: the engine lost or "
            "repeated frames, so it cannot be compared with the render. The variant is not kept."
        )


def edges(frames: Iterable[np.ndarray]) -> np.ndarray:
    """Edge strength of frames [H, W, 3] uint8 as unit vectors [F, pixels] float32."""
    found = []
    for frame in frames:
        block = max(1, round(frame.shape[1] / WIDTH_PX))
        height, width = (side // block for side in frame.shape[:2])
        green = frame[: height * block, : width * block, 1].reshape(height, block, width, block)
        strength = np.hypot(*np.gradient(np.log(green.mean((1, 3), dtype=np.float32) + 8))).ravel()
        strength -= strength.mean()
        found.append(strength / max(float(np.linalg.norm(strength)), 1e-6))
    return np.stack(found)


def find_shift(render: np.ndarray, variant: np.ndarray) -> Shift | None:
    """The window of a clip in which a variant is out of step with its render the most, if there is one.

    Args:
        render, variant: from `edges`, as many frames each.
    """
    count = len(render)
    length = min(WINDOW, count)
    worst, worst_gain = None, LEAST_GAIN
    for first in [*range(0, count - length, WINDOW // 2), count - length]:
        window = range(first, first + length)
        agreement = _agreement(variant, render, window)
        own = _agreement(render, render, window)
        shift = max(agreement, key=agreement.__getitem__)
        loss = own[0] - own[shift]
        gain = (agreement[shift] - agreement[0]) / loss if loss >= LEAST_LOSS else 0.0
        if gain > worst_gain:
            worst, worst_gain = Shift(first, first + length - 1, shift), gain
    return worst


def _agreement(variant: np.ndarray, render: np.ndarray, window: range) -> dict[int, float]:
    """Mean correlation of the variant's frames t of a window with the render's frames t - s, for each shift s."""
    limit = min(MAX_SHIFT, len(window) // 2)
    found = {}
    for shift in range(-limit, limit + 1):
        pairs = [t for t in window if 0 <= t - shift < len(render)]
        if 2 * len(pairs) >= len(window):
            times = np.array(pairs)
            found[shift] = float(np.einsum("fp,fp->f", variant[times], render[times - shift]).mean())
    return found
