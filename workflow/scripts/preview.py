"""Make what the report shows of a clip: one small video of all its views, and pictures of the worst frames."""

from __future__ import annotations

import argparse
from pathlib import Path

from blueprint import cli, files
from blueprint.report.preview import make_preview


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--render", type=Path, required=True, help="rendered clip")
    parser.add_argument("--depth", type=Path, required=True, help="its depth as a grey video")
    parser.add_argument("--variants", type=Path, nargs="+", required=True, help="enriched clips")
    parser.add_argument(
        "--scores", type=Path, nargs="+", required=True, help="scores of each variant, in the same order"
    )
    parser.add_argument("--width-px", type=int, required=True, help="width of one view")
    parser.add_argument("--video", type=Path, required=True, help="video to write")
    parser.add_argument("--data", type=Path, required=True, help="JSON to write")
    arguments = parser.parse_args()
    variants = {path.stem: path for path in arguments.variants}
    scores = {path.stem: files.read_json(path) for path in arguments.scores}
    data = make_preview(arguments.video, arguments.render, arguments.depth, variants, scores, arguments.width_px)
    files.write_json(arguments.data, data)


if __name__ == "__main__":
    cli.run(main)
