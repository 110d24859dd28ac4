"""What every command-line program of the workflow shares."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blueprint.errors import UserError


def run(main: Callable[[], None]) -> None:
    """Run a program's ``main``: log to standard error, turn `UserError` into one line and exit status 1."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


class Commands:
    """A program of several commands: each is a function of the parsed arguments, whose docstring is its help."""

    def __init__(self, description: str | None) -> None:
        self.parser = argparse.ArgumentParser(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        self._commands = self.parser.add_subparsers(required=True, dest="command")

    def add(self, function: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        """Add the command of a function's name (with dashes); return its parser, for its arguments."""
        command = self._commands.add_parser(
            function.__name__.replace("_", "-"), help=function.__doc__, description=function.__doc__
        )
        command.set_defaults(run=function)
        return command

    def run(self) -> None:
        """Parse the command line and carry out the command."""
        arguments = self.parser.parse_args()
        arguments.run(arguments)


def json_argument(text: str) -> Any:
    """Parse a JSON command-line value; ``@path`` reads it from a file.

    Raises:
        UserError: not JSON, or the file is absent.
    """
    source = "command line"
    if text.startswith("@"):
        source = text[1:]
        try:
            text = Path(source).read_text(encoding="utf-8")
        except OSError as error:
            raise UserError(f"{source}: cannot be read ({error.strerror}).") from error
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"{source}: not valid JSON ({error}).") from error
