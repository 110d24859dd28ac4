"""The one exception that a user is meant to read."""

from __future__ import annotations


class UserError(Exception):
    """Bad input, configuration or environment.

    The message is complete: it names the file, the key, the value found and what to do.
    Command-line programs print it without a traceback and exit with status 1.
    """
