"""Is every frame the one of its moment? Lag, repeated frames, and the motion of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import cv2
import numpy as np

from blueprint.metrics.frames import Batch, ClipFacts, ClipScore
from blueprint.metrics.placement import LEAST_STRUCTURE, WINDOW_PX, flow_of
from blueprint.metrics.stability import warp_map
from blueprint.metrics.working import Moment, moments_of, pixel_grid, windows

REACH = 4
"""Frames to each side among which the moment of a frame is looked for."""
MARGIN = 0.03
"""Correlation by which another moment must fit better than its own."""
LEAST_FIT = 0.5
"""Correlation from which a frame is recognised as that of another moment."""
STILL = 0.15
"""A frame whose change is less than this share of the change of its render repeats the one before."""
SLOW_DEG = 0.1
"""Degrees per frame that are added to the motion of the camera, since flow is no better."""
LEAST_CHANGE = 0.02
"""Change of the render, in units of its contrast, below which nothing moves."""


def half(picture: np.ndarray) -> np.ndarray:
    """The picture at half size, as a unit vector."""
    small = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).ravel()
    return small / max(float(np.linalg.norm(small)), 1e-6)


class Lag(ClipScore):
    """By how many frames the variant is late or early, at most."""

    def __init__(self, clip: ClipFacts) -> None:
        self.renders: list[np.ndarray] = []
        self.variants: list[np.ndarray] = []
        self.fits: list[dict[int, float]] = []

    def add(self, batch: Batch) -> Sequence[float | None]:
        """Gives no values of single frames: a frame is compared with later ones too."""
        for moment in batch.shared(moments_of):
            render, variant = (half(picture) for picture in moment.structures)
            self.fits.append({0: float(variant @ render)})
            for back in range(1, 1 + len(self.renders)):
                self.fits[-1][-back] = float(variant @ self.renders[-back])
                self.fits[-1 - back][back] = float(self.variants[-back] @ render)
            self.renders, self.variants = [*self.renders, render][-REACH:], [*self.variants, variant][-REACH:]
        return []

    def frames(self) -> list[int]:
        """By how many frames each frame is ahead (below 0: late); a single frame is `Repeated`, not late."""
        ahead = []
        for fits in self.fits:
            best = max(fits, key=lambda frames: (fits[frames], -abs(frames)))
            ahead.append(best if fits[best] > max(fits[0] + MARGIN, LEAST_FIT) else 0)
        runs = (list(run) for _, run in groupby(ahead))
        return [frames if len(run) > 1 else 0 for run in runs for frames in run]

    def value(self) -> float:
        """Frames."""
        return float(max(map(abs, self.frames()), default=0))

    def details(self) -> dict[str, Any]:
        """Where it begins, and where it ends."""
        ahead = self.frames()
        runs, start = [], 0
        for frames, run in groupby(ahead):
            length = len(list(run))
            runs.append((length if frames else 0, frames, start))
            start += length
        length, frames, start = max(runs, default=(0, 0, 0))
        if not length:
            return {"frames_ahead": ahead}
        last = max(index for index, each in enumerate(ahead) if each)
        many = f"{abs(frames)} frame{'s' if abs(frames) > 1 else ''}"
        more = " or more" if abs(frames) == REACH else ""
        verb = "lags" if frames < 0 else "is early by"
        return {
            "worst_frame": start,
            "window": [start, max(last, start)],
            "says": f"{verb} {many}{more} from frame {start}",
            "frames_ahead": ahead,
        }


class Repeated(ClipScore):
    """How many frames repeat the one before while the render moves on."""

    def __init__(self, clip: ClipFacts) -> None:
        self.before: Moment | None = None
        self.still: list[int] = []
        self.seen = 0

    def add(self, batch: Batch) -> Sequence[float | None]:
        """1 for a frame that repeats the one before, else 0."""
        values: list[float | None] = []
        for now in batch.shared(moments_of):
            values.append(None if self.before is None else self._repeats(self.before, now))
            if values[-1]:
                self.still.append(self.seen)
            self.before, self.seen = now, self.seen + 1
        return values

    @staticmethod
    def _repeats(before: Moment, now: Moment) -> float | None:
        if cv2.countNonZero(now.solid) < WINDOW_PX**2:
            return None
        changes = []
        for old, new in ((before.render, now.render), (before.variant, now.variant)):
            _, deviation = cv2.meanStdDev(new, mask=now.solid)
            change = sum(cv2.mean(cv2.absdiff(old, new), now.solid)[:3])
            changes.append(change / max(float(deviation.sum()), 3.0))
        render, variant = changes
        return float(render > LEAST_CHANGE and variant < STILL * render)

    def value(self) -> float | None:
        """Frames."""
        return float(len(self.still)) if self.seen > 1 else None

    def details(self) -> dict[str, Any]:
        """Which."""
        if not self.still:
            return {}
        first, last, count = self.still[0], self.still[-1], len(self.still)
        says = f"frame {first} repeats the one before" if count == 1 else f"repeats {count} frames, from frame {first}"
        return {"worst_frame": first, "window": [first, last], "says": says}


class CameraMotion(ClipScore):
    """Share by which the motion of the picture (DIS optical flow) differs from what depth and cameras predict."""

    def __init__(self, clip: ClipFacts) -> None:
        self.before: Moment | None = None
        self.found: list[tuple[float, float] | None] = []

    def add(self, batch: Batch) -> Sequence[float | None]:
        """0 where a frame moves as it should, 1 where it stands still."""
        for now in batch.shared(moments_of):
            self.found.append(None if self.before is None else motion_apart(self.before, now))
            self.before = now
        return [found and found[0] for found in self.found[batch.start :]]

    def value(self) -> float | None:
        """Median over the worst three frames in a row."""
        return max(self._runs(), default=(None, 0))[0]

    def _runs(self) -> list[tuple[float, int]]:
        known = [(found[0], index) for index, found in enumerate(self.found) if found]
        size = min(3, len(known))
        runs = (known[start : start + size] for start in range(len(known) - size + 1)) if known else ()
        return [(float(np.median([apart for apart, _ in run])), run[len(run) // 2][1]) for run in runs]

    def details(self) -> dict[str, Any]:
        """When, and how fast the camera seems to move."""
        runs = self._runs()
        if not runs:
            return {}
        value, frame = max(runs)
        many = [index for each, index in runs if each >= value / 2]
        share = self.found[frame][1]
        says = f"the camera moves at {100 * share:.0f} % of its speed or elsewhere at frames {many[0]}-{many[-1]}"
        return {"worst_frame": frame, "window": [many[0], many[-1]], "says": says}


def motion_apart(before: Moment, now: Moment) -> tuple[float, float] | None:
    """Difference of the variant's motion from the predicted one, and the part of the predicted one that it has."""
    where, same = warp_map(before, now)
    grid = pixel_grid(*same.shape)
    strong = np.square(now.structures[1]) * ((same > 0) & (now.solid > 0))
    energy = windows(strong, WINDOW_PX)
    shows = energy > LEAST_STRUCTURE
    if np.count_nonzero(shows) < 4:
        return None
    flow = flow_of(now.structures[1], before.structures[1], 2)
    found, predicted = (
        windows(field * strong[..., None], WINDOW_PX)[shows] / energy[shows][:, None] for field in (flow, where - grid)
    )
    speed = np.linalg.norm(predicted, axis=-1)
    apart = float(np.median(np.linalg.norm(found - predicted, axis=-1)))
    share = float(np.median((found * predicted).sum(-1) / np.maximum(np.square(speed), 1e-3)))
    usual_deg = float(np.median(speed)) / now.px_per_deg
    return apart / now.px_per_deg / (usual_deg + SLOW_DEG), share
