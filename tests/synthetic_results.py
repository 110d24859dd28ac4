"""A folder `results` made from the synthetic room by the workflow's own functions, without rendering or engines."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

import synthetic_room
from blueprint.checks import Check
from blueprint.fidelity.judge import scan_verdict
from blueprint.fidelity.keys import Fidelity
from blueprint.fidelity.pictures import save
from blueprint.files import file_digest, read_json, write_json, write_text
from blueprint.metrics.diversity import diversity
from blueprint.metrics.job import score_variants
from blueprint.metrics.score import ClipFiles
from blueprint.metrics.summary import as_csv, summarize
from blueprint.report.preview import make_preview
from blueprint.video import write_video

NAMES = ["psnr", "ssim", "ms_ssim", "gmsd", "edge_agreement", "depth_edge_agreement", "temporal_stability"]
THRESHOLDS = {
    "edge_agreement": {"warn": 0.8, "fail": 0.5},
    "depth_edge_agreement": {"warn": 0.75, "fail": 0.5},
    "temporal_stability": {"warn": 0.5, "fail": 0.25},
}
MARK_PX = 16
LEVELS_PER_FRAME = 12


def marked(frames: np.ndarray) -> np.ndarray:
    """The frames with their index written as the grey level of their lower left corner."""
    frames = frames.copy()
    for index, frame in enumerate(frames):
        frame[-MARK_PX:, :MARK_PX] = LEVELS_PER_FRAME * index
    return frames


def looks(count: int) -> dict[str, np.ndarray]:
    """Variants of the room: two new lights, and one in which a box has moved, by name."""
    return {
        "dusk": synthetic_room.room(count, light=(0.95, 0.6, 0.45)).frames,
        "neon": synthetic_room.room(count, light=(0.7, 0.9, 1.0)).frames,
        "moved": synthetic_room.room(count, box_offset_m=(0.4, 0, 0)).frames,
    }


def make_results(
    results: Path, facility: str = "hall", clips: tuple[str, ...] = ("sweep", "pan"), count: int = 12
) -> Path:
    """Write the results of one facility; returns ``results``."""
    folder = results / facility
    render = synthetic_room.room(count)
    render.frames = marked(render.frames)
    variants = {name: marked(frames) for name, frames in looks(count).items()}
    make_clip(folder, clips[0], render, variants)
    for clip in clips[1:]:
        copy_clip(folder, clips[0], clip)
    checks = [
        Check("format", "ok", "3DGS PLY, SH degree 2"),
        Check("up axis", "warn", "up_axis is z; likely: -y", "set up_axis to -y"),
    ]
    marker = {"found": {"gaussians": 1000, "format": "3DGS PLY"}, "scene": {"sha256": "0" * 64}}
    marker["checks"] = [check.to_json() for check in checks]
    write_json(folder / "preflight.json", marker)
    spec = {
        "facility": facility,
        "clips": list(clips),
        "variants": list(variants),
        "names": NAMES,
        "thresholds": THRESHOLDS,
        "configuration_digest": "1" * 64,
        "environment_digests": {"metrics.yaml": "2" * 64},
    }
    write_scan(folder, clips)
    summary = summarize(results, spec)
    write_json(folder / "summary.json", summary)
    write_text(folder / "summary.csv", as_csv(summary))
    return results


def write_scan(folder: Path, clips: tuple[str, ...]) -> None:
    """The verdict on a scan whose first clip leaves what can be trusted."""
    shares = {clip: 0.6 if clip == clips[0] else 0.01 for clip in clips}
    limits = Fidelity().model_dump(exclude_none=True)["thresholds"]
    found = {
        "scan": scan_verdict({"scatter": 0.9, "colour_noise": 0.7, "floaters": 0.0, "psnr_held_out": None}, limits),
        "clips": {
            clip: {"untrusted": share, "verdict": "fail" if share > 0.5 else "pass"} for clip, share in shares.items()
        },
        "leaving": [clips[0]],
    }
    write_json(folder / "fidelity.json", found)
    for name in ("map", "worst", "look"):
        save(folder / "fidelity" / f"{name}.png", np.full((8, 8, 3), 200, np.uint8))


def copy_clip(folder: Path, clip: str, copy: str) -> None:
    """The same clip under another name."""
    for path in list(folder.rglob(f"{clip}*")):
        target = path.with_name(path.name.replace(clip, copy, 1))
        shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target)


def make_clip(folder: Path, clip: str, render: synthetic_room.Clip, variants: dict[str, np.ndarray]) -> None:
    """Write one clip with its variants, scores and preview."""
    paths = render.write(folder / "clips" / clip)
    near = 1 / np.maximum(render.depth_m, 0.1)
    grey = np.repeat((255 * near / near.max()).astype(np.uint8)[..., None], 3, -1)
    depth = paths["rgb.mp4"].with_name("depth.mp4")
    write_video(depth, marked(grey), synthetic_room.FPS)
    files = ClipFiles(paths["rgb.mp4"], paths["depth.npz"], paths["cameras.json"])
    enriched = {}
    for name, frames in variants.items():
        enriched[name] = folder / "enriched" / clip / f"{name}.mp4"
        write_video(enriched[name], frames, synthetic_room.FPS)
        provenance = {
            "engine": "photometric",
            "model": {"name": "photometric"},
            "variant": {"name": name},
            "sha256": file_digest(enriched[name]),
            "inputs": {"rgb": file_digest(files.rgb)},
            "run": {"seconds": 1.5, "commit": "3" * 40},
        }
        write_json(enriched[name].with_suffix(".json"), provenance)
    rendered = {"seconds": 2.5, "commit": "3" * 40, "rasterizer": "cpu"}
    write_json(folder / "clips" / clip / "provenance.json", {"run": rendered})
    score_variants(files, enriched, dict.fromkeys(NAMES, ""), folder / "metrics" / clip, "cpu", environment=None)
    scores = {name: read_json(folder / "metrics" / clip / f"{name}.json") for name in enriched}
    write_json(folder / "diversity" / f"{clip}.json", diversity(enriched))
    target = folder / "previews" / f"{clip}.mp4"
    preview = make_preview(target, files.rgb, depth, enriched, scores, width_px=224)
    write_json(target.with_suffix(".json"), preview)
