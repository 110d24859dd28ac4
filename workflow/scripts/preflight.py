"""Check that a scene can be rendered, and write what was found as the marker that the other stages wait for.

The marker is a pure function of the scene's bytes and of the facts given about the facility: nothing about the machine
or the time goes in, so that it is the same file on the next machine and nothing runs again there.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from blueprint import checks, cli, files
from blueprint.axes import level_from_world
from blueprint.checks import Check
from blueprint.errors import UserError
from blueprint.splat import Survey, survey

FLOOR_TOLERANCE_M = 0.5
EXTENT_M = (0.2, 2000.0)


def check_scene(found: Survey, facility: dict[str, Any]) -> list[Check]:
    """What a scene must be like to be rendered, beyond being decodable."""
    dropped = found.gaussians - found.usable
    level = level_from_world(facility["up_axis"], facility["floor_height_m"])
    corners = np.array([found.robust_lowest_m, found.robust_highest_m]) @ level[:3, :3].T + level[:3, 3]
    bottom_m, top_m = sorted(corners[:, 2])
    extent_m = float(np.ptp(corners, axis=0).max())
    return [
        Check("format", "ok", f"{found.format}, SH degree {found.sh_degree}"),
        Check(
            "Gaussians",
            "ok",
            f"{found.usable} usable of {found.gaussians}; dropped {dropped}: {found.not_finite} not finite, "
            f"{found.zero_quaternions} without a rotation, {found.huge} of a kilometre or more",
        ),
        Check(
            "extent",
            "ok" if EXTENT_M[0] <= extent_m <= EXTENT_M[1] else "fail",
            f"{extent_m:.2f} m across",
            f"the scene must be in metres, {EXTENT_M[0]} to {EXTENT_M[1]:.0f} m across: scale it in a splat editor",
        ),
        Check(
            "floor",
            "ok" if bottom_m - FLOOR_TOLERANCE_M <= 0 < top_m else "fail",
            f"the scene reaches from {bottom_m:.2f} to {top_m:.2f} m above floor_height_m "
            f"{facility['floor_height_m']:g} along {facility['up_axis']}",
            "correct up_axis or floor_height_m of the facility",
        ),
    ]


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", type=Path, required=True)
    parser.add_argument("--spec", type=cli.json_argument, required=True, help="name, up_axis, floor_height_m (JSON)")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    facility = arguments.spec

    found = survey(arguments.scene)[1]
    table = check_scene(found, facility)
    checks.print_table(table, f"scene of {facility['name']}", Console(stderr=True, width=120))
    failed = [f"{check.name}: {check.evidence}; {check.remedy}" for check in table if check.result == "fail"]
    if failed:
        raise UserError(f"{arguments.scene}: " + "; ".join(failed) + ".")
    marker = {
        "facility": facility,
        "scene": {"sha256": files.file_digest(arguments.scene), "bytes": arguments.scene.stat().st_size},
        "found": found.to_json(),
        "checks": [check.to_json() for check in table],
    }
    files.write_json(arguments.output, marker)


if __name__ == "__main__":
    cli.run(main)
