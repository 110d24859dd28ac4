"""The first look at a scan: guesses that a configuration can begin with, and pictures in which the right one shows."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from blueprint import config as configuration
from blueprint.demo import gaussians
from blueprint.fidelity import look
from blueprint.splat.load import survey
from blueprint.splat.standing import AXES
from rooms import boxes, room, turned
from workflow_runs import GUITAR, SCRIPTS


def seen(tmp_path, splat, name="my hall.ply"):
    path = tmp_path / name
    gaussians.write(splat, path)
    return look.guess(path, *survey(path))


@pytest.mark.parametrize(("axis", "floor_m"), [("z", 0.0), ("-y", 1.5), ("x", -2.0)])
def test_a_room_is_told_with_its_axis_and_floor(tmp_path, axis, floor_m):
    found = seen(tmp_path, turned(room(), axis, floor_m))
    assert (found.up.axis, found.up.sure) == (axis, "likely")
    assert found.is_room
    assert found.floor == pytest.approx(floor_m, abs=0.06)
    assert sorted(found.size) == pytest.approx([2.6, 4, 5], abs=0.3)


def test_an_object_stands_on_its_lowest_part(tmp_path):
    stem, shade = ((0.2, 0.15, 0.08), (0.3, 0.25, 1.0)), ((0.1, 0.1, 1), (0.4, 0.3, 1.1))
    lamp = boxes(((0, 0, 0), (0.5, 0.4, 0.08)), stem, shade, spacing_m=0.02)
    found = seen(tmp_path, turned(lamp, "-y", 0.4))
    assert found.up.axis == "-y" and not found.is_room
    assert found.floor == pytest.approx(0.4, abs=0.03)


@pytest.fixture(scope="module")
def guitar():
    if not GUITAR.exists():
        pytest.skip(f"{GUITAR} (a capture that the repository does not carry) is not there")
    return survey(GUITAR)


@pytest.mark.parametrize("axis", AXES)
def test_the_guitar_is_told_upright_however_it_was_turned(guitar, axis):
    """As it was captured, and in five turned copies: the axis and which end of it is up."""
    splat, facts = guitar
    found = look.guess(GUITAR, splat if axis == "-y" else turned(splat, axis, was="-y"), facts)
    assert (found.up.axis, found.up.sure, found.is_room) == (axis, "likely", False)


def test_the_starter_is_a_valid_configuration_with_the_guesses(tmp_path):
    text = look.starter(seen(tmp_path, turned(room(), "-y", 1.5)))
    config = configuration.complete(yaml.safe_load(text), "my.yaml")
    (facility,) = config["facilities"]
    assert (facility["name"], facility["up_axis"]) == ("my_hall", "-y")
    assert facility["floor_height_m"] == pytest.approx(1.5, abs=0.06)
    assert facility["scene"] == str(tmp_path / "my hall.ply")
    assert [clip["path"] for clip in config["clips"]] == ["orbit", "sweep", "manipulation"]


def test_units_that_are_no_metres_are_said(tmp_path):
    splat = room()
    splat.means[:] *= 50
    splat.scales[:] *= 50
    found = seen(tmp_path, splat)
    low, high = found.units_m
    assert low < 1 / 50 < high
    assert "not metres" in look.describe(found) and "GUESSED" in look.starter(found)


def test_the_program(tmp_path):
    """Seven pictures that differ, guesses as JSON; a configuration that is there already stays as it is."""
    scan = tmp_path / "hall.ply"
    gaussians.write(room(), scan)
    command = [sys.executable, str(SCRIPTS / "look.py"), str(scan), "--json"]
    (tmp_path / "my.yaml").write_text("mine")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["up"]["axis"] == "z"
    assert (tmp_path / "my.yaml").read_text() == "mine"
    width, height = look.TILE_PX
    sheet = cv2.imread(str(tmp_path / "look-hall.png"))
    assert sheet.shape == (2 * height, 4 * width, 3)
    tiles = [sheet[y : y + height, x : x + width] for y in (0, height) for x in range(0, 4 * width, width)][:7]
    for index, tile in enumerate(tiles):
        assert tile.std() > 10, "something is seen"
        assert all(np.abs(tile.astype(int) - other).mean() > 5 for other in tiles[:index])
    refused = subprocess.run([*command[:2], "none.ply"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 1 and f"none.ply: there is no such file in {Path(tmp_path)}" in refused.stderr
