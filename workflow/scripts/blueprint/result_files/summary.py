"""``summary.json``: the verdicts of a facility and where they come from."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from blueprint.metrics.verdicts import Verdict
from blueprint.result_files.parts import Box, Count, FirstAndLast, Index, Limits, Part, Sha256, Vector


class Score(Part):
    """One score of a variant."""

    mean: float | None
    """The value of the clip; null where it is undefined."""
    worst: float | None
    """Of the worst frame; null for a score of whole clips."""
    worst_frame: Index | None
    """Index of the frame to look at."""
    verdict: Verdict | None
    """Null without a threshold or a value."""


class Cause(Part):
    """Why a variant warns or fails."""

    metric: str
    """The score that explains it."""
    frame: Index | None
    """Index of the frame to look at."""
    window: FirstAndLast | None
    """First and last frame in which the score is worst."""
    where: Box | None
    """Left, top, right and bottom of the place in the frame, as shares."""


class ClipVariant(Part):
    """A variant of one clip."""

    verdict: Verdict | None
    """The worst of its scores."""
    sentence: str
    """What a person is told."""
    cause: Cause | None
    """Null unless it warns or fails."""
    scores: dict[str, Score]
    """By name."""


class Counts(Part):
    """How many there are of each verdict."""

    pass_: Count = Field(alias="pass")
    """Within all thresholds."""
    warn: Count
    """Beyond a threshold that warns."""
    fail: Count
    """Beyond a threshold that fails."""


class OverClips(Part):
    """A variant over the clips of the facility."""

    verdict: Verdict | None
    """The worst."""
    counts: Counts
    """Of clips (of the facility: of clips and variants)."""
    mean: dict[str, float | None]
    """Per score the mean over the clips."""


class Described(Part):
    """How to read a score."""

    title: str
    """As in tables and plots."""
    family: Literal["appearance", "geometry", "time"]
    """What it looks at."""
    better: Literal["higher", "lower"]
    """Which values are better."""
    range: str
    """Of its values."""
    unit: str
    """Empty without one."""
    ideal: float
    """Value of a variant that equals its render."""
    measures: str
    """What it is."""
    reference: str
    """Where it is defined."""
    smallest_px: int
    """Smallest frame width and height that it is defined for."""
    weights: list[str]
    """Files of weights that it needs."""


class Apart(Part):
    """How different two variants are."""

    variants: list[str]
    """Two names."""
    delta_e: float
    """Mean colour difference, CIE 1976."""


class Diversity(Part):
    """How different the variants of a clip are."""

    pairs: list[Apart]
    """Of all pairs of variants."""
    mean: float | None
    """Over the pairs; null for a single variant."""
    closest: list[str] | None
    """The pair that differs least; null for a single variant."""


class NotJudged(Part):
    """What took no part in the verdicts."""

    what: str
    """A threshold or a score."""
    why: str
    """The reason."""


class Facility(Part):
    """How the scene stands."""

    name: str
    """Of the facility."""
    up_axis: str
    """The scene's axis that points up."""
    floor_height_m: float
    """Of the floor along that axis, metres."""
    metres_per_unit: float
    """Of the scene's file."""
    photos: str | None = None
    """The dataset of the photos."""


class SceneFile(Part):
    """The scene."""

    sha256: Sha256
    """Of the file."""
    bytes: Count
    """Of the file."""


class Found(Part):
    """What was found in the scene; counts are of Gaussians, lengths in metres."""

    format: str
    """Of the file."""
    gaussians: Count
    """All that the file holds."""
    usable: Count
    """All that can be drawn."""
    sh_degree: Index
    """Of the spherical harmonics."""
    not_finite: Count
    """With a NaN or an infinite value; dropped."""
    zero_quaternions: Count
    """Without a direction; dropped."""
    huge: Count
    """Of a kilometre or more; dropped."""
    points: Count
    """Thinner than a micrometre in every direction."""
    invisible: Count
    """Of an opacity that no rasterizer draws."""
    lowest_m: Vector
    """Corner of the bounds."""
    highest_m: Vector
    """Corner of the bounds."""
    robust_lowest_m: Vector
    """1st percentile of the centres."""
    robust_highest_m: Vector
    """99th percentile of the centres."""


class Checked(Part):
    """One check of the scene."""

    name: str
    """What was checked."""
    result: Literal["ok", "fail", "skip", "unknown", "warn"]
    """What came out."""
    evidence: str
    """What was found."""
    remedy: str
    """What to do; empty where nothing is to be done."""


class Preflight(Part):
    """``preflight.json`` of the facility."""

    facility: Facility
    """How the scene stands."""
    scene: SceneFile
    """The scene's file."""
    found: Found
    """What was found in it."""
    checks: list[Checked]
    """What was checked."""


class HowMade(Part):
    """One way in which a variant was made."""

    engine: str
    """Its name."""
    model: dict[str, Any]
    """What the engine says of its model, ``name`` among it; the other keys are the engine's."""
    identity: dict[str, Any]
    """What the engine says of itself, such as revisions; the keys are the engine's."""
    settings: dict[str, Any]
    """The engine's keys of the configuration that decide pixels."""
    fit: dict[str, Any] | None = None
    """How the clip was fitted to what the model takes; absent where it takes any; the keys are the engine's."""
    code: str
    """Digest of the sources that decide the pixels."""
    variant: dict[str, Any]
    """The variant as configured."""
    clips: list[str]
    """For which clips it was made so."""


class Provenance(Part):
    """Where the verdicts come from; the same on every machine."""

    preflight: Preflight
    """What was checked and found before."""
    variants: dict[str, list[HowMade]]
    """Per variant how it was made; several entries where clips were made differently."""
    engines: list[str]
    """Of all variants."""
    configuration_digest: Sha256
    """Of what the configuration says that decides results."""
    environment_digests: dict[str, Sha256]
    """Per file that locks an environment."""


class Run(Part):
    """What differs from run to run, over all clips."""

    render_s: float
    """Seconds."""
    enrich_s: float
    """Seconds."""
    metrics_s: float
    """Seconds."""
    rasterizers: list[str]
    """What rendered the clips."""
    gpus: list[str]
    """Names of the GPUs."""
    vram_peak_gb: float | None
    """Of the engine; null when it was not measured."""
    commits: list[str]
    """At which results were made: two of them say that the results are mixed."""


class SummaryFile(OverClips):
    """``results/<facility>/summary.json``: the verdicts of a facility and where they come from."""

    facility: str
    """Its name."""
    clips: dict[str, dict[str, ClipVariant]]
    """Per clip and variant."""
    variants: dict[str, OverClips]
    """Per variant."""
    thresholds: dict[str, Limits]
    """Per score."""
    metrics: dict[str, Described]
    """Per score how to read it."""
    diversity: dict[str, Diversity]
    """Per clip how different its variants are."""
    not_judged: list[NotJudged]
    """What took no part in the verdicts."""
    provenance: Provenance
    """Where the verdicts come from."""
    run: Run
    """What differs from run to run."""
