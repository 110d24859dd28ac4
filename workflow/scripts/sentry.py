"""The first process on a rented machine: from the standard library alone, before anything is downloaded.

    python3 workflow/scripts/sentry.py --watch PID    started by profiles/vast/onstart.sh, whose process it watches

It opens the machine's account in the bucket, and keeps it while the guard is not there yet or no longer. When setting
up takes too long, when the machine's hours are over, or when nobody is left who would end the machine, it has
`cloud.py finish` do that within a limit; where that is impossible or fails, it stops the instance itself.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from blueprint.cloud.sentry import Sentry


def main() -> None:
    """Parse the command line and watch until the machine has ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--watch", type=int, required=True, help="process of onstart.sh")
    parser.add_argument("--python", type=Path, required=True, help="the environment's Python, once it is there")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s sentry: %(message)s", datefmt="%H:%M:%S")
    sentry = Sentry.from_environment(Path.cwd(), arguments.watch, arguments.python)
    if sentry is None:
        logging.info("BLUEPRINT_LAUNCH is not set: this machine was not launched, nobody but its guard watches it")
        sys.exit(0)
    sentry.watch()
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main()
