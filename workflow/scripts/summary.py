"""Sum up a facility: a tidy table of its scores, and its verdicts with their provenance."""

from __future__ import annotations

import argparse
from pathlib import Path

from blueprint import cli, files
from blueprint.metrics.summary import as_csv, summarize, write_parquet


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="the folder `results`")
    parser.add_argument("--spec", type=cli.json_argument, required=True, help="facility, clips, variants, thresholds")
    parser.add_argument("--table", type=Path, required=True, help="CSV to write")
    parser.add_argument("--parquet", type=Path, required=True, help="the same table, typed, to write")
    parser.add_argument("--verdicts", type=Path, required=True, help="JSON to write")
    arguments = parser.parse_args()
    summary = summarize(arguments.results, arguments.spec)
    files.write_text(arguments.table, as_csv(summary))
    write_parquet(arguments.parquet, summary)
    files.write_json(arguments.verdicts, summary)


if __name__ == "__main__":
    cli.run(main)
