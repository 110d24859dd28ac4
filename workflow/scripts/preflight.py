"""Check that a scene can be rendered, and write what was found as the marker that the other stages wait for."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from blueprint import cli, files
from blueprint.cameras.dataset import read_photos
from blueprint.splat.marker import scene_marker


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", type=Path, required=True)
    parser.add_argument("--spec", type=cli.json_argument, required=True, help="name and how it stands (JSON)")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    spec, viewmats = arguments.spec, None
    if "photos" in spec:
        viewmats = np.stack([photo.viewmat for photo in read_photos(Path(spec["photos"]))])
    files.write_json(arguments.output, scene_marker(arguments.scene, spec, viewmats))


if __name__ == "__main__":
    cli.run(main)
