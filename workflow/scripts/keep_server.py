"""Keep a server of the engine `cosmos3` running until the run ends (started by the jobs that need it)."""

from __future__ import annotations

import argparse
import signal
import sys

from blueprint import cli
from blueprint.engines.cosmos3.keeper import keep


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--order", type=cli.json_argument, required=True, help="what to serve, and how (JSON)")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the server ends too
    keep(args.order)


if __name__ == "__main__":
    cli.run(main)
