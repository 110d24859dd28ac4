"""The keys of the stage: what a facility says of its photos, and at which figures a scan warns or fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import create_model, model_validator

from blueprint.section import Section, key

SCAN_PICTURES = ("map", "worst", "look")
"""The stage's pictures of a facility, ``results/<facility>/fidelity/<name>.png``."""


@dataclass(frozen=True)
class Figure:
    """One figure by which a scan, or a clip in it, is judged."""

    name: str
    title: str
    better: str
    warn: float | None
    fail: float | None
    tells: str
    """What it means when the figure is bad, as a clause."""
    unit: str = ""
    percent: bool = False
    of_clip: bool = False
    needs_photos: bool = False


FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in (
        Figure(
            "psnr_held_out", "PSNR of photos that the trainer did not see", "higher", 20, 15,
            "renders differ from the photos", unit="dB", needs_photos=True,
        ),
        Figure(
            "overfit", "PSNR lost from seen to held-out photos", "lower", 4, 8,
            "the scan shows its own photos well and others badly (overfitting)", unit="dB", needs_photos=True,
        ),
        Figure(
            "camera_shift", "shift of the photos' cameras", "lower", 1.0, 3.0,
            "the photos' cameras do not lie where the scan has them", unit="px", needs_photos=True,
        ),
        Figure(
            "unseen", "seen by fewer than three photos", "lower", 0.4, 0.8,
            "much of the scan was seen by fewer than three photos", percent=True, needs_photos=True,
        ),
        Figure(
            "holes", "holes in the view from free space", "lower", 0.02, 0.2,
            "there are holes in walls, floor or ceiling", percent=True,
        ),
        Figure(
            "mush", "half-transparent matter in view", "lower", 0.1, 0.4,
            "surfaces are half transparent", percent=True,
        ),
        Figure(
            "scatter", "distance of neighbouring Gaussians in their own sizes", "lower", 1.1, 1.8,
            "Gaussians do not lie on surfaces",
        ),
        Figure(
            "colour_noise", "colour difference of neighbours against chance", "lower", 0.55, 0.8,
            "neighbouring Gaussians do not agree in colour",
        ),
        Figure(
            "floaters", "Gaussians that float", "lower", 0.02, 0.1,
            "groups of Gaussians float in the air", percent=True,
        ),
        Figure(
            "untrusted", "untrustworthy pixels of a clip", "lower", 0.2, 0.45,
            "the clip leaves the region where the scan can be trusted", percent=True, of_clip=True,
        ),
    )
}  # fmt: skip
"""Every figure with its default thresholds."""


class Photos(Section):
    """The photos that a facility's scan was made from."""

    path: str = key(
        "Their dataset: a nerfstudio `transforms.json`, a COLMAP folder or INRIA's `cameras.json`, the images beside "
        "it, in the coordinates of the scene.",
        min_length=1,
    )
    every: int = key("Compare every nth photo only; held-out ones are always compared.", 1, ge=1)
    held_out: list[str] | None = key(
        "Names of the photos that the trainer did not see (default as the dataset records it).", None, min_length=1
    )
    width_px: int | None = key(
        "Width to which photos are reduced before they are compared (default none).", None, ge=32
    )
    refine_px: float = key(
        "How far, in pixels of the photo, its camera may be moved to find out how far it is off; 0 looks for nothing.",
        4,
        ge=0,
        le=20,
    )


class Threshold(Section):
    """Values at which a verdict changes; left out, the default holds."""

    warn: float | None = key("The verdict is `warn` beyond this value.", None)
    fail: float | None = key("The verdict is `fail` beyond this value.", None)


def _in_order(thresholds: Any) -> Any:
    for name, figure in FIGURES.items():
        limits = getattr(thresholds, name)
        if limits.warn is not None and limits.fail is not None:
            beyond = limits.warn > limits.fail if figure.better == "lower" else limits.warn < limits.fail
            if beyond:
                raise ValueError(
                    f"{name}: warn ({limits.warn:g}) lies beyond fail ({limits.fail:g}), so it would never be seen: "
                    f"{figure.better} is better for this figure. Exchange them"
                )
    return thresholds


_Thresholds = create_model(
    "FidelityThresholds",
    __base__=Section,
    **{
        name: (
            Threshold,
            key(f"{figure.title[0].upper()}{figure.title[1:]}.", {"warn": figure.warn, "fail": figure.fail}),
        )
        for name, figure in FIGURES.items()
    },
    __validators__={"order": model_validator(mode="after")(_in_order)},
)


class Fidelity(Section):
    """How the scan itself is judged, before anything is made of it."""

    places: int = key(
        "Places in free space, about, from which the scan is looked at, in six directions each.", 24, ge=1
    )
    fail_run: bool = key("Stop before enrichment when the verdict of a scan or of one of its clips is `fail`.", False)
    thresholds: _Thresholds = key(
        "Per figure the values beyond which a scan or a clip warns or fails (docs/fidelity.md). `{}` switches one off.",
        {},
    )
