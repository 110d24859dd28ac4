"""``fidelity.json``: what a scan is worth."""

from __future__ import annotations

from blueprint.metrics.verdicts import Verdict
from blueprint.result_files.parts import Count, Index, Made, Part, Share, Vector


class JudgedFigure(Part):
    """One figure of a scan against its thresholds."""

    name: str
    """As in ``fidelity.thresholds`` of the configuration."""
    title: str
    """As in the report."""
    value: float | None
    """Null where it could not be measured."""
    shown: str
    """The value as people read it."""
    verdict: Verdict | None
    """Null without a value or a threshold."""
    warn: float | None
    """The threshold; null without one."""
    fail: float | None
    """The threshold; null without one."""


class ScanVerdict(Part):
    """What the scan is worth."""

    verdict: Verdict | None
    """The worst of its figures; null when none was judged."""
    sentence: str
    """What a person is told."""
    figures: list[JudgedFigure]
    """The worst first."""


class Causes(Part):
    """Shares of the covered pixels that each cause takes."""

    hole: Share
    """Nothing, or half-transparent matter."""
    mush: Share
    """Depths of several surfaces mixed."""
    smear: Share
    """Gaussians that are thick as seen from there."""
    floater: Share
    """Groups of Gaussians that float."""
    unseen: Share
    """Gaussians that fewer than three photos saw."""


class ClipTrust(Part):
    """How far a clip can be trusted."""

    verdict: Verdict | None
    """Null without a threshold."""
    untrusted: Share
    """Share of the pixels, mean over the frames."""
    frames: list[Share]
    """The same of each frame."""
    worst_frame: Index
    """Index of the frame with the largest share."""
    causes: Causes
    """Mean over the frames."""


class Places(Part):
    """What the scan is worth from free places."""

    looked_from: Count
    """How many places."""
    trusted_share: Share | None
    """Share of the views of which 90 % can be trusted; null when there is none."""
    positions_m: list[Vector]
    """In the level frame: z up, the floor at 0."""
    headings_deg: list[float]
    """Of the views from each place."""
    trust: list[list[Share | None]]
    """Per place and heading the share of the view that can be trusted; null where there is nothing in view."""


class PhotoScore(Part):
    """A photo against the render at its camera."""

    psnr: float
    """dB."""
    ssim: float
    """Structural similarity."""
    psnr_fitted: float
    """dB, after a fit of the photo's colours."""
    ssim_fitted: float
    """After a fit of the photo's colours."""
    held_out: bool | None
    """Whether the trainer did not see it; null when nothing tells."""
    shift_px: float | None
    """By how much its camera is off, pixels of the photo; null when that was not looked for."""
    gain_db: float | None
    """PSNR gained by moving the camera there."""
    picture: str
    """Its error map, below ``fidelity/``."""


class MeanScores(Part):
    """Means over photos; null when there are none."""

    psnr: float | None
    """dB."""
    ssim: float | None
    """Structural similarity."""
    psnr_fitted: float | None
    """dB, after a fit of the photo's colours."""
    ssim_fitted: float | None
    """After a fit of the photo's colours."""


class Counts(Part):
    """Numbers of photos."""

    held_out: Count
    """The trainer did not see them."""
    seen: Count
    """The others."""


class Means(Part):
    """Mean scores of photos."""

    held_out: MeanScores
    """The trainer did not see them."""
    seen: MeanScores
    """The others."""


class ComparedPhotos(Part):
    """The photos of a scan against renders."""

    compared: dict[str, PhotoScore]
    """Per photo."""
    count: Counts
    """How many were compared."""
    split_known: bool
    """Whether anything tells which photos the trainer saw."""
    mean: Means
    """Over the photos."""
    worst: list[str]
    """The photos that the scan shows worst."""


class Judged(Made):
    """Who judged the scan."""

    rasterizer: str
    """What rendered the views."""


class FidelityFile(Part):
    """``results/<facility>/fidelity.json``: what a scan is worth."""

    facility: str
    """Its name."""
    scan: ScanVerdict
    """What the scan is worth."""
    verdict: Verdict | None
    """The worst of the scan and its clips."""
    leaving: list[str]
    """Clips that leave the region where the scan can be trusted."""
    clips: dict[str, ClipTrust]
    """Per clip."""
    closed: bool
    """Whether there is matter in every direction, as in a room."""
    places: Places
    """What the scan is worth from free places."""
    photos: ComparedPhotos | None
    """Null for a facility without photos."""
    run: Judged
    """Who judged it."""
