"""On the demo kitchen, rendered by the real rasterizer: a moved island fails, every look of the real engine passes."""

import numpy as np
import pytest

from blueprint import demo
from blueprint.depth import iterate_depth
from blueprint.engines.photometric.run import place_scene, relit_frames
from blueprint.engines.presets import PRESETS
from blueprint.engines.task import Clip
from blueprint.metrics.catalogue import METRICS
from blueprint.metrics.frames import View
from blueprint.metrics.score import ClipFiles, score
from blueprint.metrics.stability import flicker
from blueprint.metrics.verdicts import judge, worst
from blueprint.poses import read
from blueprint.render import choose_backend
from blueprint.video import probe, read_video, write_video
from splats import intrinsics, look_at
from synthetic_room import FPS
from synthetic_room import Clip as RoomClip

NAMES = ["psnr", *(name for name, metric in METRICS.items() if metric.thresholds)]
WIDTH, HEIGHT, COUNT = 320, 240, 3


def rendered(offsets_m):
    """A slow walk past the island."""
    splat = demo.build("kitchen", gaussians=40_000, offsets_m=offsets_m)
    renderer = choose_backend("cpu")(
        splat, WIDTH, HEIGHT, sh_degree=3, background=(0, 0, 0), near_m=0.05, far_m=100, threads=1
    )
    views = np.array([look_at((-1.9 + 0.03 * step, -1.5, 1.6), (0.4, 0.5, 1.0)) for step in range(COUNT)])
    Ks = np.array([intrinsics(WIDTH, HEIGHT)] * COUNT)
    frames = list(renderer.frames(views, Ks))
    colours = np.array([np.rint(frame.rgb * 255).astype(np.uint8) for frame in frames])
    return RoomClip(colours, np.array([frame.depth_m for frame in frames]), views, Ks)


def verdict_of(mean):
    return worst(judge(name, mean[name], METRICS[name].thresholds) for name in NAMES)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kitchen")
    paths = rendered({}).write(folder)
    return ClipFiles(paths["rgb.mp4"], paths["depth.npz"], paths["cameras.json"])


def relit(kitchen, name, seed=0):
    """The frames of the clip under a preset, each [H, W, 3] uint8."""
    cameras = read(kitchen.cameras)
    clip = Clip(kitchen.rgb, kitchen.rgb, kitchen.depth_m, kitchen.cameras, probe(kitchen.rgb))
    return list(relit_frames(clip, cameras, PRESETS[name], place_scene(clip, cameras, seed), seed))


def test_a_moved_island_is_told_from_new_light(kitchen, tmp_path):
    moved = tmp_path / "moved.mp4"
    write_video(moved, rendered({"island": (0.3, 0.0, 0.0)}).frames, FPS)
    found = score(kitchen, moved, NAMES, "cpu")["mean"]
    assert verdict_of(found) in ("warn", "fail"), found
    for name in ("warm_evening", "cold_fluorescent", "haze"):
        variant = tmp_path / f"{name}.mp4"
        write_video(variant, relit(kitchen, name), FPS)
        mean = score(kitchen, variant, NAMES, "cpu")["mean"]
        assert verdict_of(mean) == "pass", (name, mean)
        if name != "cold_fluorescent":
            assert mean["psnr"] < found["psnr"], "by the pixels alone the moved island would look better"


@pytest.mark.parametrize("seed", [0, 4], ids="window {}".format)
@pytest.mark.parametrize("name", PRESETS)
def test_every_look_keeps_edges_and_flickers_less_than_the_render(kitchen, tmp_path, name, seed):
    frames = relit(kitchen, name, seed)
    variant = tmp_path / "variant.mp4"
    write_video(variant, frames, FPS)
    assert score(kitchen, variant, ["edge_agreement"], "cpu")["mean"]["edge_agreement"] > 0.9
    cameras, depths = read(kitchen.cameras), (depth_m for depth_m, _ in iterate_depth(kitchen.depth_m))
    sights = zip(read_video(kitchen.rgb), frames, depths, cameras.viewmats, cameras.Ks, strict=True)
    assert flicker(View(*sight) for sight in sights) < 1
