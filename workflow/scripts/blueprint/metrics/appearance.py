"""PSNR, SSIM, MS-SSIM, GMSD, VIF and HaarPSI: the numbers of `piq`, for less work.

`piq` convolves with two-dimensional kernels, converts colours again in every function and evaluates SSIM's first scale
twice. Every kernel it uses is separable, so here each pass is a handful of shifted additions; luminance, and the scale
that SSIM and MS-SSIM share, are computed once. The tests hold each score to `piq`'s within 1e-4.

What the render does not know (`working.solid_where`) is left out: there the variant is given the render's pixels, so
that no window sees a difference, and every mean is over the places that the render knows. Without background there are
no weights, and nothing differs from `piq`.
"""

from __future__ import annotations

from functools import cache, cached_property

import numpy as np
import torch
import torch.nn.functional as F

from blueprint.metrics.frames import Batch
from blueprint.metrics.working import BORDER_PX, WIDTH_PX, solid_where

LUMINANCE = (0.299, 0.587, 0.114)  # red, green, blue (BT.601)
CHROMA_I = (0.5959, -0.2746, -0.3213)
CHROMA_Q = (0.2115, -0.5227, 0.3112)
SSIM_TAPS = 11
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


@cache
def _gaussian(size: int, sigma: float) -> list[float]:
    taps = torch.exp(-((torch.arange(size, dtype=torch.float64) - (size - 1) / 2) ** 2) / (2 * sigma**2))
    return (taps / taps.sum()).tolist()


def _correlate(image: torch.Tensor, taps: list[float], dim: int) -> torch.Tensor:
    """Correlate along one axis, only where the taps fit ("valid"): far faster on a CPU than a depthwise convolution."""
    length = image.shape[dim] - len(taps) + 1
    total = image.narrow(dim, 0, length) * taps[0]
    for offset, tap in enumerate(taps[1:], start=1):
        total.add_(image.narrow(dim, offset, length), alpha=tap)
    return total


def _blur(image: torch.Tensor, taps: list[float]) -> torch.Tensor:
    return _correlate(_correlate(image, taps, -2), taps, -1)


def _mix(rgb: torch.Tensor, weights: tuple[float, float, float]) -> torch.Tensor:
    """[B, 3, H, W] -> [B, 1, H, W]"""
    red, green, blue = rgb.split(1, dim=1)
    return (red * weights[0]).add_(green, alpha=weights[1]).add_(blue, alpha=weights[2])


def _halve(image: torch.Tensor) -> torch.Tensor:
    padding = max(image.shape[-2] % 2, image.shape[-1] % 2)
    return F.avg_pool2d(F.pad(image, (0, padding, 0, padding)), 2)


def _inner(known: torch.Tensor | None, taps: int) -> torch.Tensor | None:
    """Weights [B, 1, H, W] of the places where so many taps fit."""
    margin = taps // 2
    return None if known is None else known[..., margin : known.shape[-2] - margin, margin : known.shape[-1] - margin]


def _mean(values: torch.Tensor, known: torch.Tensor | None) -> torch.Tensor:
    """Mean [B, C] of values [B, C, H, W] where the render is known (weights [B, 1, H, W]); NaN where it is nowhere."""
    if known is None:
        return values.mean((-1, -2))
    return (values * known).sum((-1, -2)) / known.sum((-1, -2))


def _similarity(a: torch.Tensor, b: torch.Tensor, constant: float) -> torch.Tensor:
    return (2 * a * b + constant) / (a * a + b * b + constant)


def as_tensor(frames: np.ndarray, device: str) -> torch.Tensor:
    """[B, H, W, 3] uint8 -> [B, 3, H, W] float32 in 0-1"""
    planar = np.ascontiguousarray(frames.transpose(0, 3, 1, 2))
    return torch.from_numpy(planar).to(device).float().div_(255)


