"""Every score: what it is called, what it measures, how it is read and where it is computed. Needs no libraries.

This is the one registration of a score. The configuration's keys and defaults, the table of docs/metrics.md, the
summary, the report and what makes a score again all follow from it. A score is added in two steps:

1. Write what computes it, in a module of this package, as one of three (`blueprint.metrics.frames` has the types):

   - ``per="frame"``: a function ``(batch: Batch) -> one value per frame`` (a list, or a tensor ``[B]``);
   - ``per="pair"``: a function ``(before: View, now: View) -> value`` of consecutive frames;
   - ``per="clip"``: a subclass of `ClipScore`, fed batch by batch, which may remember what it likes, sum the clip up in
     its own way and say in which frame or window it is worst.

   A value is None where the score is undefined.
2. Add a `Metric` to `REGISTERED`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from blueprint.digest import program_digest
from blueprint.errors import UserError
from blueprint.files import value_digest


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One score and how to read it."""

    name: str
    """As in the configuration and in the files of results."""
    title: str
    """As in tables and plots."""
    family: Literal["appearance", "geometry", "time"]
    better: Literal["higher", "lower"] = "lower"
    range: str
    unit: str = ""
    ideal: float = 0
    """Value of a variant that equals its render."""
    measures: str
    reference: str = "this workflow"
    smallest_px: int = 1
    """Smallest frame width and height the score is defined for."""
    weights: tuple[str, ...] = ()
    """Files of the torch cache it needs."""
    per: Literal["frame", "pair", "clip"] = "frame"
    computed_by: str
    """``module:name`` of what computes it; imported by the job alone."""
    clip_value: Literal["mean", "worst"] = "mean"
    """How the values of the frames become that of the clip (``per="clip"`` may do otherwise)."""
    thresholds: dict[str, float] = field(default_factory=dict)
    """Default ``warn`` and ``fail``; none for what is meant to change."""
    computed_by_default: bool = True

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1: a signed score is better the higher it is."""
        return 1 if self.better == "higher" else -1

    @property
    def module(self) -> str:
        """The module that computes it."""
        return self.computed_by.partition(":")[0]

    def load(self) -> Callable[..., Any]:
        """What computes it."""
        module, _, name = self.computed_by.partition(":")
        return getattr(importlib.import_module(module), name)

    def description(self) -> dict[str, Any]:
        """What a reader of results needs to know of it."""
        hidden = ("name", "per", "computed_by", "clip_value", "thresholds", "computed_by_default")
        return {key: value for key, value in asdict(self).items() if key not in hidden}


VGG16 = "vgg16-397923af.pth"
REGISTERED = (
    Metric(
        name="psnr",
        title="PSNR",
        family="appearance",
        better="higher",
        range="0 to 80",
        unit="dB",
        ideal=80,
        measures="mean squared difference of the pixels; identical frames give 80 dB, not infinity (piq adds 1e-8)",
        reference="piq.psnr",
        computed_by="blueprint.metrics.appearance:psnr",
    ),
    Metric(
        name="ssim",
        title="SSIM",
        family="appearance",
        better="higher",
        range="-1 to 1",
        ideal=1,
        measures="local luminance, contrast and structure",
        reference="Wang et al. 2004, doi:10.1109/TIP.2003.819861; piq.ssim",
        smallest_px=11,
        computed_by="blueprint.metrics.appearance:ssim",
    ),
    Metric(
        name="ms_ssim",
        title="MS-SSIM",
        family="appearance",
        better="higher",
        range="0 to 1",
        ideal=1,
        measures="SSIM over five scales",
        reference="Wang et al. 2003, doi:10.1109/ACSSC.2003.1292216; piq.multi_scale_ssim",
        smallest_px=161,
        computed_by="blueprint.metrics.appearance:ms_ssim",
    ),
    Metric(
        name="gmsd",
        title="GMSD",
        family="appearance",
        range="0 to 0.5",
        measures="spread of the similarity of luminance gradients",
        reference="Xue et al. 2014, doi:10.1109/TIP.2013.2293423; piq.gmsd",
        smallest_px=4,
        computed_by="blueprint.metrics.appearance:gmsd",
    ),
    Metric(
        name="vif",
        title="VIF",
        family="appearance",
        better="higher",
        range="0 to about 1; above 1 where the variant has more contrast",
        ideal=1,
        measures="share of the render's information that the variant keeps (pixel domain)",
        reference="Sheikh and Bovik 2006, doi:10.1109/TIP.2005.859378; piq.vif_p(variant, render)",
        smallest_px=41,
        computed_by="blueprint.metrics.appearance:vif",
        computed_by_default=False,
    ),
    Metric(
        name="haarpsi",
        title="HaarPSI",
        family="appearance",
        better="higher",
        range="0 to 1",
        ideal=1,
        measures="similarity of Haar wavelet coefficients, weighted by visibility",
        reference="Reisenhofer et al. 2018, doi:10.1016/j.image.2017.11.001; piq.haarpsi",
        smallest_px=16,
        computed_by="blueprint.metrics.appearance:haarpsi",
        computed_by_default=False,
    ),
    Metric(
        name="lpips",
        title="LPIPS",
        family="appearance",
        range="0 to about 1",
        measures="distance of VGG-16 features, weighted by human judgements",
        reference="Zhang et al. 2018, arXiv:1801.03924; piq.LPIPS",
        smallest_px=16,
        weights=("lpips_weights.pt", VGG16),
        per="clip",
        computed_by="blueprint.metrics.learned:Lpips",
        computed_by_default=False,
    ),
    Metric(
        name="dists",
        title="DISTS",
        family="appearance",
        range="0 to about 1",
        measures="distance of VGG-16 features that forgives a resampled texture",
        reference="Ding et al. 2020, arXiv:2004.07728; piq.DISTS",
        smallest_px=16,
        weights=("dists_weights.pt", VGG16),
        per="clip",
        computed_by="blueprint.metrics.learned:Dists",
        computed_by_default=False,
    ),
    Metric(
        name="edge_agreement",
        title="Edges",
        family="geometry",
        better="higher",
        range="0 to 1",
        ideal=1,
        measures="F-score of the variant's Canny edges against the render's, within a tolerance",
        reference="Canny 1986, doi:10.1109/TPAMI.1986.4767851; boundary measure of Martin et al. 2004, "
        "doi:10.1109/TPAMI.2004.1273918",
        smallest_px=16,
        computed_by="blueprint.metrics.geometry:edge_scores",
    ),
    Metric(
        name="depth_edge_agreement",
        title="Depth edges",
        family="geometry",
        better="higher",
        range="0 to 1",
        ideal=1,
        measures="share of the depth discontinuities, visible in the render, that the variant still shows",
        reference="this workflow, see below",
        smallest_px=16,
        computed_by="blueprint.metrics.geometry:depth_edge_scores",
    ),
    Metric(
        name="temporal_stability",
        title="Stability",
        family="time",
        better="higher",
        range="0 to 1",
        ideal=1,
        measures="warping error of the render over that of the variant, both relative to contrast; "
        "warped with the known cameras and depth",
        reference="warping error of Lai et al. 2018, arXiv:1808.00449, with exact geometry instead of optical flow",
        smallest_px=16,
        per="pair",
        computed_by="blueprint.metrics.stability:temporal_stability",
    ),
    Metric(
        name="lag",
        title="Lag",
        family="time",
        range="0 to 4",
        unit="frames",
        measures="by how many frames the variant is late or early; the frame of the render that fits best",
        smallest_px=24,
        per="clip",
        computed_by="blueprint.metrics.timing:Lag",
        thresholds={"warn": 0.5, "fail": 0.5},
    ),
    Metric(
        name="repeated_frames",
        title="Repeated frames",
        family="time",
        range="0 or more",
        unit="frames",
        measures="frames that repeat the one before while the render moves on",
        smallest_px=24,
        per="clip",
        computed_by="blueprint.metrics.timing:Repeated",
        thresholds={"warn": 0.5, "fail": 0.5},
    ),
    Metric(
        name="misalignment",
        title="Misalignment",
        family="geometry",
        range="0 or more",
        unit="degrees",
        measures="shift, turn or zoom of the whole frame, in the worst three frames",
        reference="Lucas and Kanade 1981, on structure",
        smallest_px=24,
        per="clip",
        computed_by="blueprint.metrics.displaced:Misalignment",
        thresholds={"warn": 0.155, "fail": 0.2},
    ),
    Metric(
        name="camera_motion",
        title="Camera motion",
        family="time",
        range="0 or more",
        measures="motion of the picture (DIS optical flow) against what depth and cameras predict, as a share of it",
        reference="Kroeger et al. 2016, arXiv:1603.03590",
        smallest_px=24,
        per="clip",
        computed_by="blueprint.metrics.timing:CameraMotion",
        thresholds={"warn": 0.6, "fail": 0.8},
    ),
    Metric(
        name="local_geometry",
        title="Local geometry",
        family="geometry",
        range="0 or more",
        unit="degrees",
        measures="displacement of something in the frame that lasts three frames, in the worst window",
        reference="Kroeger et al. 2016, arXiv:1603.03590",
        smallest_px=24,
        per="clip",
        computed_by="blueprint.metrics.displaced:LocalGeometry",
        thresholds={"warn": 0.2, "fail": 0.3},
    ),
    Metric(
        name="lost_content",
        title="Lost content",
        family="geometry",
        range="0 to 1",
        measures="share of structure that the worst window loses for three frames",
        smallest_px=24,
        per="clip",
        computed_by="blueprint.metrics.displaced:LostContent",
        thresholds={"warn": 0.9, "fail": 0.95},
    ),
    Metric(
        name="local_change",
        title="Local change",
        family="time",
        range="0 or more",
        measures="largest change of a place in the world that no light explains, in units of the frame's contrast",
        smallest_px=24,
        per="clip",
        computed_by="blueprint.metrics.steadiness:LocalChange",
        thresholds={"warn": 0.45, "fail": 0.6},
    ),
    Metric(
        name="flicker",
        title="Flicker",
        family="time",
        range="0 or more",
        unit="%",
        measures="brightness of surfaces going up and down from frame to frame, in the worst eight frames",
        smallest_px=24,
        per="clip",
        computed_by="blueprint.metrics.looks:Flicker",
        thresholds={"warn": 2.5, "fail": 4},
    ),
    Metric(
        name="look_jump",
        title="Jump of look",
        family="time",
        range="0 or more",
        measures="largest step or flash of brightness (10 % = 1) or hue (15 degrees = 1)",
        smallest_px=24,
        per="clip",
        computed_by="blueprint.metrics.looks:Jump",
        thresholds={"warn": 0.6, "fail": 0.9},
    ),
    Metric(
        name="look_drift",
        title="Drift of look",
        family="time",
        range="0 or more",
        measures="largest drift of brightness (20 % = 1) or hue (30 degrees = 1) of surfaces",
        smallest_px=24,
        per="clip",
        computed_by="blueprint.metrics.looks:Drift",
        thresholds={"warn": 0.7, "fail": 0.9},
    ),
    Metric(
        name="sharpness",
        title="Sharpness",
        family="geometry",
        better="higher",
        range="0 to about 1",
        ideal=1,
        measures="share of the fine detail of the render's edges that is kept",
        smallest_px=24,
        computed_by="blueprint.metrics.sharpness:sharpness",
        thresholds={"warn": 0.85, "fail": 0.8},
    ),
)
METRICS = {metric.name: metric for metric in REGISTERED}


def code_digests(names: list[str]) -> dict[str, str]:
    """Digest of the code that computes each score, which a score is kept by: one more score makes no other again."""
    found = {}
    for name in names:
        metric = METRICS[name]
        code = program_digest("metrics", metric.module, __name__)
        found[name] = value_digest([metric.computed_by, metric.per, metric.clip_value, metric.weights, code])[:16]
    return found


def check_names(names: list[str], clips: dict[str, dict[str, Any]], source: str) -> None:
    """Refuse scores that the configured frame sizes do not admit.

    Args:
        names: the configured scores.
        clips: width and height in pixels of every clip, by a name that the message can show.
        source: the configuration file that the message names.

    Raises:
        UserError: a clip is smaller than a score needs.
    """
    for name in names:
        need = METRICS[name].smallest_px
        for clip, spec in clips.items():
            if min(spec["width"], spec["height"]) < need:
                raise UserError(
                    f"{source}: metrics.names: {name} needs frames of at least {need} x {need} pixels; clip {clip} has "
                    f"{spec['width']} x {spec['height']}. Render larger frames or take {name} out of metrics.names."
                )


def as_markdown() -> str:
    """The catalogue as the table of docs/metrics.md."""
    lines = ["| name | better | range | ideal | measures | reference |", "|---|---|---|---|---|---|"]
    for name, metric in METRICS.items():
        span = f"{metric.range} {metric.unit}".strip()
        lines.append(
            f"| `{name}` | {metric.better} | {span} | {metric.ideal:g} | {metric.measures} | {metric.reference} |"
        )
    return "\n".join(lines)
