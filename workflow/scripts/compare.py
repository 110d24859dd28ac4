"""Put the same scores of two runs side by side: a page and a table."""

from __future__ import annotations

import argparse
from pathlib import Path

from blueprint import cli, files
from blueprint.report.comparison import write_comparison


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--current", type=Path, nargs="+", required=True, help="summary.json of this run's facilities")
    parser.add_argument("--baseline", type=Path, nargs="+", required=True, help="summary.json of the other run's")
    parser.add_argument("--spec", type=cli.json_argument, required=True, help="title and folder of the baseline")
    parser.add_argument("--page", type=Path, required=True, help="HTML to write")
    parser.add_argument("--table", type=Path, required=True, help="CSV to write")
    arguments = parser.parse_args()
    current, baseline = ([files.read_json(path) for path in paths] for paths in (arguments.current, arguments.baseline))
    write_comparison(arguments.page, arguments.table, current, baseline, arguments.spec)


if __name__ == "__main__":
    cli.run(main)
