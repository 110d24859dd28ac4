"""Every chosen photo compared with the render at its camera; a comparison that is known already is kept."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from blueprint import files
from blueprint.fidelity.compare import compare
from blueprint.fidelity.photos import Shot
from blueprint.fidelity.pictures import as_bytes, error_map, save, strip
from blueprint.fidelity.refine import refine
from blueprint.fidelity.scan import Scan
from blueprint.kept import KeptValues
from blueprint.render import Renderer

log = logging.getLogger(__name__)

REFINE_PX = 320  # longer side of the pictures that a camera is moved by
KEPT_EVERY = 10


@dataclass(frozen=True)
class PhotoScores:
    """The compared photos of a facility."""

    photos: dict[str, dict[str, Any]]
    """Per photo its scores, ``held_out``, ``shift_px``, and ``picture``, the file of its error map."""
    folder: Path

    def mean(self, score: str, held_out: bool) -> float | None:
        """Mean of a score over the photos that the trainer did not see, or the others; None if there are none."""
        values = [entry[score] for entry in self.photos.values() if bool(entry["held_out"]) == held_out]
        return float(np.mean(values)) if values else None

    def figures(self) -> dict[str, float | None]:
        """The figures that photos give; colours are fitted in them."""
        held_out, seen = self.mean("psnr_fitted", True), self.mean("psnr_fitted", False)
        shifts = [entry["shift_px"] for entry in self.photos.values() if entry["shift_px"] is not None]
        return {
            "psnr_held_out": held_out,
            "overfit": None if held_out is None or seen is None else seen - held_out,
            "camera_shift": float(np.median(shifts)) if shifts else None,
        }

    def worst(self, count: int) -> list[str]:
        """Names of the photos that the scan shows worst."""
        return sorted(self.photos, key=lambda name: self.photos[name]["psnr_fitted"])[:count]

    def worst_pictures(self, count: int) -> list[np.ndarray]:
        """Their pictures."""
        return [cv2.imread(str(self.folder / self.photos[name]["picture"]))[..., ::-1] for name in self.worst(count)]

    def to_json(self) -> dict[str, Any]:
        """The scores as ``fidelity.json`` holds them."""
        names = ("psnr", "ssim", "psnr_fitted", "ssim_fitted")
        counts = {"held_out": True, "seen": False}
        return {
            "compared": self.photos,
            "count": {
                key: sum(bool(entry["held_out"]) == value for entry in self.photos.values())
                for key, value in counts.items()
            },
            "split_known": any(entry["held_out"] is not None for entry in self.photos.values()),
            "mean": {key: {name: self.mean(name, value) for name in names} for key, value in counts.items()},
            "worst": self.worst(6),
        }


def compare_photos(scan: Scan, shots: list[Shot], spec: dict[str, Any], key: list[Any], folder: Path) -> PhotoScores:
    """Compare photos with renders at their cameras.

    Args:
        scan: the scene.
        shots: the photos.
        spec: ``width_px`` (if any) and ``refine_px``.
        key: all that a comparison depends on besides its photo.
        folder: the error maps go into its ``photos``, kept comparisons into ``.kept``.

    Raises:
        UserError: a photo cannot be read.
    """
    how = {name: spec.get(name) for name in ("width_px", "refine_px")}
    kept = KeptValues(folder, {shot.name: files.value_digest([key, how, shot.depends_on()]) for shot in shots})
    renderers = Renderers(scan)
    fresh: dict[str, dict[str, Any]] = {}
    for number, shot in enumerate(shots, start=1):
        known = kept.values.get(shot.name)
        if known is not None and (folder / known["picture"]).is_file():
            continue
        fresh[shot.name] = _compare(renderers, shot, how, folder)
        if len(fresh) % KEPT_EVERY == 0 or number == len(shots):
            kept.add(fresh)
            log.info("%d of %d photos", number, len(shots))
    kept.add(fresh)
    log.info("%d photos compared, %d known already", len(fresh), len(shots) - len(fresh))
    return PhotoScores({shot.name: kept.values[shot.name] for shot in shots}, folder)


class Renderers:
    """Renderers of a scene by picture size, the latest few of them."""

    MOST = 4

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self.made: dict[tuple[int, int], Renderer] = {}

    def of(self, size: tuple[int, int]) -> Renderer:
        """The renderer of a size (width, height)."""
        if size not in self.made:
            if len(self.made) == self.MOST:
                del self.made[next(iter(self.made))]
            self.made[size] = self.scan.make_renderer(self.scan.scene, *size, **self.scan.options)
        return self.made[size]


def _compare(renderers: Renderers, shot: Shot, how: dict[str, Any], folder: Path) -> dict[str, Any]:
    photo, mask = shot.pictures(how["width_px"])
    size = photo.shape[1], photo.shape[0]
    render = renderers.of(size).frame(shot.photo.viewmat, shot.K(size), shot.lens).rgb
    compared = compare(photo, render, mask)
    found: dict[str, Any] = {**compared.scores, "held_out": shot.held_out, "shift_px": None, "gain_db": None}
    if how["refine_px"]:
        found |= _shift(renderers, shot, photo, mask, how["refine_px"])
    target = Path("photos") / f"{'-'.join(Path(shot.name).with_suffix('').parts)}.png"
    kind = {True: "held out", False: "seen", None: "photo"}[shot.held_out]
    title = f"{shot.name} ({kind}) {compared.scores['psnr_fitted']:.1f} dB: photo, render, difference"
    pictures = [as_bytes(photo), as_bytes(compared.fitted), error_map(compared.error)]
    save(folder / target, strip(pictures, title))
    return {**found, "picture": str(target)}


def _shift(
    renderers: Renderers, shot: Shot, photo: np.ndarray, mask: np.ndarray | None, limit_px: float
) -> dict[str, float]:
    """How far the photo's camera is off, in pixels of the photo."""
    scale = min(1.0, REFINE_PX / max(photo.shape[:2]))
    size = round(photo.shape[1] * scale), round(photo.shape[0] * scale)
    small = photo if scale == 1 else cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    if mask is not None:
        mask = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    K, renderer = shot.K(size), renderers.of(size)
    refined = refine(
        small, mask, shot.photo.viewmat, K, limit_px * scale, lambda pose: renderer.frame(pose, K, shot.lens)
    )
    return {"shift_px": round(refined.shift_px / scale, 3), "gain_db": refined.gain_db}
