"""Export the clips that passed as training data, in one layout; with --push, send a finished dataset to the hub."""

from __future__ import annotations

import argparse
import logging
import os
from collections import Counter
from pathlib import Path

from blueprint import cli
from blueprint.export import dataset
from blueprint.export.layouts import LAYOUTS

log = logging.getLogger("export")


def main() -> None:
    """Parse the command line and write or push one dataset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the results")
    parser.add_argument("--spec", type=cli.json_argument, help="what to export, from the plan (JSON)")
    parser.add_argument("--layout", choices=LAYOUTS, help="layout to write")
    parser.add_argument("--output", type=Path, required=True, help="folder of the dataset")
    parser.add_argument("--push", metavar="ACCOUNT/NAME", help="upload the finished dataset instead of writing one")
    args = parser.parse_args()
    if args.push:
        log.info("pushed to %s", dataset.push(args.output, args.push, os.environ.get("HF_TOKEN")))
        return
    manifest = dataset.export(args.results, args.spec, args.layout, args.output)
    counts = Counter(episode["split"] for episode in manifest["episodes"])
    log.info("%s: %d episodes to train on, %d to test on", args.output, counts["train"], counts["test"])


if __name__ == "__main__":
    cli.run(main)
