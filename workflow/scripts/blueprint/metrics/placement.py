"""Where does the variant show what the render shows? As a whole (shift, turn, zoom) and window by window.

Displacement is DIS optical flow (Kroeger et al. 2016, arXiv:1603.03590) from render to variant, between what both show
whatever their light (`working.structure`). It counts where render and variant agree once it is undone, so a new
material, which agrees with nothing, claims nothing. The displacement of the whole frame is then refined on the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from blueprint.metrics.frames import Batch
from blueprint.metrics.working import Moment, moments_of, pixel_grid, windows

WINDOW_PX = 20
RECOGNISED = 0.6
"""Correlation from which a window of the variant is that of the render."""
SURE = 0.75
"""Correlation from which a window may be said to lie elsewhere,"""
BETTER = 0.25
"""if it exceeds that in place by this much."""
LEAST_STRUCTURE = 0.15
"""Mean square of structure from which a window shows something."""
CLEAR = 0.4
"""Mean square of structure from which a window cannot go unnoticed."""
DARK = 0.4
"""A window with less of the frame's median brightness has a right to show nothing."""
FEWEST = 4
"""Windows that must be recognised to speak of the frame,"""
LEAST_RECOGNISED = 0.4
"""and the share of the render's structure that they must hold."""


@dataclass(frozen=True)
class Placement:
    """Where one frame of the variant lies against its render; pixels are those of working frames."""

    shift_px: np.ndarray  # [2] x, y in the middle of the frame
    turn_deg: float
    zoom: float  # 0 is none
    apart_px: float | None  # root mean square over the frame; None where nothing is recognised
    local_px: np.ndarray  # [rows, columns] displacement of windows that the frame's does not explain
    kept: np.ndarray  # [rows, columns] structure left of the render's, 1 being the frame's median; 1 where unknown


def flow_of(was: np.ndarray, now: np.ndarray, finest_scale: int) -> np.ndarray:
    """Displacement [H, W, 2] in pixels by which the structure ``now`` shows what ``was`` shows at a pixel.

    Flow is found down to frames of 1/2^finest_scale of the size.
    """
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setFinestScale(finest_scale)
    return search.calc(*(np.clip(128 + 42 * part, 0, 255).astype(np.uint8) for part in (was, now)), None)


def placements_of(batch: Batch) -> list[Placement]:
    """The placement of every frame of a batch."""
    return [placement(moment) for moment in batch.shared(moments_of)]


def placement(moment: Moment) -> Placement:
    """The placement of one frame."""
    render, variant = moment.structures
    known = windows((moment.solid > 0).astype(np.float32), WINDOW_PX) > 0.5
    strong = np.square(render) * (moment.solid > 0)
    energy = windows(strong, WINDOW_PX)
    field = windows(flow_of(render, variant, 1) * strong[..., None], WINDOW_PX) / (energy[..., None] + 1e-3)
    places = _places(energy.shape, render.shape)
    shows = known & (energy > LEAST_STRUCTURE)
    smooth = cv2.resize(field, render.shape[::-1], interpolation=cv2.INTER_LINEAR)
    reached = _correlation(render, _looked_up(variant, smooth), energy)
    weight = np.where(shows & (reached > RECOGNISED), energy, 0)
    kept = _kept(moment, render, variant, shows)
    if np.count_nonzero(weight) < FEWEST or weight.sum() < LEAST_RECOGNISED * energy[shows].sum():
        return Placement(np.zeros(2), 0.0, 0.0, None, np.zeros(energy.shape), kept)
    motion = _refined(_fitted(field, weight, places), moment, render, variant)
    model = _displacement(motion, *places)
    apart_px = float(np.sqrt(np.average(np.square(model).sum(-1), weights=weight)))
    everywhere = _displacement(motion, *_pixels(render.shape))
    agreement = _correlation(render, _looked_up(variant, everywhere), energy)
    rest = np.linalg.norm(field - model, axis=-1)
    elsewhere = (weight > 0) & (reached > SURE) & (reached > agreement + BETTER)
    local_px = np.where(elsewhere, rest, 0)
    turn_deg, zoom = float(np.degrees(motion[3])), float(motion[2])
    return Placement(motion[:2], turn_deg, zoom, apart_px, local_px, kept)


