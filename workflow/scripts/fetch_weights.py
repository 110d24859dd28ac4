"""Fetch the weights that the enrichment needs into Hugging Face's cache, before a GPU is paid for.

Access to every repository is checked first; what was fetched, at which commits, is written to a file.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import Any

from blueprint import cli, secret
from blueprint.checks import print_table
from blueprint.engines.base import Repository
from blueprint.engines.hub import check_access
from blueprint.errors import UserError
from blueprint.files import write_json

log = logging.getLogger(__name__)


def fetch(repositories: list[Repository], token: str | None) -> list[dict[str, Any]]:
    """Download the files of some repositories; returns what was asked for and the commit it is.

    Raises:
        UserError: a repository may not be read, or its revision or the network is not there.
    """
    # Imported here: an engine without weights runs where there is no hub client.
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download

    checks = check_access(repositories, token)
    refused = [check for check in checks if check.result == "fail"]
    if refused:
        print_table(checks, "Access to the weights")
        raise UserError("; ".join(f"{check.name}: {check.evidence}. {check.remedy}" for check in refused))
    fetched = []
    for repository in repositories:
        log.info("fetching %s at %s", repository.id, repository.revision)
        try:
            folder = snapshot_download(
                repository.id, revision=repository.revision, allow_patterns=list(repository.files), token=token or False
            )
        except (OSError, ValueError, HTTPError) as error:
            raise UserError(f"{repository.id} at {repository.revision} cannot be fetched: {error}") from error
        fetched.append({"id": repository.id, "revision": repository.revision, "commit": Path(folder).name})
    return fetched


def main() -> None:
    """Parse the command line and fetch."""
    secret.take("HF_TOKEN")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repositories", type=cli.json_argument, required=True, help="what to fetch (JSON)")
    parser.add_argument("--output", type=Path, required=True, help="what was fetched")
    args = parser.parse_args()
    repositories = [Repository(**{**entry, "files": tuple(entry["files"])}) for entry in args.repositories]
    write_json(args.output, fetch(repositories, os.environ.get("HF_TOKEN")) if repositories else [])


if __name__ == "__main__":
    cli.run(main)
