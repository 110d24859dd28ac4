"""Place the camera path of a clip in a scene."""

from __future__ import annotations

import argparse
from pathlib import Path

from blueprint import cli, poses, splat
from blueprint.cameras.place import place
from blueprint.errors import UserError
from blueprint.render.smear import refuse_smear


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", type=Path, required=True)
    parser.add_argument(
        "--spec", type=cli.json_argument, required=True, help="the clip, up_axis, floor_height_m (JSON)"
    )
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    scene = splat.load(arguments.scene, arguments.spec.get("metres_per_unit", 1.0))
    try:
        placed = place(scene, arguments.spec)
        refuse_smear(scene, placed, arguments.output.with_name("refused.jpg"))
    except UserError as error:
        raise UserError(f"{arguments.scene}: {error}") from error
    poses.write(arguments.output, placed)


if __name__ == "__main__":
    cli.run(main)
