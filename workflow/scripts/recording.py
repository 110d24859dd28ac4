"""Record a facility for the Rerun viewer: its scene, the clips with cameras, depth and variants, and the scores."""

from __future__ import annotations

import argparse
from pathlib import Path

from blueprint import cli
from blueprint.report.recording import write_recording


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True, help="the facility's folder of results")
    parser.add_argument(
        "--spec", type=cli.json_argument, required=True, help="facility, how it stands, clips, variants (JSON)"
    )
    parser.add_argument("--output", type=Path, required=True, help="recording to write (.rrd)")
    arguments = parser.parse_args()
    write_recording(arguments.output, arguments.scene, arguments.results, arguments.spec)


if __name__ == "__main__":
    cli.run(main)
