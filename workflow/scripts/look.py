"""Look at a scan before anything is configured: pictures, guesses, and a configuration to begin with."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from blueprint import cli
from blueprint.errors import UserError
from blueprint.fidelity.look import describe, look, sheet, starter
from blueprint.fidelity.pictures import save
from blueprint.files import write_text


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", type=Path, help="a splat: .ply, .compressed.ply, .spz, .splat or .sog")
    parser.add_argument("--picture", type=Path, help="where the pictures go (default: look-<name>.png here)")
    parser.add_argument("--configuration", type=Path, default=Path("my.yaml"), help="configuration to write")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    scene = arguments.scene.expanduser()
    if not scene.is_file():
        raise UserError(f"{scene}: there is no such file in {Path.cwd()}. Name a splat.")
    picture = arguments.picture or Path(f"look-{scene.name.split('.')[0]}.png")
    found, splat = look(scene)
    save(picture, sheet(splat, found))
    written = not arguments.configuration.exists()
    if written:
        write_text(arguments.configuration, starter(found))
    if arguments.json:
        facts = {"floor": found.floor, "size": found.size.tolist(), "is_room": found.is_room, "units_m": found.units_m}
        print(json.dumps({"up": asdict(found.up), "found": found.survey.to_json(), **facts}, indent=2))
        return
    print(describe(found))
    print(f"pictures: {picture}")
    print(
        f"configuration to begin with: {arguments.configuration}"
        if written
        else f"{arguments.configuration} is there already and stays as it is (--configuration OTHER.yaml)"
    )


if __name__ == "__main__":
    cli.run(main)
