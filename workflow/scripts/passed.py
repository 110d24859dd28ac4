"""Fail when a facility's verdict is `fail` or its scan's is, when the configuration asks for it."""

from __future__ import annotations

import argparse
from pathlib import Path

from blueprint import cli, files
from blueprint.errors import UserError


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("summaries", nargs="+", type=Path, help="files with the verdict of a facility each")
    parser.add_argument("--setting", default="metrics.fail_run", help="the key that asks for it")
    parser.add_argument("--shown-by", required=True, help="what shows why it fails")
    parser.add_argument("--output", type=Path, required=True, help="written when none fails")
    arguments = parser.parse_args()
    summaries = [files.read_json(path) for path in arguments.summaries]
    failed = [summary["facility"] for summary in summaries if summary["verdict"] == "fail"]
    if failed:
        raise UserError(
            f"the verdict of {', '.join(failed)} is `fail` and {arguments.setting} is set; "
            f"{arguments.shown_by} shows why."
        )
    lines = [f"{summary['facility']}: {summary['verdict'] or 'not judged'}" for summary in summaries]
    files.write_text(arguments.output, "\n".join(lines) + "\n")


if __name__ == "__main__":
    cli.run(main)
