"""Fail when a facility's verdict is `fail` (only run when `metrics.fail_run` is set)."""

from __future__ import annotations

import argparse
from pathlib import Path

from blueprint import cli, files
from blueprint.errors import UserError


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("summaries", nargs="+", type=Path, help="summary.json of every facility")
    parser.add_argument("--output", type=Path, required=True, help="written when none fails")
    arguments = parser.parse_args()
    summaries = [files.read_json(path) for path in arguments.summaries]
    failed = [summary["facility"] for summary in summaries if summary["verdict"] == "fail"]
    if failed:
        raise UserError(
            f"the verdict of {', '.join(failed)} is `fail` and metrics.fail_run is set; results/report.html shows why."
        )
    lines = [f"{summary['facility']}: {summary['verdict'] or 'not judged'}" for summary in summaries]
    files.write_text(arguments.output, "\n".join(lines) + "\n")


if __name__ == "__main__":
    cli.run(main)
