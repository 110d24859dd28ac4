"""Lay the files that travelled with a launch into this checkout; from the standard library alone.

    python3 workflow/scripts/given.py    configuration and cloud settings, as `launch` put them into the bucket

Runs on a rented machine before anything reads them (profiles/vast/onstart.sh).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from blueprint.cloud.b2 import Store
from blueprint.cloud.launched import VARIABLE, Launch, lay
from blueprint.errors import UserError


def main() -> None:
    """Run the program."""
    try:
        launch = Launch.from_text(os.environ[VARIABLE])
        keys = (os.environ["B2_APPLICATION_KEY_ID"], os.environ["B2_APPLICATION_KEY"])
        for path in lay(launch, Path.cwd(), Store(launch.bucket, launch.folder, *keys, launch.endpoint).get):
            print(f"{path}: as it was when this machine was launched")
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
