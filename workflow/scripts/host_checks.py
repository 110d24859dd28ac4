"""Check that this machine can do the run, and print what was found as one table."""

from __future__ import annotations

import argparse
from pathlib import Path

from blueprint import cli, secret
from blueprint.cloud import host_checks
from blueprint.cloud import settings as cloud_settings


def main() -> None:
    """Parse the command line, check, print; a failed check is exit status 1."""
    secret.take()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, help="cloud settings; without them bucket and provider are left out")
    parser.add_argument("--config", required=True, help="completed configuration as JSON, or @file")
    parser.add_argument("--results", type=Path, required=True, help="folder that results are written to")
    arguments = parser.parse_args()
    settings = cloud_settings.load(arguments.settings) if arguments.settings else None
    checks = host_checks.run(settings, cli.json_argument(arguments.config), arguments.results)
    host_checks.refuse_failures(checks)


if __name__ == "__main__":
    cli.run(main)
