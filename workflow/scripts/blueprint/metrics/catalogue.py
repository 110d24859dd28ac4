"""What every score measures: direction, range, unit, ideal value, smallest frame, reference. Needs no libraries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from blueprint.errors import UserError


@dataclass(frozen=True)
class Metric:
    """One score and how to read it."""

    title: str
    family: Literal["appearance", "geometry", "time"]
    better: Literal["higher", "lower"]
    range: str
    unit: str
    ideal: float
    """Value of a variant that equals its render."""
    measures: str
    reference: str
    smallest_px: int = 1
    """Smallest frame width and height the score is defined for."""
    weights: tuple[str, ...] = ()
    """Files of the torch cache it needs."""


VGG16 = "vgg16-397923af.pth"
METRICS = {
    "psnr": Metric(
        title="PSNR",
        family="appearance",
        better="higher",
        range="0 to 80",
        unit="dB",
        ideal=80,
        measures="mean squared difference of the pixels; identical frames give 80 dB, not infinity (piq adds 1e-8)",
        reference="piq.psnr",
    ),
    "ssim": Metric(
        title="SSIM",
        family="appearance",
        better="higher",
        range="-1 to 1",
        unit="",
        ideal=1,
        measures="local luminance, contrast and structure",
        reference="Wang et al. 2004, doi:10.1109/TIP.2003.819861; piq.ssim",
        smallest_px=11,
    ),
    "ms_ssim": Metric(
        title="MS-SSIM",
        family="appearance",
        better="higher",
        range="0 to 1",
        unit="",
        ideal=1,
        measures="SSIM over five scales",
        reference="Wang et al. 2003, doi:10.1109/ACSSC.2003.1292216; piq.multi_scale_ssim",
        smallest_px=161,
    ),
    "gmsd": Metric(
        title="GMSD",
        family="appearance",
        better="lower",
        range="0 to 0.5",
        unit="",
        ideal=0,
        measures="spread of the similarity of luminance gradients",
        reference="Xue et al. 2014, doi:10.1109/TIP.2013.2293423; piq.gmsd",
        smallest_px=4,
    ),
    "vif": Metric(
        title="VIF",
        family="appearance",
        better="higher",
        range="0 to about 1; above 1 where the variant has more contrast",
        unit="",
        ideal=1,
        measures="share of the render's information that the variant keeps (pixel domain)",
        reference="Sheikh and Bovik 2006, doi:10.1109/TIP.2005.859378; piq.vif_p(variant, render)",
        smallest_px=41,
    ),
    "haarpsi": Metric(
        title="HaarPSI",
        family="appearance",
        better="higher",
        range="0 to 1",
        unit="",
        ideal=1,
        measures="similarity of Haar wavelet coefficients, weighted by visibility",
        reference="Reisenhofer et al. 2018, doi:10.1016/j.image.2017.11.001; piq.haarpsi",
        smallest_px=16,
    ),
    "lpips": Metric(
        title="LPIPS",
        family="appearance",
        better="lower",
        range="0 to about 1",
        unit="",
        ideal=0,
        measures="distance of VGG-16 features, weighted by human judgements",
        reference="Zhang et al. 2018, arXiv:1801.03924; piq.LPIPS",
        smallest_px=16,
        weights=("lpips_weights.pt", VGG16),
    ),
    "dists": Metric(
        title="DISTS",
        family="appearance",
        better="lower",
        range="0 to about 1",
        unit="",
        ideal=0,
        measures="distance of VGG-16 features that forgives a resampled texture",
        reference="Ding et al. 2020, arXiv:2004.07728; piq.DISTS",
        smallest_px=16,
        weights=("dists_weights.pt", VGG16),
    ),
    "edge_agreement": Metric(
        title="Edges",
        family="geometry",
        better="higher",
        range="0 to 1",
        unit="",
        ideal=1,
        measures="F-score of the variant's Canny edges against the render's, within a tolerance",
        reference="Canny 1986, doi:10.1109/TPAMI.1986.4767851; boundary measure of Martin et al. 2004, "
        "doi:10.1109/TPAMI.2004.1273918",
        smallest_px=16,
    ),
    "depth_edge_agreement": Metric(
        title="Depth edges",
        family="geometry",
        better="higher",
        range="0 to 1",
        unit="",
        ideal=1,
        measures="share of the silhouettes in the rendered depth, visible in the render, that the variant still shows",
        reference="this workflow, see below",
        smallest_px=16,
    ),
    "temporal_stability": Metric(
        title="Stability",
        family="time",
        better="higher",
        range="0 to 1",
        unit="",
        ideal=1,
        measures="warping error of the render over that of the variant, both relative to contrast; "
        "warped with the known cameras and depth",
        reference="warping error of Lai et al. 2018, arXiv:1808.00449, with exact geometry instead of optical flow",
        smallest_px=16,
    ),
}


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
