"""The rules of preflight, cameras and render through the real Snakemake, on a small room."""

import json

import numpy as np
import pytest

from blueprint import depth, poses, video
from blueprint.axes import eyes_of
from rooms import room, write_ply
from workflow_runs import planned_jobs, snakemake, write_config


def configuration(**changes):
    return {
        "facilities": [{"name": "hall", "scene": "hall.ply"}],
        "render": {"width": 64, "height": 48, "fps": 8, "frames": 3, "backend": "cpu"},
        "clips": [
            {"name": "around", "path": "orbit", "count": 2},
            {"name": "given", "path": "file", "file": "path.json", "frames": 2},
        ],
        "metrics": {"names": ["psnr"]},
        **changes,
    }


def write_camera_path(folder, y_m):
    taken = [[1, 0, 0, x, 0, 0, -1, y_m, 0, 1, 0, 1.5, 0, 0, 0, 1] for x in (1.0, 2.0)]
    path = {"camera_type": "perspective", "camera_path": [{"camera_to_world": pose, "fov": 60} for pose in taken]}
    (folder / "path.json").write_text(json.dumps(path))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_ply(folder / "hall.ply", room())
    write_camera_path(folder, 1.0)
    config = write_config(folder, configuration())
    snakemake(folder, config, "--until", "render")
    return folder, config


def test_every_clip_is_rendered(run):
    folder, _ = run
    clips = folder / "results" / "hall" / "clips"
    assert sorted(path.name for path in clips.iterdir()) == ["around-0", "around-1", "given"]
    for clip in clips.iterdir():
        path = poses.read(clip / "cameras.json")
        count = 2 if clip.name == "given" else 3
        assert video.probe(clip / "rgb.mp4") == video.VideoInfo(64, 48, 8.0, count)
        assert video.probe(clip / "depth.mp4").frames == len(path.viewmats) == count
        frames = list(depth.iterate_depth(clip / "depth.npz"))
        assert len(frames) == count and all((alpha > 0.9).mean() > 0.9 for _, alpha in frames)
    eyes = [eyes_of(poses.read(clips / name / "cameras.json").viewmats) for name in ("around-0", "around-1")]
    assert np.abs(eyes[0] - eyes[1]).max() > 0.2
    assert np.allclose(eyes_of(poses.read(clips / "given" / "cameras.json").viewmats), [[1, 1, 1.5], [2, 1, 1.5]])


def test_only_what_changed_is_done_again(run):
    folder, config = run
    assert not planned_jobs(snakemake(folder, config, "-n", "--until", "render"))
    tilted = configuration(output=".")
    tilted["clips"][0]["look_down_deg"] = 20
    jobs = planned_jobs(snakemake(folder, write_config(folder, tilted, "b.yaml"), "-n", "--until", "render"))
    assert (jobs["cameras"], jobs["render"], jobs.get("preflight")) == (2, 2, None)
    brighter = configuration(output=".")
    brighter["render"]["background"] = [1, 1, 1]
    jobs = planned_jobs(snakemake(folder, write_config(folder, brighter, "c.yaml"), "-n", "--until", "render"))
    assert (jobs.get("cameras"), jobs["render"], jobs.get("preflight")) == (None, 3, None)
    write_camera_path(folder, 1.2)
    jobs = planned_jobs(snakemake(folder, config, "-n", "--until", "render"))
    write_camera_path(folder, 1.0)
    assert (jobs["cameras"], jobs["render"], jobs.get("preflight")) == (1, 1, None)


def test_a_path_that_cannot_be_placed_stops_the_run_before_anything_is_rendered(run, tmp_path):
    write_ply(tmp_path / "hall.ply", room())
    config = write_config(
        tmp_path, configuration(clips=[{"name": "wide", "path": "orbit", "radius_m": 9, "arc_deg": 360}])
    )
    done = snakemake(tmp_path, config, "--until", "render", check=False)
    assert done.returncode != 0
    log = (tmp_path / "logs" / "hall" / "cameras" / "wide.log").read_text()
    assert "hall.ply: path orbit: no arc of 360 degrees with radius_m 9.00" in log and "Traceback" not in log
    assert not (tmp_path / "results" / "hall" / "clips" / "wide" / "rgb.mp4").exists()


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        ({"path": "orbit", "height_m": -0.5}, ["clips[0].height_m", "-0.5"]),
        ({"path": "orbit", "frames": 0}, ["clips[0].frames", "0"]),
        ({"path": "file"}, ["clips[0]", "the key 'file' is missing"]),
        ({"path": "file", "file": "path.json", "count": 2}, ["clips[0].count", "2", "makes one clip"]),
        (
            {"path": "orbit", "file": "path.json"},
            ["clips[0]", "unknown key 'file', which `orbit` does not take", "it goes with `file`"],
        ),
        ({"path": "sweep", "target_m": [1, 2]}, ["clips[0].target_m", "[1, 2]"]),
        ({"path": "spiral"}, ["clips[0].path", "spiral", "sweep"]),
        ({"path": "orbit", "radius": 2}, ["unknown key 'radius'", "radius_m"]),
    ],
)
def test_bad_clips_are_refused_before_any_job(clip, said, tmp_path):
    config = write_config(tmp_path, configuration(clips=[{"name": "bad", **clip}]))
    done = snakemake(tmp_path, config, "-n", check=False)
    assert done.returncode != 0
    for word in said:
        assert word in done.stdout, done.stdout
