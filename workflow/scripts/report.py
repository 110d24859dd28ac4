"""Write the page that a person looks at: one file, no network."""

from __future__ import annotations

import argparse
from pathlib import Path

from blueprint import cli
from blueprint.report.page import write_report


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="the folder `results`")
    parser.add_argument("--benchmarks", type=Path, required=True, help="the folder `benchmarks/results`")
    parser.add_argument("--spec", type=cli.json_argument, required=True, help="title and names of the facilities")
    parser.add_argument("--output", type=Path, required=True, help="page to write")
    arguments = parser.parse_args()
    write_report(arguments.output, arguments.results, arguments.benchmarks, arguments.spec)


if __name__ == "__main__":
    cli.run(main)
