"""Put scores, verdicts and pictures of a run on an MLflow server."""

from __future__ import annotations

import argparse
from pathlib import Path

from blueprint import cli, files
from blueprint.report.tracking import track


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--spec", type=cli.json_argument, required=True, help="uri, experiment, facilities (JSON)")
    parser.add_argument("--output", type=Path, required=True, help="record of the MLflow runs to write")
    arguments = parser.parse_args()
    files.write_json(arguments.output, track(arguments.results, arguments.spec))


if __name__ == "__main__":
    cli.run(main)
