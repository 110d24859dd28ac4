"""Make every appearance variant of one rendered clip.

A variant that an earlier, interrupted run finished is taken over as it is; the others are made by the chosen engine,
all in one go. What each output was made from, and by what, is written beside it.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from blueprint import cli, secret
from blueprint.engines.job import enrich
from blueprint.engines.task import Clip
from blueprint.video import probe


def main() -> None:
    """Parse the command line and enrich one clip."""
    secret.take("HF_TOKEN")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rgb", type=Path, required=True, help="the rendered clip")
    parser.add_argument("--depth", type=Path, required=True, help="its depth as a grey video")
    parser.add_argument("--depth-m", type=Path, required=True, help="its metric depth")
    parser.add_argument("--cameras", type=Path, required=True, help="its cameras")
    parser.add_argument("--spec", type=cli.json_argument, required=True, help="engine, settings, variants (JSON)")
    parser.add_argument("--code", required=True, help="digest of the sources that decide the pixels")
    parser.add_argument("--folder", type=Path, required=True, help="where the variants go")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for what is being made")
    parser.add_argument("--environment", type=Path, help="marker of the environment that this runs in")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs given to this job")
    parser.add_argument(
        "--machine", type=cli.json_argument, default={}, help="what the engine is told of this machine (JSON)"
    )
    parser.add_argument(
        "--cache", type=Path, default=Path("resources/embeddings"), help="where text embeddings are kept"
    )
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that an engine ends what it started
    clip = Clip(args.rgb, args.depth, args.depth_m, args.cameras, probe(args.rgb))
    machine = {"gpus": args.gpus, "machine": args.machine, "cache": args.cache}
    enrich(clip, args.spec, args.code, args.folder, args.scratch, args.environment, **machine)


if __name__ == "__main__":
    cli.run(main)
