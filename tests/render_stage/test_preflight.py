"""The preflight marker: what was found in a scene, the same on every machine; wrong scenes are refused."""

import json
import shutil
import subprocess
import sys

import pytest

from workflow_runs import SCRIPTS


def preflight(scene, output, **facts):
    facility = {"name": "hall", "up_axis": "z", "floor_height_m": 0.0, "metres_per_unit": 1.0, **facts}
    script = [sys.executable, str(SCRIPTS / "preflight.py"), "--scene", str(scene)]
    command = [*script, "--spec", json.dumps(facility), "--output", str(output)]
    return subprocess.run(command, capture_output=True, text=True)


def test_marker(scene, tmp_path):
    done = preflight(scene, tmp_path / "preflight.json")
    assert done.returncode == 0, done.stderr
    marker = json.loads((tmp_path / "preflight.json").read_text())
    assert marker["found"]["format"] == "3DGS PLY" and marker["found"]["gaussians"] == marker["found"]["usable"]
    assert marker["found"]["highest_m"] == pytest.approx([5, 4, 2.6], abs=1e-3)
    assert marker["scene"]["bytes"] == scene.stat().st_size and len(marker["scene"]["sha256"]) == 64
    assert {check["result"] for check in marker["checks"]} == {"ok"}
    assert "Gaussians" in done.stderr and "floor" in done.stderr  # the table in the log


def test_marker_depends_on_scene_and_facility_alone(scene, tmp_path):
    """Another place, another time, the same bytes; so nothing downstream runs again elsewhere."""
    preflight(scene, tmp_path / "here.json")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(scene, elsewhere / "copy.ply")
    preflight(elsewhere / "copy.ply", elsewhere / "there.json")
    assert (tmp_path / "here.json").read_bytes() == (elsewhere / "there.json").read_bytes()


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"floor_height_m": 4.0}, "-4.00 to -1.40 m above floor_height_m 4 along z; correct up_axis or floor_height_m"),
        ({"floor_height_m": -3.0}, "3.00 to 5.60 m above floor_height_m -3"),
        ({"up_axis": "-z"}, "along -z"),
    ],
)
def test_a_floor_that_cannot_be_is_refused(scene, tmp_path, facts, said):
    done = preflight(scene, tmp_path / "preflight.json", **facts)
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1] and not (tmp_path / "preflight.json").exists()


def test_a_scene_that_is_no_splat_is_refused(tmp_path):
    (tmp_path / "scene.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nend_header\n1\n2\n3\n"
    )
    done = preflight(tmp_path / "scene.ply", tmp_path / "preflight.json")
    assert done.returncode == 1 and "scene.ply: " in done.stderr and "Traceback" not in done.stderr
