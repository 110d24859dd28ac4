"""Scores of place: the frame as a whole, something in it, and what is no longer there (see `placement`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from blueprint.metrics.frames import Batch, ClipFacts, ClipScore
from blueprint.metrics.placement import WINDOW_PX, Placement, placements_of
from blueprint.metrics.working import moments_of, place_name, window_box

RUN = 3
"""Frames that something must last."""


class Placed(ClipScore):
    """Follows the placement of the frames of a clip."""

    def __init__(self, clip: ClipFacts) -> None:
        self.px_per_deg = 1.0
        self.size = (1, 1)

    def add(self, batch: Batch) -> Sequence[float | None]:
        """One value per frame."""
        first = batch.shared(moments_of)[0]
        self.px_per_deg, self.size = first.px_per_deg, first.depth_m.shape
        return [self.of_frame(found) for found in batch.shared(placements_of)]

    def of_frame(self, found: Placement) -> float | None:
        """The value of a frame."""
        raise NotImplementedError


class Misalignment(Placed):
    """Displacement of the whole frame in degrees of view, in the worst run of frames."""

    def __init__(self, clip: ClipFacts) -> None:
        super().__init__(clip)
        self.frames: list[Placement] = []

    def of_frame(self, found: Placement) -> float | None:
        """Degrees of view."""
        self.frames.append(found)
        return None if found.apart_px is None else found.apart_px / self.px_per_deg

    def _runs(self) -> list[tuple[float, int]]:
        known = [(index, found.apart_px) for index, found in enumerate(self.frames) if found.apart_px is not None]
        size = min(RUN, len(known))
        runs = (known[start : start + size] for start in range(len(known) - size + 1)) if known else ()
        return [(float(np.median([px for _, px in run])) / self.px_per_deg, run[len(run) // 2][0]) for run in runs]

    def value(self) -> float | None:
        """Median of the worst run."""
        return max(self._runs(), default=(None, 0))[0]

    def details(self) -> dict[str, Any]:
        """Which frames, and whether it is a shift, a turn or a zoom."""
        runs = self._runs()
        if not runs:
            return {}
        value, frame = max(runs)
        found = self.frames[frame]
        beyond = [index for each, index in runs if each >= value / 2]
        far = np.hypot(*self.size) / 4
        parts = {
            f"is shifted by {np.linalg.norm(found.shift_px) / self.px_per_deg:.2f} degrees": np.linalg.norm(
                found.shift_px
            ),
            f"is turned by {abs(found.turn_deg):.1f} degrees": abs(np.radians(found.turn_deg)) * far,
            f"is zoomed by {100 * found.zoom:+.1f} %": abs(found.zoom) * far,
        }
        says = f"{max(parts, key=parts.get)} at frames {beyond[0]}-{beyond[-1]}"
        return {"worst_frame": frame, "window": [beyond[0], beyond[-1]], "says": says}


class Lasting(Placed):
    """The worst window over space and time, of those that last some frames."""

    def __init__(self, clip: ClipFacts) -> None:
        super().__init__(clip)
        self.recent: list[np.ndarray] = []
        self.seen = 0
        self.worst = (0.0, 0, (0, 0))

    def of_frame(self, found: Placement) -> float | None:
        """The value of the window that is worst in this frame and those before it."""
        self.recent = [*self.recent, self.windows_of(found)][-RUN:]
        self.seen += 1
        if len(self.recent) < RUN:
            return None
        lasting = np.min(self.recent, axis=0)
        place = np.unravel_index(lasting.argmax(), lasting.shape)
        if lasting[place] > self.worst[0]:
            self.worst = (float(lasting[place]), self.seen - 1, place)
        return float(lasting[place])

    def windows_of(self, found: Placement) -> np.ndarray:
        """The values of windows [rows, columns]."""
        raise NotImplementedError

    def says(self, value: float) -> str:
        """What happens."""
        raise NotImplementedError

    def value(self) -> float | None:
        """The worst."""
        return self.worst[0] if self.seen >= RUN else None

    def details(self) -> dict[str, Any]:
        """Where and when."""
        value, frame, place = self.worst
        box = window_box(*place, WINDOW_PX, self.size[1], self.size[0])
        frames = [max(0, frame - RUN + 1), frame]
        says = f"{self.says(value)} {place_name(box)} at frames {frames[0]}-{frames[1]}"
        return {"worst_frame": frame, "window": frames, "where": box, "says": says}


class LocalGeometry(Lasting):
    """Displacement, in degrees of view, of something that the render shows elsewhere."""

    def windows_of(self, found: Placement) -> np.ndarray:
        """Degrees of view; a window counts with a neighbour, for one alone may be the edge of a shadow."""
        apart = found.local_px / self.px_per_deg
        beside, below = np.zeros_like(apart), np.zeros_like(apart)
        beside[:, :-1] = np.minimum(apart[:, :-1], apart[:, 1:])
        below[:-1] = np.minimum(apart[:-1], apart[1:])
        return np.maximum(beside, below)

    def says(self, value: float) -> str:
        """By how much."""
        return f"something is displaced by {value:.2f} degrees"


class LostContent(Lasting):
    """Share of the structure that a window of the render loses in the variant."""

    def windows_of(self, found: Placement) -> np.ndarray:
        """0 where all is kept, 1 where nothing is."""
        return np.clip(1 - found.kept, 0, 1)

    def says(self, value: float) -> str:
        """What is gone."""
        return "something that the render shows is missing"
