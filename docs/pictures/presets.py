"""Write the pictures of docs/enrichment.md: one frame of a rendered clip under every photometric preset.

python docs/pictures/presets.py --clip results/kitchen/clips/orbit --frame 12
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow" / "scripts"))
from blueprint import cli, poses
from blueprint.engines.photometric.run import place_scene, relit_frames
from blueprint.engines.presets import PRESETS
from blueprint.engines.task import Clip
from blueprint.files import whole_file
from blueprint.video import probe, read_video


def save(target: Path, frame: np.ndarray) -> None:
    """Save one frame [H, W, 3] uint8 as JPEG."""
    with whole_file(target) as part:
        Image.fromarray(frame).save(part, quality=88)


def main() -> None:
    """Parse the command line and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, required=True, help="folder with rgb.mp4, depth.npz, cameras.json")
    parser.add_argument("--frame", type=int, default=0, help="which frame to show")
    parser.add_argument("--folder", type=Path, default=Path("docs/presets"), help="where the pictures go")
    args = parser.parse_args()
    paths = [args.clip / name for name in ("rgb.mp4", "depth.mp4", "depth.npz", "cameras.json")]
    clip = Clip(*paths, probe(paths[0]))
    cameras = poses.read(clip.cameras)
    scene = place_scene(clip, cameras, seed=0)
    save(args.folder / "render.jpg", list(read_video(clip.rgb))[args.frame])
    for name, look in PRESETS.items():
        save(args.folder / f"{name}.jpg", list(relit_frames(clip, cameras, look, scene, seed=0))[args.frame])


if __name__ == "__main__":
    cli.run(main)
