"""Render a clip: colour and metric depth along a camera path, and the depth control video."""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

from blueprint import cli, poses, provenance
from blueprint.files import write_json
from blueprint.render.clip import render_clip

log = logging.getLogger(__name__)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", type=Path, required=True)
    parser.add_argument("--cameras", type=Path, required=True)
    parser.add_argument("--spec", type=cli.json_argument, required=True, help="sh_degree, background, near_m, far_m")
    parser.add_argument("--backend", choices=["auto", "cpu", "gsplat"], default="auto")
    parser.add_argument("--threads", type=int, default=1)
    for name, text in (("rgb", "colour video"), ("depth", "depth control video"), ("depth-m", "metric depth archive")):
        parser.add_argument(f"--{name}", type=Path, required=True, help=text)
    parser.add_argument("--environment", type=Path, help="marker of the environment that this runs in")
    parser.add_argument("--provenance", type=Path, help="record of what rendered the clip, to write (JSON)")
    arguments = parser.parse_args()
    targets = {"rgb": arguments.rgb, "depth": arguments.depth, "depth_m": arguments.depth_m}
    start = time.monotonic()
    path = poses.read(arguments.cameras)
    made = render_clip(arguments.scene, path, arguments.spec, arguments.backend, arguments.threads, targets)
    if arguments.provenance:
        write_json(arguments.provenance, {"run": provenance.record(start, arguments.environment, **made)})
    log.info("done in %.1f s", time.monotonic() - start)


if __name__ == "__main__":
    cli.run(main)
