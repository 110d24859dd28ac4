"""The job of a facility: what its scan is worth, from where, and how well it shows its photos."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from blueprint import files, poses, splat
from blueprint.axes import eyes_of, level_from_world, moved
from blueprint.cameras.space import survey_space
from blueprint.fidelity import standing as stand
from blueprint.fidelity.gaussians import coherence
from blueprint.fidelity.judge import judge, scan_verdict
from blueprint.fidelity.keys import FIGURES
from blueprint.fidelity.look import overview
from blueprint.fidelity.photo_scores import PhotoScores, compare_photos
from blueprint.fidelity.photos import LOOK_PX, Shot, by_size, chosen, seen_by, shots_of
from blueprint.fidelity.pictures import Track, marked, save, stacked, strip, top_view
from blueprint.fidelity.scan import LEAST_PHOTOS, Scan
from blueprint.fidelity.views import Trust
from blueprint.metrics.verdicts import worst
from blueprint.render import Renderer
from blueprint.render.clip import options_for

log = logging.getLogger(__name__)

CLIP_WIDTH_PX = 160
EYE_HEIGHT_M = 1.5
MOST_PICTURES = 6
SEEN_CAUSES = (("holes", "hole"), ("mush", "mush"))  # figures and the causes that they are means of


def assess(
    scene: Path,
    clips: Mapping[str, Path],
    spec: dict[str, Any],
    make_renderer: type[Renderer],
    threads: int,
    folder: Path,
) -> dict[str, Any]:
    """Judge a scan; writes its pictures into ``folder``.

    Args:
        scene: the splat.
        clips: ``cameras.json`` of each clip.
        spec: ``facility`` (its name), how it stands (``up_axis``, ...); ``render``; ``places``, ``thresholds``; of a
            facility with photos ``photos``; ``code``, the digest of the programs.
        make_renderer: the backend.
        threads: CPU threads of the rasterizer.
        folder: where pictures and kept comparisons go.

    Returns:
        What ``fidelity.json`` holds.

    Raises:
        UserError: the scene, a clip's cameras or the photos cannot be read.
    """
    scale = spec.get("metres_per_unit", 1.0)
    loaded = splat.load(scene, scale)
    level = level_from_world(spec["up_axis"], spec["floor_height_m"])
    space = survey_space(loaded, level)
    options = {**options_for(loaded, spec["render"]), "threads": threads}
    scan = Scan(make_renderer, loaded, options, level, space, stand.is_closed(space), coherence(loaded))
    log.info("%d Gaussians, %s scene", len(loaded), "closed" if scan.closed else "open")
    shots = shots_of(spec["photos"], scale) if "photos" in spec else []
    values: dict[str, float | None] = {name: None for name, figure in FIGURES.items() if not figure.of_clip}
    values |= {name: getattr(scan.found, name) for name in ("scatter", "colour_noise", "floaters")}
    photos = None
    if shots:
        values |= see_from_photos(scan, [shot for shot in shots if not shot.held_out])
        key = [files.file_digest(scene), spec["render"], spec["code"]]
        photos = compare_photos(scan, chosen(shots, spec["photos"]["every"]), spec["photos"], key, folder)
        values |= photos.figures()
    cameras = {name: poses.read(path) for name, path in clips.items()}
    judged = {name: _look_along(scan, path) for name, path in cameras.items()}
    around = _look_around(scan, cameras, shots, spec["places"])
    if scan.closed and len(around.places):
        values |= {name: float(around.shares[cause].mean()) for name, cause in SEEN_CAUSES}
    limits = spec["thresholds"]
    reports = {name: _of_clip(views, limits) for name, views in judged.items()}
    _draw(folder, scan, around, cameras, shots, judged, reports, photos)
    save(folder / "look.png", overview(loaded, spec["up_axis"], scan.closed))
    return _report(spec, scan, around, values, reports, photos)


def see_from_photos(scan: Scan, shots: list[Shot]) -> dict[str, float]:
    """Look at the scene from where photos were taken: what they saw of it, and what of it is empty or mush there."""
    centres, size_m = scan.scene.means, scan.scene.scales.max(axis=1)
    views = np.zeros(len(scan.scene), np.int32)
    shares = []
    for size, group in by_size(shots, LOOK_PX):
        renderer = scan.trust(size)
        cameras = (np.stack([shot.photo.viewmat for shot in group]), np.stack([shot.K(size) for shot in group]))
        for shot, view in zip(group, renderer.views(*cameras, [shot.lens for shot in group]), strict=True):
            views += seen_by(centres, size_m, shot, view.median_m)
            shares.append(view.shares())
    scan.photo_views = views
    found = {name: float(np.mean([share[cause] for share in shares])) for name, cause in SEEN_CAUSES}
    return {**found, "unseen": float((views < LEAST_PHOTOS).mean())}


def _look_along(scan: Scan, path: poses.Cameras) -> list[Trust]:
    size = CLIP_WIDTH_PX, max(1, round(CLIP_WIDTH_PX * path.height / path.width))
    Ks = path.Ks.copy()
    Ks[:, 0] *= size[0] / path.width
    Ks[:, 1] *= size[1] / path.height
    return list(scan.trust(size).views(path.viewmats, Ks, path.lenses or None))


def _look_around(scan: Scan, cameras: Mapping[str, poses.Cameras], shots: list[Shot], places: int) -> stand.Standing:
    """Views from free places, at the height of the photos' cameras, or else of the clips' within the scene."""
    viewmats = [shot.photo.viewmat for shot in shots] or [pose for path in cameras.values() for pose in path.viewmats]
    heights = moved(eyes_of(np.stack(viewmats)), scan.level)[:, 2] if viewmats else np.array([EYE_HEIGHT_M])
    spots = stand.places_in(scan.space, scan.closed, float(np.median(heights)), places)
    log.info("looking around from %d places", len(spots))
    return stand.look_around(scan.trust(stand.SIZE_PX), spots, scan.level)


def _of_clip(views: list[Trust], limits: dict[str, Any]) -> dict[str, Any]:
    shares = [view.shares() for view in views]
    mean = {name: round(float(np.mean([share[name] for share in shares])), 6) for name in shares[0]}
    untrusted = [round(share["untrusted"], 6) for share in shares]
    causes = {name: value for name, value in mean.items() if name != "untrusted"}
    return {
        "verdict": judge(FIGURES["untrusted"], mean["untrusted"], limits.get("untrusted", {})),
        "untrusted": mean["untrusted"],
        "frames": untrusted,
        "worst_frame": int(np.argmax(untrusted)),
        "causes": causes,
    }


def _draw(
    folder: Path,
    scan: Scan,
    around: stand.Standing,
    cameras: Mapping[str, poses.Cameras],
    shots: list[Shot],
    judged: Mapping[str, list[Trust]],
    reports: Mapping[str, dict[str, Any]],
    photos: PhotoScores | None,
) -> None:
    tracks = [Track(name, moved(eyes_of(path.viewmats), scan.level)) for name, path in cameras.items()]
    if shots:
        eyes = moved(eyes_of(np.stack([shot.photo.viewmat for shot in shots])), scan.level)
        tracks.append(Track("photos", eyes, connected=False))
    save(folder / "map.png", top_view(scan.space, around, tracks))
    rows = [] if photos is None else photos.worst_pictures(MOST_PICTURES // 2)
    for name, report in sorted(reports.items(), key=lambda item: -item[1]["untrusted"])[:MOST_PICTURES]:
        view = judged[name][report["worst_frame"]]
        title = (
            f"{name}, frame {report['worst_frame']}: {report['frames'][report['worst_frame']]:.0%} untrustworthy (red)"
        )
        rows.append(strip([(view.rgb * 255).astype(np.uint8), marked(view)], title))
    save(folder / "worst.png", stacked(rows))


def _report(
    spec: dict[str, Any],
    scan: Scan,
    around: stand.Standing,
    values: dict[str, float | None],
    reports: dict[str, dict[str, Any]],
    photos: PhotoScores | None,
) -> dict[str, Any]:
    verdict = scan_verdict(values, spec["thresholds"])
    leaving = [name for name, report in reports.items() if report["verdict"] in ("warn", "fail")]
    trusted = around.trust[~around.empty]
    return {
        "facility": spec["facility"],
        "scan": verdict,
        "verdict": worst([verdict["verdict"], *(report["verdict"] for report in reports.values())]),
        "leaving": leaving,
        "clips": reports,
        "closed": scan.closed,
        "places": {
            "looked_from": len(around.places),
            "trusted_share": round(float((trusted >= 0.9).mean()), 6) if trusted.size else None,
            "positions_m": around.places.round(3).tolist(),
            "headings_deg": np.degrees(around.headings_rad).round(1).tolist(),
            "trust": [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in around.trust],
        },
        "photos": None if photos is None else photos.to_json(),
    }
