"""The render program: what the rasterizer drew is what the three files hold, and they appear together or not at all."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from blueprint import depth, poses, splat, video
from blueprint.cameras.place import place
from blueprint.errors import UserError
from blueprint.render import choose_backend
from blueprint.render import clip as program
from rooms import clip
from workflow_runs import SCRIPTS

SPEC = {"sh_degree": 3, "background": [0.1, 0.2, 0.3], "near_m": 0.05, "far_m": 100}


@pytest.fixture(scope="module")
def path(scene):
    return place(splat.load(scene), clip("orbit", frames=6, width=192, height=144))


def targets(folder):
    return {"rgb": folder / "rgb.mp4", "depth": folder / "depth.mp4", "depth_m": folder / "depth.npz"}


@pytest.fixture(scope="module")
def rendered(scene, path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    program.render_clip(scene, path, SPEC, "cpu", 2, targets(folder))
    return targets(folder)


def test_files_hold_what_was_drawn(scene, path, rendered):
    renderer = choose_backend("cpu")(splat.load(scene), 192, 144, threads=1, **SPEC)
    colours, depths = list(video.read_video(rendered["rgb"])), list(depth.iterate_depth(rendered["depth_m"]))
    assert len(colours) == len(depths) == 6
    medians = depth.iterate_depth(rendered["depth_m"], "median_m")
    for image, (depth_m, alpha), (median_m, _), viewmat, K in zip(
        colours, depths, medians, path.viewmats, path.Ks, strict=True
    ):
        frame = renderer.frame(viewmat, K)
        assert 10 * np.log10(1 / np.mean((image / 255 - frame.rgb) ** 2)) > 40
        assert np.abs(depth_m - frame.depth_m).max() <= frame.depth_m.max() / 65536
        assert np.abs(median_m - frame.median_m).max() <= frame.median_m.max() / 65536
        assert np.abs(alpha - frame.alpha).max() <= 0.5 / 255 + 1e-6


def test_the_control_video_is_inverse_depth(rendered):
    assert video.probe(rendered["depth"]) == video.probe(rendered["rgb"])
    for image, (depth_m, alpha) in zip(
        video.read_video(rendered["depth"]), depth.iterate_depth(rendered["depth_m"], "median_m"), strict=True
    ):
        assert np.ptp(image.astype(int), axis=2).max() <= 2  # grey
        inverse = 1 / depth_m[alpha > 0.99]
        assert np.corrcoef(inverse, image[..., 0][alpha > 0.99])[0, 1] > 0.98


def test_only_the_three_files_are_left(rendered):
    folder = rendered["rgb"].parent
    assert sorted(entry.name for entry in folder.iterdir()) == ["depth.mp4", "depth.npz", "rgb.mp4"]


def test_rendering_again_gives_the_same_bytes(scene, path, rendered, tmp_path):
    program.render_clip(scene, path, SPEC, "cpu", 1, targets(tmp_path))
    for name, target in targets(tmp_path).items():
        assert target.read_bytes() == rendered[name].read_bytes(), name


def test_a_failure_midway_leaves_nothing(scene, path, tmp_path, monkeypatch):
    backend = choose_backend("cpu")
    draw = backend.frame

    def frame(self, viewmat, K, lens=None):
        if np.array_equal(viewmat, path.viewmats[4]):
            raise MemoryError("out of memory")
        return draw(self, viewmat, K, lens)

    monkeypatch.setattr(backend, "frame", frame)
    with pytest.raises(MemoryError):
        program.render_clip(scene, path, SPEC, "cpu", 1, targets(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_fails_stops_the_rendering(scene, path, tmp_path, monkeypatch):
    def write_depth(target, frames, count):
        next(iter(frames))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(program.depth, "write_depth", write_depth)
    with pytest.raises(OSError, match="No space left"):
        program.render_clip(scene, path, SPEC, "cpu", 1, targets(tmp_path))
    assert list(tmp_path.iterdir()) == []


def command(scene, cameras_file, folder, *arguments):
    spec = '{"sh_degree": 0, "background": [0, 0, 0], "near_m": 0.05, "far_m": 100}'
    files = [part for name, path in targets(folder).items() for part in (f"--{name.replace('_', '-')}", str(path))]
    script = [sys.executable, str(SCRIPTS / "render.py"), "--scene", str(scene), "--cameras", str(cameras_file)]
    return [*script, "--spec", spec, *files, *arguments]


def test_the_log_says_which_rasterizer_and_how_far(scene, path, tmp_path):
    poses.write(tmp_path / "cameras.json", path)
    done = subprocess.run(command(scene, tmp_path / "cameras.json", tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "rasterizer: " in done.stderr and "auto" in done.stderr
    assert "frame 6 of 6" in done.stderr and "frames/s" in done.stderr


def test_bad_input_is_one_line(scene, path, tmp_path):
    (tmp_path / "cameras.json").write_text("{}")
    done = subprocess.run(command(scene, tmp_path / "cameras.json", tmp_path), capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "cameras.json" in done.stderr and "Traceback" not in done.stderr


def test_gsplat_without_a_gpu_is_an_error(scene, path, tmp_path):
    torch = pytest.importorskip("torch", reason="tells whether there is a GPU")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU: gsplat runs here")
    with pytest.raises(UserError, match="gsplat cannot run here"):
        program.render_clip(scene, path, SPEC, "gsplat", 1, targets(tmp_path))


def test_killed_midway_it_leaves_no_target(scene, tmp_path):
    """SIGKILL cannot be caught: what is left over has another name than the targets."""
    long = place(splat.load(scene), clip("orbit", frames=500, width=96, height=64))
    poses.write(tmp_path / "cameras.json", long)
    process = subprocess.Popen(command(scene, tmp_path / "cameras.json", tmp_path), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".*part*")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not any(target.exists() for target in targets(tmp_path).values())
