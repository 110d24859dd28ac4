"""Place the camera path of a clip in a scene."""

from __future__ import annotations

import argparse
from pathlib import Path

from blueprint import cameras, cli, splat
from blueprint.cameras.place import place
from blueprint.errors import UserError


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", type=Path, required=True)
    parser.add_argument(
        "--spec", type=cli.json_argument, required=True, help="the clip, up_axis, floor_height_m (JSON)"
    )
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        placed = place(splat.load(arguments.scene), arguments.spec)
    except UserError as error:
        raise UserError(f"{arguments.scene}: {error}") from error
    cameras.write(arguments.output, placed)


if __name__ == "__main__":
    cli.run(main)
