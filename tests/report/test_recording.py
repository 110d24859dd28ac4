"""The recording for the Rerun viewer, read back by Rerun's own reader, holds what the files of the run hold."""

import shutil
from collections import defaultdict

import cv2
import numpy as np
import pytest
from rerun.chunk import RrdReader

from blueprint import demo
from blueprint.depth import iterate_depth
from blueprint.files import read_json
from blueprint.poses import read
from blueprint.report import recording
from blueprint.splat.decode import SH0
from blueprint.video import read_video
from small_runs import small_config
from workflow_runs import snakemake, write_config

CLIPS, VARIANTS, FRAMES = ("orbit", "sweep"), ("evening", "neon", "fog"), 4


def columns_of(path):
    """Per entity and component the values of its rows in order; ``frame`` is the timeline."""
    found = defaultdict(lambda: defaultdict(list))
    for chunk in RrdReader(str(path)).stream():
        batch = chunk.to_record_batch()
        assert set(chunk.timeline_names) <= {"frame"}
        for name in set(batch.schema.names) - {"rerun.controls.RowId"}:
            found[chunk.entity_path][name] += batch.column(name).to_pylist()
    return found


@pytest.fixture(scope="module")
def made(finished_run, tmp_path_factory):
    """The folder of the facility and what its recording holds; the recording is made by the command of the docs."""
    folder = tmp_path_factory.mktemp("recorded") / "run"
    shutil.copytree(finished_run, folder)
    snakemake(folder, write_config(folder, small_config()), "rerun")
    facility = folder / "results" / "kitchen"
    return facility, columns_of(facility / "rerun.rrd")


def test_everything_is_there_on_one_timeline(made):
    _, found = made
    images = ("render", "depth", *(f"variants/{variant}" for variant in VARIANTS))
    names = small_config()["metrics"]["names"]
    per_frame = {
        *(f"/world/clips/{clip}" for clip in CLIPS),
        *(f"/world/clips/{clip}/{image}" for clip in CLIPS for image in images),
        *(f"/scores/{clip}/{variant}/{name}" for clip in CLIPS for variant in VARIANTS for name in names),
    }
    assert set(found) - {"/__properties"} == per_frame | {"/world", "/world/scene"}
    for entity in per_frame:
        assert sorted(found[entity]["frame"]) == list(range(FRAMES)), entity


def test_scores_are_those_of_the_files(made):
    facility, found = made
    for clip in CLIPS:
        for variant in VARIANTS:
            scores = read_json(facility / "metrics" / clip / f"{variant}.json")
            for name, values in scores["frames"].items():
                logged = found[f"/scores/{clip}/{variant}/{name}"]
                assert dict(zip(logged["frame"], logged["Scalars:scalars"], strict=True)) == {
                    frame: [value] for frame, value in enumerate(values) if value is not None
                }


def test_the_cameras_are_those_of_the_clip(made):
    facility, found = made
    cameras, logged = read(facility / "clips" / "orbit" / "cameras.json"), found["/world/clips/orbit"]
    for row, frame in enumerate(logged["frame"]):
        turn = np.array(logged["Transform3D:mat3x3"][row]).reshape(3, 3).T  # Rerun keeps columns
        world_from_camera = np.eye(4)
        world_from_camera[:3] = np.hstack([turn, np.array(logged["Transform3D:translation"][row]).reshape(3, 1)])
        assert world_from_camera @ cameras.viewmats[frame] == pytest.approx(np.eye(4), abs=1e-5)
        K = np.array(logged["Pinhole:image_from_camera"][row]).reshape(3, 3).T
        assert pytest.approx(cameras.Ks[frame], rel=1e-6) == K
        assert logged["Pinhole:resolution"][row] == [[cameras.width, cameras.height]]


def pictures(column):
    return [cv2.imdecode(np.array(*row, np.uint8), cv2.IMREAD_UNCHANGED) for row in column]


def test_the_images_are_those_of_the_clip(made):
    facility, found = made
    for name, path in (("render", "clips/orbit/rgb.mp4"), ("variants/fog", "enriched/orbit/fog.mp4")):
        logged = found[f"/world/clips/orbit/{name}"]
        shown = dict(zip(logged["frame"], pictures(logged["EncodedImage:blob"]), strict=True))
        for frame, wanted in enumerate(read_video(facility / path)):
            assert np.abs(shown[frame][..., ::-1].astype(int) - wanted).mean() < 3


def test_depth_is_in_metres(made):
    facility, found = made
    logged = found["/world/clips/sweep/depth"]
    shown = dict(zip(logged["frame"], pictures(logged["EncodedDepthImage:blob"]), strict=True))
    (units_per_m,) = logged["EncodedDepthImage:meter"][0]
    for frame, (depth_m, _) in enumerate(iterate_depth(facility / "clips" / "sweep" / "depth.npz", "median_m")):
        assert shown[frame] / units_per_m == pytest.approx(depth_m, abs=0.6 / units_per_m)
        assert depth_m.max() > 1


def test_points_are_a_fair_sample_in_the_colours_of_degree_0(monkeypatch):
    scene = demo.build("kitchen", gaussians=20_000)
    monkeypatch.setattr(recording, "MOST_POINTS", 500)
    points = recording._points(scene)
    places, packed = points.positions.as_arrow_array().to_pylist(), points.colors.as_arrow_array().to_pylist()
    assert len(places) == len(packed) == 500
    rows = {tuple(place): row for row, place in enumerate(scene.means.tolist())}
    for place, colour in zip(places, packed, strict=True):
        wanted = np.rint(255 * np.clip(0.5 + SH0 * scene.sh[rows[tuple(place)], 0], 0, 1))
        assert [colour >> shift & 255 for shift in (24, 16, 8)] == wanted.tolist()
