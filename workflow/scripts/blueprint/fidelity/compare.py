"""A photo against the render at its camera: PSNR and SSIM, as they are and after a fit of the photo's colours.

PSNR is piq's (1e-8 is added to the error, so that equal pictures give 80 dB) and SSIM is that of Wang et al. 2004 with
a Gaussian window of 11 pixels, as scikit-image and piq compute it at full resolution; both over 0-1, colours alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

EPSILON = 1e-8
WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
LEAST_PIXELS = 64


def psnr(photo: np.ndarray, render: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB of pictures [H, W, 3] in 0-1, over the pixels of a mask [H, W]."""
    error = np.square(photo.astype(np.float64) - render)
    return float(-10 * np.log10((error if mask is None else error[mask]).mean() + EPSILON))


def ssim(photo: np.ndarray, render: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean structural similarity of pictures [H, W, 3] in 0-1, over windows whose centres lie in a mask [H, W].

    Windows that reach beyond the picture do not count. What a mask leaves out is one grey in both.
    """
    a, b = photo.astype(np.float64), render.astype(np.float64)
    if mask is not None:
        level = a[mask].mean(axis=0)
        a, b = (np.where(mask[..., None], picture, level) for picture in (a, b))

    def blurred(picture: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(picture, (WINDOW, WINDOW), SIGMA)

    mean_a, mean_b = blurred(a), blurred(b)
    cross = mean_a * mean_b
    square_a, square_b = mean_a**2, mean_b**2
    spread = blurred(a * a) + blurred(b * b) - square_a - square_b
    together = blurred(a * b) - cross
    found = (2 * cross + C1) * (2 * together + C2) / ((square_a + square_b + C1) * (spread + C2))
    inner = slice(WINDOW // 2, -(WINDOW // 2))
    found = found[inner, inner]
    return float((found if mask is None else found[mask[inner, inner]]).mean())


def colour_fitted(photo: np.ndarray, render: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """The render [H, W, 3] with the affine change of its colours that brings it nearest to the photo.

    A phone sets exposure and white balance afresh for every photo; the scan has one colour for all of them.
    """
    chosen = slice(None) if mask is None else mask.reshape(-1)
    pixels, wanted = render.reshape(-1, 3)[chosen], photo.reshape(-1, 3)[chosen]
    with_one = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1, dtype=np.float64)
    change = np.linalg.lstsq(with_one.T @ with_one, with_one.T @ wanted, rcond=1e-9)[0]
    flat = render.reshape(-1, 3) @ change[:3] + change[3]
    return np.clip(flat, 0, 1).reshape(render.shape).astype(np.float32)


@dataclass(frozen=True)
class Compared:
    """One pair, compared."""

    scores: dict[str, float]
    """``psnr`` and ``ssim``, ``psnr_fitted`` and ``ssim_fitted`` after the fit of colours."""
    fitted: np.ndarray  # [H, W, 3] float32
    error: np.ndarray  # [H, W] float32, mean absolute difference after the fit; 0 outside the mask


def compare(photo: np.ndarray, render: np.ndarray, mask: np.ndarray | None = None) -> Compared:
    """Compare a photo [H, W, 3] in 0-1 with the render of the same view, where a mask [H, W] is true."""
    fitted = colour_fitted(photo, render, mask)
    error = np.abs(photo - fitted).mean(axis=-1)
    scores = {
        "psnr": psnr(photo, render, mask),
        "ssim": ssim(photo, render, mask),
        "psnr_fitted": psnr(photo, fitted, mask),
        "ssim_fitted": ssim(photo, fitted, mask),
    }
    return Compared(
        {name: round(value, 6) for name, value in scores.items()},
        fitted,
        (error if mask is None else error * mask).astype(np.float32),
    )
