"""Objects seen from outside fill the frame, in every frame, the side that shows most first, before a neutral grey."""

from pathlib import Path

import numpy as np
import pytest

from blueprint.cameras.place import place
from blueprint.render import rasterize
from blueprint.render.clip import background_of
from blueprint.splat import load
from rooms import boxes, clip, room, turned
from splats import make_splat

WIDTH, HEIGHT = 160, 120
GUITAR = Path("../shared/data/guitar.compressed.ply")


def placed(splat, kind, **keys):
    return place(splat, clip(kind, **keys) | {"frames": 9, "width": WIDTH, "height": HEIGHT})


def filled(splat, cameras):
    """Shares of the frame's height and width that are filled, and whether the edge is free, for each frame."""
    shares = []
    for viewmat, K in zip(cameras.viewmats, cameras.Ks, strict=True):
        solid = rasterize(splat, viewmat, K, WIDTH, HEIGHT).alpha > 0.5
        rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
        free = not (solid[[0, -1]].any() or solid[:, [0, -1]].any())
        shares.append((np.ptp(rows) / HEIGHT, np.ptp(columns) / WIDTH, free))
    return np.array(shares)


@pytest.mark.parametrize("kind", ["orbit", "sweep"])
@pytest.mark.parametrize(("height_m", "up"), [(1.8, "z"), (0.31, "-y")])
def test_an_object_fills_half_to_four_fifths_of_the_height(kind, height_m, up):
    side_m = 0.4 * height_m
    thing = turned(boxes(((0, 0, 0), (side_m, 0.8 * side_m, height_m)), spacing_m=height_m / 30), up)
    shares = filled(thing, placed(thing, kind, up_axis=up))
    assert (shares[:, 0] >= 0.5).all() and (shares[:, 0] <= 0.8).all() and shares[:, 2].all()


@pytest.mark.parametrize("kind", ["orbit", "sweep"])
def test_a_broad_object_fills_the_width_instead(kind):
    thing = boxes(((0, 0, 0), (2, 0.5, 0.3)), spacing_m=0.05)
    shares = filled(thing, placed(thing, kind))
    assert (shares[:, 1].max() > 0.5) and (shares[:, 1] < 0.95).all() and shares[:, 2].all()


def test_the_detailed_side_faces_the_camera():
    """A plain board of which one side, towards -y, is painted with a pattern."""
    x, z = np.meshgrid(np.arange(0, 1, 0.02), np.arange(0, 1.5, 0.02))
    front = np.stack([x.ravel(), np.zeros(x.size), z.ravel()], axis=1)
    pattern = np.random.default_rng(0).uniform(0, 1, (len(front), 3))
    points = np.concatenate([front, np.add(front, (0, 0.06, 0))])
    colours = np.concatenate([pattern, np.full((len(front), 3), 0.5)])
    board = make_splat(points, (0.012, 0.002, 0.012), opacities=0.95, colours=colours)
    for kind in ("orbit", "sweep"):
        cameras = placed(board, kind)
        middle = cameras.viewmats[4]
        assert middle[2, 1] > 0.7, "the camera looks along +y, at the side that is painted"


@pytest.mark.parametrize("kind", ["orbit", "sweep"])
def test_the_guitar(kind):
    if not GUITAR.exists():
        pytest.skip(f"{GUITAR} (a capture that the repository does not carry) is not there")
    guitar = load(GUITAR, 0.23)
    cameras = placed(guitar, kind, up_axis="-y", metres_per_unit=0.23)
    shares = filled(guitar, cameras)
    assert (shares[:, 0] >= 0.5).all() and (shares[:, 0] <= 0.8).all() and shares[:, 2].all()
    front = cameras.viewmats[4]
    assert front[2, 2] < -0.5  # the strings are on the side of +z


def test_the_background_is_neutral_around_objects_alone():
    thing = boxes(((0, 0, 0), (0.5, 0.4, 1)), spacing_m=0.05)
    assert background_of(placed(thing, "orbit")) == [0.5, 0.5, 0.5]
    assert background_of(placed(room(), "orbit")) == [0, 0, 0]