def _kept(moment: Moment, render: np.ndarray, variant: np.ndarray, shows: np.ndarray) -> np.ndarray:
    """How much of the render's structure windows keep [rows, columns]; what is merely dark is not lost."""
    if not shows.any():
        return np.ones(shows.shape)
    grey = cv2.cvtColor(moment.variant, cv2.COLOR_RGB2GRAY).astype(np.float32)
    light = windows(grey, WINDOW_PX)
    clear = windows(np.square(render), WINDOW_PX)
    left = windows(np.square(variant), WINDOW_PX) / np.maximum(clear, 1e-3)
    lit = light > DARK * np.median(light[shows])
    usual = float(np.median(left[shows]))
    return np.where(shows & lit & (clear > CLEAR), left / max(usual, 1e-3), 1)


def _looked_up(picture: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    return cv2.remap(picture, pixel_grid(*picture.shape) + displacement.astype(np.float32), None, cv2.INTER_LINEAR)


def _correlation(render: np.ndarray, other: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """Correlation of windows [rows, columns]."""
    return windows(render * other, WINDOW_PX) / np.sqrt(energy * windows(np.square(other), WINDOW_PX) + 1e-4)


def _pixels(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """x and y of pixels from the middle of the frame, [1, W] and [H, 1]."""
    height, width = shape
    return np.arange(width)[None] - width / 2, np.arange(height)[:, None] - height / 2


def _places(shape: tuple[int, ...], frame: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """x and y of windows from the middle of the frame, [1, columns] and [rows, 1]."""
    (rows, columns), (height, width), half = shape, frame, WINDOW_PX // 2
    return (np.arange(columns)[None] + 1) * half - width / 2, (np.arange(rows)[:, None] + 1) * half - height / 2


def _displacement(motion: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Displacement [..., 2] at places under a shift (2), a zoom and a turn in radians."""
    right, down, zoom, turn = motion
    moved = np.empty((*np.broadcast_shapes(x.shape, y.shape), 2))
    moved[..., 0], moved[..., 1] = right + zoom * x - turn * y, down + zoom * y + turn * x
    return moved


def _fitted(field: np.ndarray, weight: np.ndarray, places: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Shift, zoom and turn [4] that explain most of the field [rows, columns, 2], outliers left aside."""
    basis = np.stack([_displacement(unit, *places) for unit in np.eye(4)], -1)  # [rows, columns, 2, 4]
    trust, motion = weight, np.zeros(4)
    for _ in range(4):
        weighted = basis * trust[..., None, None]
        normal = np.einsum("rcki,rckj->ij", weighted, basis) + np.diag([1e-6, 1e-6, 1e-2, 1e-2])
        motion = np.linalg.solve(normal, np.einsum("rcki,rck->i", weighted, field))
        rest = np.linalg.norm(field - basis @ motion, axis=-1)
        trust = weight / (1 + np.square(rest / 0.4))
    return motion


def _refined(motion: np.ndarray, moment: Moment, render: np.ndarray, variant: np.ndarray) -> np.ndarray:
    """The motion [4] after two steps of Gauss and Newton on the pixels that agree (Lucas and Kanade 1981)."""
    x, y = _pixels(render.shape)
    across, down = cv2.Scharr(render, cv2.CV_32F, 1, 0) / 32, cv2.Scharr(render, cv2.CV_32F, 0, 1) / 32
    slopes = np.empty((*render.shape, 4))
    for index, slope in enumerate((across, down, across * x + down * y, down * x - across * y)):
        slopes[..., index] = slope
    for _ in range(2):
        back = _looked_up(variant, _displacement(motion, x, y))
        gain = float((back * render * (moment.solid > 0)).sum() / max(np.square(render).sum(), 1e-6))
        if gain < 0.2:
            break
        apart = back / gain - render
        trust = (moment.solid > 0) / (1 + np.square(apart / 0.5))
        weighted = (slopes * trust[..., None]).reshape(-1, 4)
        flat = slopes.reshape(-1, 4)
        normal = weighted.T @ flat + np.diag([1.0, 1.0, 1e3, 1e3])
        motion = motion - np.linalg.solve(normal, weighted.T @ apart.reshape(-1))
    return motion
