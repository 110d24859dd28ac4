"""Does the look hold over time? Drift, jumps and flicker of the brightness and hue of surfaces (see `steadiness`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from blueprint.metrics.frames import Batch, ClipFacts, ClipScore
from blueprint.metrics.steadiness import changes_of

MISLEADING_GAIN = 20.0
"""Per cent of brightness that a clip may not drift by; half of it may not come at once."""
MISLEADING_TURN = 30.0
"""Degrees of hue, likewise."""
RUN = 3
"""Frames of which the median stands for the look of a moment."""
FLICKER_RUN = 8
"""Frames over which flicker is summed up."""


class Looks(ClipScore):
    """Follows brightness (per cent) and hue (degrees) of the surfaces of a clip, beginning with 0."""

    def __init__(self, clip: ClipFacts) -> None:
        self.steps: list[tuple[float, float]] = []

    def add(self, batch: Batch) -> Sequence[float | None]:
        """Gives no values of single frames."""
        found = batch.shared(changes_of)
        self.steps += [(change.gain, change.turn_deg) if change else (0.0, 0.0) for change in found]
        return []

    @property
    def gain(self) -> np.ndarray:
        """Brightness of every frame relative to the first, in per cent of a logarithm."""
        return 100 * np.cumsum([gain for gain, _ in self.steps])

    @property
    def turn_deg(self) -> np.ndarray:
        """Hue of every frame relative to the first, in degrees."""
        return np.cumsum([turn for _, turn in self.steps])


def smooth(values: np.ndarray) -> np.ndarray:
    """Running median."""
    padded = np.pad(values, RUN // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, RUN), axis=-1)


class Drift(Looks):
    """The largest change of look between any two moments, 1 being what misleads."""

    def value(self) -> float:
        """The larger of brightness and hue."""
        return max(self._parts())

    def _parts(self) -> tuple[float, float]:
        return tuple(float(np.ptp(smooth(line))) / limit for line, limit in self._lines())

    def _lines(self) -> tuple[tuple[np.ndarray, float], tuple[np.ndarray, float]]:
        return (self.gain, MISLEADING_GAIN), (self.turn_deg, MISLEADING_TURN)

    def details(self) -> dict[str, Any]:
        """Between which frames, and what."""
        bright, hue = self._parts()
        line = smooth(self.gain if bright >= hue else self.turn_deg)
        ends = sorted((int(line.argmin()), int(line.argmax())))
        apart = line[ends[1]] - line[ends[0]]
        says = f"brightness drifts by {percent(apart)}" if bright >= hue else f"hue drifts by {apart:+.0f} degrees"
        return {"window": ends, "worst_frame": ends[1], "says": f"{says} between frames {ends[0]} and {ends[1]}"}


def percent(gain: float) -> str:
    """A change of brightness given in per cent of a logarithm, as people say it."""
    return f"{100 * np.expm1(gain / 100):+.0f} %"


class Jump(Looks):
    """The largest change of look within a frame, 1 being what misleads: a step, or a frame that flashes."""

    def value(self) -> float:
        """The larger of brightness and hue."""
        return self._found()[0]

    def _found(self) -> tuple[float, int, float, bool, bool]:
        """Value, frame, change, whether it is hue, whether it is a flash."""
        best = (0.0, 0, 0.0, False, False)
        for hue, (line, limit) in enumerate(((self.gain, MISLEADING_GAIN / 2), (self.turn_deg, MISLEADING_TURN / 2))):
            for frame in range(1, len(line)):
                before, after = line[max(0, frame - RUN) : frame], line[frame : frame + RUN]
                step = float(np.median(after) - np.median(before))
                around = line[[frame - 1, *([frame + 1] if frame + 1 < len(line) else [])]]
                flash = float(line[frame] - around.mean()) if len(around) == 2 else 0.0
                change = max(step, flash, key=abs)
                best = max(best, (abs(change) / limit, frame, change, bool(hue), abs(flash) > abs(step)))
        return best

    def details(self) -> dict[str, Any]:
        """At which frame, and what."""
        _, frame, change, hue, flash = self._found()
        by = f"{change:+.0f} degrees" if hue else percent(change)
        verb = "flashes" if flash else "jumps"
        says = f"{'hue' if hue else 'brightness'} {verb} by {by} at frame {frame}"
        return {"window": [frame, frame], "worst_frame": frame, "says": says}


class Flicker(Looks):
    """How much brightness goes up and down from frame to frame, in per cent, in the worst run of frames."""

    def value(self) -> float:
        """Root mean square of what a frame has more or less than its neighbours."""
        return float(self._runs().max(initial=0.0))

    def _runs(self) -> np.ndarray:
        line = self.gain
        if len(line) < RUN:
            return np.zeros(0)
        bends = np.square((line[1:-1] - (line[:-2] + line[2:]) / 2) / 1.5)
        run = min(FLICKER_RUN, len(bends))
        return np.sqrt(np.lib.stride_tricks.sliding_window_view(bends, run).mean(-1))

    def details(self) -> dict[str, Any]:
        """In which frames."""
        runs = self._runs()
        first = int(runs.argmax()) + 1 if len(runs) else 0
        last = min(first + FLICKER_RUN, len(self.steps)) - 1
        says = f"brightness flickers by {runs.max(initial=0.0):.0f} % at frames {first}-{last}"
        return {"window": [first, last], "worst_frame": first, "says": says}
