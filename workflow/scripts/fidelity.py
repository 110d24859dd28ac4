"""Judge a scan: its coherence, what is seen of it from where, and how well it shows the photos it was made from."""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

from blueprint import cli, provenance
from blueprint.errors import UserError
from blueprint.fidelity.job import assess
from blueprint.files import write_json
from blueprint.render import choose_backend

log = logging.getLogger(__name__)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", type=Path, required=True)
    parser.add_argument("--cameras", type=Path, nargs="+", required=True, help="<clip>/cameras.json of every clip")
    parser.add_argument(
        "--spec", type=cli.json_argument, required=True, help="facility, render, places, thresholds, photos (JSON)"
    )
    parser.add_argument("--code", default="", help="digest of this program, by which comparisons are kept")
    parser.add_argument("--backend", choices=["auto", "cpu", "gsplat"], default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--environment", type=Path, help="marker of the environment that this runs in")
    parser.add_argument("--folder", type=Path, required=True, help="where the pictures go")
    parser.add_argument("--output", type=Path, required=True, help="fidelity.json to write")
    arguments = parser.parse_args()
    start = time.monotonic()
    clips = {path.parent.name: path for path in arguments.cameras}
    spec = {**arguments.spec, "code": arguments.code}
    backend = choose_backend(arguments.backend)
    try:
        found = assess(arguments.scene, clips, spec, backend, arguments.threads, arguments.folder)
    except UserError as error:
        raise UserError(f"{spec['facility']}: {error}") from error
    log.info("%s: %s", found["scan"]["verdict"], found["scan"]["sentence"])
    made = provenance.record(start, arguments.environment, rasterizer=backend.name)
    write_json(arguments.output, {**found, "run": made})


if __name__ == "__main__":
    cli.run(main)
