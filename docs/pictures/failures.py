"""Write the pictures of docs/verdicts.md: variants that fail, beside the render, with what the report says of each.

    python docs/pictures/failures.py --clip results/kitchen/clips/orbit

Each is a look that passes, made wrong on purpose in one way (tests/corruptions.py) and judged as a run would judge it.
A yellow frame marks where the score that failed says to look. The sentences are printed for the page.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests")]
import corruptions  # noqa: E402
from blueprint import cli, poses, video  # noqa: E402
from blueprint.engines.photometric.run import place_scene, relit_frames  # noqa: E402
from blueprint.engines.presets import PRESETS  # noqa: E402
from blueprint.engines.task import Clip  # noqa: E402
from blueprint.files import whole_file  # noqa: E402
from blueprint.metrics.catalogue import METRICS  # noqa: E402
from blueprint.metrics.score import ClipFiles, score  # noqa: E402
from blueprint.metrics.summary import summarize_variant  # noqa: E402
from blueprint.report.preview import edge_overlay  # noqa: E402

SHOWN = {
    "object gone": 8,
    "ball invented": 12,
    "locally warped": 1,
    "lags from the middle": 2,
    "texture swims": 4,
    "object changes identity": 1,
}
"""Corruptions and their strengths."""
LOOK = "cold_fluorescent"
BOX = (255, 210, 0)


def judged_as(files: ClipFiles, scene: corruptions.Scene, frames: np.ndarray) -> dict[str, Any]:
    """What the report would say of a variant with these frames."""
    with tempfile.TemporaryDirectory() as folder:
        variant = Path(folder) / "variant.mp4"
        video.write_video(variant, frames, scene.fps)
        judged = {name: metric.thresholds for name, metric in METRICS.items() if metric.thresholds}
        return summarize_variant(score(files, variant, list(judged), "cpu"), judged)


def picture(render: np.ndarray, variant: np.ndarray, where: list[float] | None) -> np.ndarray:
    """Render, variant and their edges side by side, [H, 3 W, 3]; the place to look at (shares) in a frame."""
    shown = Image.fromarray(variant)
    if where:
        height, width = variant.shape[:2]
        corners = np.array(where) * [width, height, width, height]
        ImageDraw.Draw(shown).rectangle([round(value) for value in corners], outline=BOX, width=2)
    return np.concatenate([render, np.asarray(shown), edge_overlay(variant, render)], axis=1)


def main() -> None:
    """Parse the command line, write the pictures, print the sentences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, required=True, help="folder with rgb.mp4, depth.npz, cameras.json")
    parser.add_argument("--folder", type=Path, default=Path("docs/failures"), help="where the pictures go")
    arguments = parser.parse_args()
    paths = [arguments.clip / name for name in ("rgb.mp4", "depth.mp4", "depth.npz", "cameras.json")]
    clip, scene = Clip(*paths, video.probe(paths[0])), corruptions.Scene.read(arguments.clip)
    cameras, files = poses.read(clip.cameras), ClipFiles(paths[0], paths[2], paths[3])
    right = np.stack(list(relit_frames(clip, cameras, PRESETS[LOOK], place_scene(clip, cameras, seed=0), seed=0)))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for corruption in corruptions.REGISTERED:
        if corruption.name in SHOWN:
            frames = corruption.make(scene, right, SHOWN[corruption.name])
            found = judged_as(files, scene, frames)
            cause = found["cause"] or {}
            frame = cause.get("frame") or scene.count // 2
            name = f"{corruption.name.replace(' ', '_')}.jpg"
            with whole_file(arguments.folder / name) as part:
                Image.fromarray(picture(scene.frames[frame], frames[frame], cause.get("where"))).save(part, quality=85)
            print(f"{name}, frame {frame}: {found['sentence']}")


if __name__ == "__main__":
    cli.run(main)
