"""What is looked at in a scene before anything is rendered of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from blueprint import checks, files
from blueprint.axes import level_from_world, moved
from blueprint.checks import Check
from blueprint.errors import UserError
from blueprint.splat.load import Survey, survey
from blueprint.splat.scene import Splat
from blueprint.splat.standing import COARSEST_M, FINEST_M, grain_m, guess_up

FLOOR_TOLERANCE_M = 0.5
EXTENT_M = (0.2, 2000.0)


def scene_marker(scene: Path, facility: dict[str, Any], viewmats: np.ndarray | None = None) -> dict[str, Any]:
    """What was found in a scene, for the marker that the other stages wait for. Its table of checks goes to the log.

    A pure function of the scene's bytes and of the facts given about the facility: nothing about the machine or the
    time goes in, so that it is the same file on the next machine and nothing runs again there.

    Args:
        scene: the splat file.
        facility: its ``name``, ``up_axis``, ``floor_height_m`` and ``metres_per_unit``.
        viewmats: world-to-camera matrices [F, 4, 4] of its photos, if they are known.

    Raises:
        UserError: the scene cannot be decoded, or a check fails.
    """
    splat, found = survey(scene, facility["metres_per_unit"])
    table = [*check_scene(found, facility), check_up_axis(splat, facility, viewmats), check_units(splat, facility)]
    checks.print_table(table, f"scene of {facility['name']}", Console(stderr=True, width=120))
    failed = [f"{check.name}: {check.evidence}; {check.remedy}" for check in table if check.result != "ok"]
    if any(check.result == "fail" for check in table):
        raise UserError(f"{scene}: " + "; ".join(failed) + ".")
    return {
        "facility": facility,
        "scene": {"sha256": files.file_digest(scene), "bytes": scene.stat().st_size},
        "found": found.to_json(),
        "checks": [check.to_json() for check in table],
    }


def check_up_axis(splat: Splat, facility: dict[str, Any], viewmats: np.ndarray | None = None) -> Check:
    """Whether the scene seems to stand as the facility says."""
    guess = guess_up(splat, viewmats)
    said = f"up_axis is {facility['up_axis']}; {guess.sure}: {guess.axis} ({guess.why})"
    if guess.axis == facility["up_axis"] or guess.sure == "unclear":
        return Check("up axis", "ok", said)
    return Check("up axis", "warn", said, f"set up_axis to {guess.axis}, unless the first clip shows the scene upright")


def check_units(splat: Splat, facility: dict[str, Any]) -> Check:
    """Whether the scene's units, as configured, can be metres, by how large training made its Gaussians."""
    grain = grain_m(splat)
    said = f"half of the Gaussians are larger than {1000 * grain:.2g} mm at {facility['metres_per_unit']:g} m per unit"
    if FINEST_M <= grain <= COARSEST_M:
        return Check("units", "ok", f"{said}, as those of scans in metres are")
    low, high = (facility["metres_per_unit"] * bound / grain for bound in (FINEST_M, COARSEST_M))
    return Check(
        "units",
        "warn",
        f"{said}; those of scans are {1000 * FINEST_M:g} to {1000 * COARSEST_M:g} mm",
        f"set metres_per_unit or scale of the facility; a unit of this scene is likely {low:.2g} to {high:.2g} m long",
    )


def check_scene(found: Survey, facility: dict[str, Any]) -> list[Check]:
    """What a scene must be like to be rendered, beyond being decodable."""
    dropped = found.gaussians - found.usable
    level = level_from_world(facility["up_axis"], facility["floor_height_m"])
    corners = moved(np.array([found.robust_lowest_m, found.robust_highest_m]), level)
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
            f"a scene is {EXTENT_M[0]} to {EXTENT_M[1]:.0f} m across: set metres_per_unit or scale of the facility",
        ),
        Check(
            "floor",
            "ok" if bottom_m - FLOOR_TOLERANCE_M <= 0 < top_m else "fail",
            f"the scene reaches from {bottom_m:.2f} to {top_m:.2f} m above floor_height_m "
            f"{facility['floor_height_m']:g} along {facility['up_axis']}",
            "correct up_axis or floor_height_m of the facility",
        ),
    ]
