"""Measure how different the variants of a clip look from one another."""

from __future__ import annotations

import argparse
from pathlib import Path

from blueprint import cli, files
from blueprint.metrics.diversity import diversity


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variants", nargs="+", type=Path, help="the enriched clips; their names are the variants")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    files.write_json(arguments.output, diversity({path.stem: path for path in arguments.variants}))


if __name__ == "__main__":
    cli.run(main)
