"""Copy between a remote of the environment and a folder with progress bars, through rclone-python."""

from __future__ import annotations

import argparse
import logging
import re

from rclone_python import rclone
from rclone_python.utils import RcloneException

from blueprint import cli
from blueprint.errors import UserError

SHELL = re.compile(r"[\"$`\\\n]")
"""What a shell reads between the double quotes that rclone-python puts around paths."""


def main() -> None:
    """Parse the command line and copy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="remote:path or folder")
    parser.add_argument("target", help="remote:path or folder")
    arguments, options = parser.parse_known_args()
    for path in (arguments.source, arguments.target):
        if SHELL.search(path):
            raise UserError(f"{path!r}: holds a character that a shell would read. Choose another name.")
    logging.getLogger("rclone_python").setLevel(logging.ERROR)
    try:
        rclone.copy(arguments.source, arguments.target, args=options)
    except RcloneException as error:
        raise UserError(str(error)) from error


if __name__ == "__main__":
    cli.run(main)
