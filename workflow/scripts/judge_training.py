"""Compare a world model before and after post-training, and write the verdict and its page."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from blueprint import cli
from blueprint.files import read_json, write_json
from blueprint.report import training as page
from blueprint.train import evaluate
from blueprint.train.keys import TRAINING_SETS

log = logging.getLogger("judge_training")


def main() -> None:
    """Parse the command line and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=cli.json_argument, required=True, help="what was trained on (JSON)")
    parser.add_argument("--folder", type=Path, required=True, help="folder with trainings, scores and predictions")
    parser.add_argument("--video", type=Path, required=True, help="side-by-side predictions to write")
    parser.add_argument("--page", type=Path, required=True, help="page to write")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args()
    names = (evaluate.BASE, *TRAINING_SETS)
    scores = {name: read_json(args.folder / name / "scores.json") for name in names}
    trainings = {name: read_json(args.folder / name / "training.json") for name in TRAINING_SETS}
    found = evaluate.verdict(scores, trainings, args.spec)
    evaluate.side_by_side(args.video, [args.folder / name / "predictions.mp4" for name in names])
    page.write_page(args.page, args.video, found, scores, trainings, args.spec)
    write_json(args.output, found)
    log.info("%s: %s", found["verdict"], found["sentence"])


if __name__ == "__main__":
    cli.run(main)