class FramePairs:
    """A batch of frames of the variant and of the render, [B, 3, H, W] in 0-1, and what several scores need of them."""

    def __init__(self, batch: Batch) -> None:
        self.variant, self.render = (as_tensor(frames, batch.device) for frames in (batch.variant, batch.render))
        assert self.variant.shape == self.render.shape, (self.variant.shape, self.render.shape)
        self.known = _known(batch)
        if self.known is not None:
            self.variant = torch.where(self.known > 0, self.variant, self.render)

    @cached_property
    def luminance(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Luminance of variant and render, [B, 1, H, W] in 0-1."""
        return _mix(self.variant, LUMINANCE), _mix(self.render, LUMINANCE)

    @cached_property
    def half_luminance(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Luminance at half the size, [B, 1, H/2, W/2] in 0-1."""
        return _halve(self.luminance[0]), _halve(self.luminance[1])

    @cached_property
    def full_scale_ssim(self) -> tuple[torch.Tensor, torch.Tensor]:
        """SSIM and its contrast term at the frames' own scale, [B, 3] each."""
        return ssim_terms(self.variant, self.render, self.known)


def _known(batch: Batch) -> torch.Tensor | None:
    """Weights [B, 1, H, W], 1 where the render knows what it shows; None if it does everywhere."""
    border_px = round(BORDER_PX * max(1.0, batch.render.shape[2] / WIDTH_PX))
    solid = [solid_where(alpha, depth_m, border_px) for alpha, depth_m in zip(batch.alpha, batch.depth_m, strict=True)]
    if all(mask.all() for mask in solid):
        return None
    return torch.from_numpy(np.stack(solid)).to(batch.device)[:, None].gt(0).float()


def ssim_terms(
    x: torch.Tensor, y: torch.Tensor, known: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean SSIM and mean contrast-structure term of every channel, [B, C] each, weighted by ``known`` [B, 1, H, W].

    One channel at a time: what a CPU works on then fits its caches.
    """
    within = _inner(known, SSIM_TAPS)
    channels = [_channel_ssim_terms(*pair, within) for pair in zip(x.split(1, 1), y.split(1, 1), strict=True)]
    similarity, contrast = zip(*channels, strict=True)
    return torch.cat(similarity, 1), torch.cat(contrast, 1)


def _channel_ssim_terms(
    x: torch.Tensor, y: torch.Tensor, known: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    c1, c2 = 0.01**2, 0.03**2
    taps = _gaussian(SSIM_TAPS, 1.5)
    mean_x, mean_y = _blur(x, taps), _blur(y, taps)
    mean_xy = mean_x * mean_y
    mean_squares = mean_x.square_().add_(mean_y.square_())
    covariance = _blur(x * y, taps).sub_(mean_xy)
    variances = _blur((x * x).addcmul_(y, y), taps).sub_(mean_squares)
    contrast = covariance.mul_(2).add_(c2).div_(variances.add_(c2))
    similarity = mean_xy.mul_(2).add_(c1).div_(mean_squares.add_(c1)).mul_(contrast)
    return _mean(similarity, known), _mean(contrast, known)


def _images(pairs: FramePairs) -> list[torch.Tensor | None]:
    """Variant, render and weights, as `ssim_terms` takes them."""
    return [pairs.variant, pairs.render, pairs.known]


def psnr(batch: Batch) -> torch.Tensor:
    """Peak signal-to-noise ratio in dB, [B]; 80 dB for identical frames."""
    pairs = batch.shared(FramePairs)
    error = _mean((pairs.variant - pairs.render).square_(), pairs.known).mean(1)
    return -10 * torch.log10(error + 1e-8)


def ssim(batch: Batch) -> torch.Tensor:
    """Structural similarity, [B]; frames are first averaged down to about 256 pixels, as the authors advise."""
    pairs = batch.shared(FramePairs)
    factor = max(1, round(min(pairs.render.shape[-2:]) / 256))
    if factor == 1:
        return pairs.full_scale_ssim[0].mean(1)
    smaller = (None if image is None else F.avg_pool2d(image, factor) for image in _images(pairs))
    return ssim_terms(*smaller)[0].mean(1)


def ms_ssim(batch: Batch) -> torch.Tensor:
    """Structural similarity over five scales, [B]."""
    pairs = batch.shared(FramePairs)
    images = _images(pairs)
    similarity, contrast = pairs.full_scale_ssim
    terms = [contrast]
    for _ in MS_SSIM_WEIGHTS[1:]:
        padding = [max(size % 2 for size in images[0].shape[-2:]), 0] * 2
        images = [
            None if image is None else F.avg_pool2d(F.pad(image, padding, mode="replicate"), 2) for image in images
        ]
        similarity, contrast = ssim_terms(*images)
        terms.append(contrast)
    terms[-1] = similarity
    weights = torch.tensor(MS_SSIM_WEIGHTS, dtype=contrast.dtype, device=contrast.device).view(-1, 1, 1)
    return (torch.relu(torch.stack(terms)) ** weights).prod(0).mean(1)


def gmsd(batch: Batch) -> torch.Tensor:
    """Gradient magnitude similarity deviation, [B]."""
    pairs = batch.shared(FramePairs)
    magnitudes = []
    for image in pairs.half_luminance:
        padded = F.pad(image, (1, 1, 1, 1))
        across = _correlate(_correlate(padded, [-1 / 3, 0, 1 / 3], -1), [1, 1, 1], -2)
        down = _correlate(_correlate(padded, [-1 / 3, 0, 1 / 3], -2), [1, 1, 1], -1)
        magnitudes.append(across.square_().add_(down.square_()).sqrt_())
    similarity = _similarity(*magnitudes, constant=170 / 255**2)
    if pairs.known is None:
        return similarity.std((1, 2, 3), correction=0)
    known = _halve(pairs.known)
    return _mean((similarity - _mean(similarity, known)[..., None, None]).square_(), known)[:, 0].sqrt()


def vif(batch: Batch) -> torch.Tensor:
    """Visual information fidelity in the pixel domain, [B]."""
    pairs = batch.shared(FramePairs)
    epsilon, visual_noise = 1e-8, 2.0
    x, y = (image * 255 for image in pairs.luminance)
    known = pairs.known
    kept = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    available = kept.clone()
    for scale in range(4):
        size = 2 ** (4 - scale) + 1
        taps = _gaussian(size, size / 5)
        if scale:
            x, y = _blur(x, taps)[..., ::2, ::2], _blur(y, taps)[..., ::2, ::2]
            known = None if known is None else _inner(known, size)[..., ::2, ::2]
        mean_x, mean_y = _blur(x, taps), _blur(y, taps)
        variance_x = (_blur(x * x, taps) - mean_x * mean_x).relu_()
        variance_y = (_blur(y * y, taps) - mean_y * mean_y).relu_()
        covariance = _blur(x * y, taps) - mean_x * mean_y
        # The variant is modelled as gain * render + noise; where either is flat there is no gain to speak of.
        flat_x, flat_y = variance_x < epsilon, variance_y < epsilon
        gain = covariance / (variance_y + epsilon)
        noise = variance_x - gain * covariance
        negative = gain < 0
        gain.masked_fill_(flat_x | flat_y | negative, 0)
        noise = torch.where((flat_y & ~flat_x) | negative, variance_x, noise.masked_fill(flat_x, 0))
        variance_y.masked_fill_(flat_y, 0)
        within = 1 if known is None else _inner(known, size)
        of_variant = torch.log10(1 + gain.square() * variance_y / (noise.clamp_min(epsilon) + visual_noise))
        kept += (of_variant * within).sum((1, 2, 3))
        available += (torch.log10(1 + variance_y / visual_noise) * within).sum((1, 2, 3))
    return (kept + epsilon) / (available + epsilon)


def haarpsi(batch: Batch) -> torch.Tensor:
    """Haar wavelet-based perceptual similarity, [B]."""
    pairs = batch.shared(FramePairs)
    constant, alpha = 30.0, 4.2
    details = []  # of variant and render: at each of three scales, across and down
    for image in pairs.half_luminance:
        bands = []
        for scale in (1, 2, 3):
            size = 2**scale
            sums, steps = [255 / size] * size, [1] * (size // 2) + [-1] * (size // 2)
            padded = F.pad(image, (size // 2 - 1, size // 2, size // 2 - 1, size // 2))
            bands.append(
                (
                    _correlate(_correlate(padded, steps, -2), sums, -1).abs_(),
                    _correlate(_correlate(padded, steps, -1), sums, -2).abs_(),
                )
            )
        details.append(bands)
    variant, render = details
    similarities, weights = [], []
    for orientation in (0, 1):
        fine = [_similarity(variant[scale][orientation], render[scale][orientation], constant) for scale in (0, 1)]
        similarities.append((fine[0] + fine[1]) / 2)
        weights.append(torch.maximum(variant[2][orientation], render[2][orientation]))
    chroma = []
    for mix in (CHROMA_I, CHROMA_Q):
        smooth = [
            F.avg_pool2d(F.pad(_halve(_mix(image, mix)), (0, 1, 0, 1)), 2, stride=1).mul_(255).abs_()
            for image in (pairs.variant, pairs.render)
        ]
        chroma.append(_similarity(*smooth, constant))
    similarities.append((chroma[0] + chroma[1]) / 2)
    weights.append((weights[0] + weights[1]) / 2)
    epsilon = torch.finfo(weights[0].dtype).eps
    weight = torch.cat(weights, 1) if pairs.known is None else torch.cat(weights, 1) * _halve(pairs.known)
    score = ((torch.cat(similarities, 1) * alpha).sigmoid_() * weight).sum((1, 2, 3)) + epsilon
    return torch.square(torch.logit(score / (weight.sum((1, 2, 3)) + epsilon)) / alpha)
