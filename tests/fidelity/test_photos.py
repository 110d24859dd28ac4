"""A scan held against photos: damage moves its own figure, a new photo is compared alone, paths go to the subject."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import kitchen_photos
from blueprint.axes import eyes_of, level_from_world
from blueprint.cameras.place import place
from blueprint.cameras.space import survey_space
from blueprint.errors import UserError
from blueprint.fidelity import photo_scores
from blueprint.fidelity.gaussians import coherence
from blueprint.fidelity.job import see_from_photos
from blueprint.fidelity.keys import FIGURES
from blueprint.fidelity.photos import shots_of
from blueprint.fidelity.scan import Scan
from blueprint.provenance import record
from blueprint.render.cpu import CpuRenderer
from blueprint.splat import load
from kitchen_photos import DAMAGES, judged, row
from result_schemas import file_errors
from rooms import boxes
from scan_damage import figure
from workflow_runs import GUITAR, REPOSITORY

FOX = GUITAR.parent / "fox"
WHOLE = DAMAGES[0]
TELLING = ("camera_shift", "unseen", "holes", "mush", "scatter", "colour_noise", "floaters")


@pytest.fixture(scope="module")
def kitchens():
    return kitchen_photos.build()


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_each_damage_moves_the_figure_that_tells_it_and_no_other(kitchens, tmp_path, damage):
    found = judged(*kitchens, damage, tmp_path)
    told = [name for name in TELLING if figure(found, name)["verdict"] in ("warn", "fail")]
    assert told == ([damage.told_by] if damage.told_by else [])
    page = (REPOSITORY / "docs" / "fidelity.md").read_text()
    assert row(damage, found) in page, "docs/fidelity.md shows what is measured"


def test_a_photo_that_is_added_is_compared_alone(tmp_path, monkeypatch):
    room = boxes(((-2.2, -1.8, 0), (2.2, 1.6, 2.6)), ((-0.3, -0.3, 0), (0.6, 0.5, 0.9)))
    compared = []
    compare = photo_scores._compare

    def noted(made, shot, *rest):
        compared.append(shot.name)
        return compare(made, shot, *rest)

    monkeypatch.setattr(photo_scores, "_compare", noted)
    found = judged(room, room, WHOLE, tmp_path, every=12)
    assert compared == list(found["photos"]["compared"]) and len(compared) > 5
    errors = file_errors("fidelity", json.loads(json.dumps({**found, "run": record(0.0, None, rasterizer="cpu")})))
    assert errors == []
    counts = found["photos"]["count"]
    assert counts["held_out"] == 10 and counts["seen"] == len(compared) - 10
    pictures = [tmp_path / "fidelity" / entry["picture"] for entry in found["photos"]["compared"].values()]
    assert all(picture.is_file() for picture in pictures)

    compared.clear()
    judged(room, room, WHOLE, tmp_path, every=6)
    assert compared == ["images/006.png", "images/018.png", "images/030.png"]


@pytest.fixture
def fox():
    if not FOX.exists():
        pytest.skip("the shared captures are not here")
    return load(FOX / "splat.ply")


def clip(path, **keys):
    common = {"frames": 5, "width": 160, "height": 120, "fps": 8, "up_axis": "z", "floor_height_m": 0, "index": 0}
    return {"path": path, **common, **keys}


@pytest.mark.parametrize("path", ["orbit", "sweep"])
def test_default_paths_are_placed_where_photos_show_the_subject(fox, path):
    photos = np.stack([shot.photo.viewmat for shot in shots_of({"path": str(FOX)})])
    near = place(fox, clip(path, photos=str(FOX)))
    away = np.linalg.norm(eyes_of(near.viewmats)[:, None] - eyes_of(photos)[None], axis=-1).min(axis=1)
    far = np.linalg.norm(eyes_of(place(fox, clip(path)).viewmats)[:, None] - eyes_of(photos)[None], axis=-1).min(axis=1)
    assert away.max() < 1.5 and far.min() > 4
    # What the photos show best is in the middle of every frame, in front of the wall, and nothing is empty.
    renderer = CpuRenderer(fox, near.width, near.height)
    for viewmat, K in zip(near.viewmats, near.Ks, strict=True):
        frame = renderer.frame(viewmat, K)
        assert (frame.alpha > 0.9).mean() > 0.97
        grey = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY)
        assert cv2.Laplacian(grey, cv2.CV_32F).std() > 0.02, "smear has no detail"


@pytest.mark.parametrize("path", ["orbit", "sweep"])
def test_default_paths_in_a_room_look_where_photos_looked(kitchens, tmp_path, path):
    """Photos look towards three of the eight directions; that pixels were photographed is told by the stage itself."""
    scan, room = kitchens
    dataset = kitchen_photos.photograph(room, tmp_path, replace(WHOLE, headings_deg=(0, 45, 315)))
    level = level_from_world("z", 0)
    options = {"sh_degree": 0, "threads": 1}
    judge = Scan(CpuRenderer, scan, options, level, survey_space(scan, level), True, coherence(scan))
    see_from_photos(judge, shots_of({"path": str(dataset)}))
    unseen = {}
    for photos in ({}, {"photos": str(dataset)}):
        placed = place(scan, clip(path, **photos))
        views = judge.trust((placed.width, placed.height)).views(placed.viewmats, placed.Ks)
        unseen[bool(photos)] = np.mean([view.causes["unseen"].mean() for view in views])
    assert unseen[True] < FIGURES["untrusted"].warn < unseen[False]
    assert unseen[True] < unseen[False] / 3


def test_a_clip_that_says_where_to_look_from_is_placed_there(fox):
    asked = clip("orbit", radius_m=9.0)
    assert np.array_equal(place(fox, {**asked, "photos": str(FOX)}).viewmats, place(fox, asked).viewmats)


def test_a_held_out_photo_that_is_not_there_is_named():
    if not FOX.exists():
        pytest.skip("the shared captures are not here")
    with pytest.raises(UserError, match=r"photos.held_out: found 'absent.jpg'.*images/0001.jpg"):
        shots_of({"path": str(Path(FOX)), "held_out": ["absent.jpg"]})
