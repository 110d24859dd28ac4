"""What a score is computed from: frames in step, a few at a time, and the three forms that a score may have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from blueprint.lens import Lens
from blueprint.video import VideoInfo

T = TypeVar("T")


@dataclass(frozen=True)
class View:
    """What one moment looks like and where it is seen from."""

    render: np.ndarray  # [H, W, 3] uint8 RGB
    variant: np.ndarray  # [H, W, 3] uint8 RGB
    depth_m: np.ndarray  # [H, W] float32, 0 where nothing is
    viewmat: np.ndarray  # [4, 4] world to camera, OpenCV
    K: np.ndarray  # [3, 3] pixels; pixel centres at +0.5
    lens: Lens | None = None


@dataclass(frozen=True)
class Batch:
    """Consecutive frames of variant and render, aligned."""

    start: int  # index of the first frame in the clip
    render: np.ndarray  # [B, H, W, 3] uint8 RGB
    variant: np.ndarray  # [B, H, W, 3] uint8 RGB
    depth_m: np.ndarray  # [B, H, W] float32, 0 where nothing is
    viewmats: np.ndarray  # [B, 4, 4] world to camera, OpenCV
    Ks: np.ndarray  # [B, 3, 3] pixels; pixel centres at +0.5
    alpha: np.ndarray  # [B, H, W] float32, opacity of the render
    device: str = "cpu"
    lenses: tuple[Lens | None, ...] = ()
    """One per frame; empty when all are pinholes."""
    earlier: Sequence[Any] = ()  # frames before this batch at working size, the last one last (`metrics.working`)
    _made: dict[Callable[[Batch], Any], Any] = field(default_factory=dict, repr=False, compare=False)

    def shared(self, make: Callable[[Batch], T]) -> T:
        """``make(batch)``, made once however many scores ask for it: edges, luminance, features."""
        if make not in self._made:
            self._made[make] = make(self)
        return self._made[make]

    def views(self) -> Iterator[View]:
        """The frames of the batch, one after the other."""
        lenses = self.lenses or (None,) * len(self.Ks)
        parts = (self.render, self.variant, self.depth_m, self.viewmats, self.Ks, lenses)
        return (View(*frame) for frame in zip(*parts, strict=True))


@dataclass(frozen=True)
class ClipFacts:
    """What is known of a clip before its first frame."""

    info: VideoInfo
    device: str


class ClipScore:
    """A score that is shown a whole clip, batch by batch; never all of it at once."""

    def __init__(self, clip: ClipFacts) -> None:
        """Begin a clip."""

    def add(self, batch: Batch) -> Sequence[float | None]:
        """Look at the next frames.

        Returns:
            One value per frame (None where undefined), or nothing at all when the score is not one of single frames.
        """
        raise NotImplementedError

    def value(self) -> float | None:
        """The clip's value after its last frame; None: as the catalogue says, from the values of the frames."""
        return None

    def details(self) -> dict[str, Any]:
        """What else to tell of the clip, as JSON. Of these keys the summary and the report know the meaning:

        - ``worst_frame``: index of the frame to look at;
        - ``window``: first and last index of the frames in which the score is worst;
        - ``where``: left, top, right and bottom of the place where it is worst, as shares of the frame;
        - ``says``: what a person is told when the score is beyond its threshold, as in "lags 2 frames from frame 12".
        """
        return {}


class PerFrame(ClipScore):
    """A score that is a function of single frames."""

    def __init__(self, function: Callable[[Batch], Any]) -> None:
        self.function = function

    def add(self, batch: Batch) -> Sequence[float | None]:
        """One value per frame."""
        values = self.function(batch)
        return values.tolist() if hasattr(values, "tolist") else values  # tensors and arrays have it


class PerPair(ClipScore):
    """A score that is a function of a frame and the one before; the first frame of a clip has none."""

    def __init__(self, function: Callable[[View, View], float | None]) -> None:
        self.function = function
        self.before: View | None = None

    def add(self, batch: Batch) -> Sequence[float | None]:
        """One value per frame."""
        values = []
        for now in batch.views():
            values.append(self.function(self.before, now) if self.before else None)
            self.before = now
        return values
