"""How a scene stands and how long its units are, guessed; a configuration that disagrees is warned of."""

from pathlib import Path

import numpy as np
import pytest

from blueprint.cameras.dataset import read_photos
from blueprint.splat import load
from blueprint.splat.marker import check_units, check_up_axis
from blueprint.splat.standing import AXES, guess_up
from rooms import boxes, room, turned
from splats import random_splat

DATA = Path("../shared/data")


@pytest.fixture(scope="module")
def lamp():
    """An object: a broad base, a stem and a small shade; z up."""
    stem, shade = ((0.2, 0.15, 0.08), (0.3, 0.25, 1.0)), ((0.1, 0.1, 1), (0.4, 0.3, 1.1))
    return boxes(((0, 0, 0), (0.5, 0.4, 0.08)), stem, shade, spacing_m=0.02)


def warnings(splat, right, viewmats=None):
    """What is said of each of the six axes; that of the right one first."""
    checks = {axis: check_up_axis(splat, {"up_axis": axis}, viewmats) for axis in AXES}
    assert checks.pop(right).result == "ok"
    return checks.values()


@pytest.mark.parametrize("right", AXES)
def test_five_wrong_axes_are_warned_of_with_the_right_one(right):
    for check in warnings(turned(room(), right), right):
        assert check.result == "warn" and check.remedy.startswith(f"set up_axis to {right},")


def test_an_object_with_a_base(lamp):
    for check in warnings(turned(lamp, "-y"), "-y"):
        assert check.result == "warn" and "set up_axis to -y," in check.remedy


def test_the_guitar_capture():
    path = DATA / "guitar.compressed.ply"
    if not path.exists():
        pytest.skip(f"{path} (a capture that the repository does not carry) is not there")
    splat = load(path)
    for check in warnings(splat, "-y"):
        assert check.result == "warn" and "set up_axis to -y," in check.remedy
    for factor, said in ((1, "ok"), (1 / 20, "warn"), (20, "warn"), (60, "warn")):
        assert check_units(load(path, factor), {"metres_per_unit": factor}).result == said
    remedy = check_units(load(path, 60), {"metres_per_unit": 60}).remedy
    low, high = (float(word) for word in remedy.split("likely ")[1].removesuffix(" m long").split(" to "))
    assert low < 0.23 < high  # the guitar is 4.3 units long


def test_photos_tell_what_a_shapeless_scene_does_not():
    path = DATA / "fox"
    if not path.exists():
        pytest.skip(f"{path} (a capture that the repository does not carry) is not there")
    splat, viewmats = load(path / "splat.ply"), np.stack([photo.viewmat for photo in read_photos(path)])
    assert guess_up(splat).sure == "unclear"
    assert check_up_axis(splat, {"up_axis": "y"}).result == "ok"  # what is unclear is no warning
    for check in warnings(splat, "z", viewmats):
        assert check.result == "warn" and "certain: z" in check.evidence


def test_a_shapeless_scene_is_unclear():
    assert guess_up(random_splat(2000)).sure == "unclear"
