"""Write a demo scene: a procedural room as a 3D Gaussian splat in the PLY layout of the 3DGS reference code."""

import argparse
import logging
from pathlib import Path

from blueprint import cli, demo

log = logging.getLogger(__name__)


def main() -> None:
    """Parse the command line, build the scene, write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", required=True, help=f"one of: {', '.join(demo.SCENES)}")
    parser.add_argument("--output", type=Path, required=True, help="the PLY to write")
    parser.add_argument("--gaussians", type=int, default=demo.GAUSSIANS, help="at most so many (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of grain, specks and jitter (default %(default)s)")
    arguments = parser.parse_args()
    splat = demo.build(arguments.scene, gaussians=arguments.gaussians, seed=arguments.seed)
    demo.write(splat, arguments.output)
    log.info("%s: %d Gaussians, SH degree %d", arguments.output, len(splat), splat.sh_degree)


if __name__ == "__main__":
    cli.run(main)
