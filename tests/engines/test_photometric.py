"""The photometric engine: light behaves as physics says, nothing flickers, nothing moves, nothing is left to chance."""

import numpy as np
import pytest

from blueprint import poses
from blueprint.axes import opencv_viewmats
from blueprint.engines.job import enrich
from blueprint.engines.photometric import run as photometric
from blueprint.engines.presets import PRESETS, Look
from blueprint.video import read_video
from rendered_clips import clip_in, write_clip

SPEC = {
    "engine": "photometric",
    "module": photometric.__name__,
    "files": [],
    "settings": {},
    "variants": [{"name": name, "seed": 0, "preset": name} for name in PRESETS],
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return clip_in(write_clip(tmp_path_factory.mktemp("clip"), frames=8, width=224, height=176))


@pytest.fixture(scope="module")
def made(clip, tmp_path_factory):
    """Render and all presets as arrays [F, H, W, 3] in 0-255."""
    folder = tmp_path_factory.mktemp("enriched")
    enrich(clip, SPEC, "code", folder, folder / "scratch")
    videos = {"render": clip.rgb} | {name: folder / f"{name}.mp4" for name in PRESETS}
    return {name: np.stack(list(read_video(path))).astype(np.float64) for name, path in videos.items()}


def luma(frames):
    return frames @ [0.2126, 0.7152, 0.0722]


def relit(clip, look, seed=0):
    cameras = poses.read(clip.cameras)
    scene = photometric.place_scene(clip, cameras, seed)
    return np.stack(list(photometric.relit_frames(clip, cameras, look, scene, seed)))


def test_look_without_any_change_gives_the_render(clip, made):
    difference = np.abs(relit(clip, Look(prompt="")).astype(float) - made["render"])
    assert difference.max() <= 1


@pytest.mark.parametrize("name", PRESETS)
def test_edges_stay_where_they_are(made, name):
    """The strongest contrasts of the render are contrasts of the variant, at the same pixels."""
    for frame in (0, 7):
        edges = [np.hypot(*np.gradient(np.log(luma(made[key][frame]) + 8))) for key in ("render", name)]
        strong = [edge > np.quantile(edge, 0.95) for edge in edges]
        agreement = (strong[0] & strong[1]).sum() / strong[0].sum()
        assert agreement > 0.75


@pytest.mark.parametrize("name", PRESETS)
def test_light_flickers_less_than_the_render(made, name):
    """The mean gain from render to variant is steady in time, and the variant's level as steady as the render's."""
    render, variant = luma(made["render"]) + 4, luma(made[name]) + 4
    gain = np.log(variant / render).mean((1, 2))
    level = np.log(render).mean((1, 2))
    assert np.abs(np.diff(gain, 2)).max() < 0.01
    assert np.abs(np.diff(gain + level)).max() <= np.abs(np.diff(level)).max() + 0.02


@pytest.mark.parametrize("name", PRESETS)
def test_frozen_scene_stays_frozen(tmp_path, name):
    """A camera that stands still gives frames that differ by the codec alone: no noise in time."""
    clip = clip_in(write_clip(tmp_path, frames=3, moving=False))
    frames = relit(clip, PRESETS[name])
    render = np.stack(list(read_video(clip.rgb))).astype(int)
    assert np.abs(np.diff(render, axis=0)).max() <= 3, "only the codec changes the render"
    assert np.abs(np.diff(frames.astype(int), axis=0)).mean() < 0.6


def test_same_seed_gives_the_same_file_and_another_seed_another_window(clip, tmp_path):
    spec = {**SPEC, "variants": [{"name": "v", "seed": 3, "preset": "cctv"}]}
    other = {**SPEC, "variants": [{"name": "v", "seed": 4, "preset": "cctv"}]}
    for name, chosen in (("a", spec), ("b", spec), ("c", other)):
        enrich(clip, chosen, "code", tmp_path / name, tmp_path / "scratch")
    a, b, c = ((tmp_path / name / "v.mp4").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_looks_look_as_they_are_called(made):
    mean = {name: frames.mean((0, 1, 2)) for name, frames in made.items()}
    assert mean["warm_evening"][0] / mean["warm_evening"][2] > 1.3 * mean["render"][0] / mean["render"][2]
    assert mean["cold_fluorescent"][2] / mean["cold_fluorescent"][0] > 1.1 * mean["render"][2] / mean["render"][0]
    assert luma(mean["dim"]) < 0.6 * luma(mean["render"])
    assert made["haze"].std() < 0.8 * made["render"].std()
    assert np.quantile(made["overexposed_window"], 0.99) > 245
    assert made["cctv"].std(-1).mean() < 0.5 * made["render"].std(-1).mean()


def test_contrast_falls_to_two_percent_over_the_visibility():
    """Koschmieder: two surfaces that far away differ by 2 % of what they would differ by in clear air."""
    look = Look(prompt="", visibility_m=20.0, airlight=0.5)
    distance_m = np.full((1, 2), 20.0)
    light = np.array([[[0.0] * 3, [1.0] * 3]])
    seen = photometric.through_air(light, look, distance_m)
    assert np.allclose(seen[0, 1] - seen[0, 0], 0.02, atol=1e-4)
    near = photometric.through_air(light, look, np.zeros((1, 2)))
    assert np.allclose(near, light)


def test_window_light_falls_off_with_distance():
    """A disc of radius r gives half its greatest irradiance at distance r on its axis."""
    look = Look(prompt="", ambient_ev=-30.0, window_ev=1.0, window_radius_m=1.5)
    position = np.array([[[0.0, 0, 0], [1.5, 0, 0], [15.0, 0, 0]]])
    light = photometric.irradiance(look, position, np.zeros(3))
    assert np.allclose(light[0, 0], 2.0, rtol=1e-3)
    assert np.allclose(light[0, 1], 1.0, rtol=1e-3)
    assert np.allclose(light[0, 2], 2.0 / 101, rtol=1e-3)


@pytest.mark.parametrize(
    ("temperature_k", "expected"),
    [(2000, (0.527, 0.413)), (2856, (0.4476, 0.4074)), (4000, (0.3805, 0.3768)), (6504, (0.3135, 0.3237))],
)
def test_light_has_the_colour_of_a_black_body(temperature_k, expected):
    """Chromaticities of the Planckian locus (Wyszecki and Stiles, table 1(3.11)); luminance 1."""
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = to_xyz @ photometric.light_colour(temperature_k)
    assert np.allclose(xyz[:2] / xyz.sum(), expected, atol=0.004)
    assert xyz[1] == pytest.approx(1, abs=0.02)


def test_decoding_and_encoding_are_inverse():
    codes = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, -1)
    back = photometric.encode(photometric.decode(codes)).astype(int)
    assert np.abs(back - codes)[:, :253].max() <= 1
    assert np.abs(back - codes).max() <= 4, "the last codes share what headroom there is"


def test_pixels_that_show_nothing_count_as_far_away():
    K = np.array([[50.0, 0, 2], [0, 50.0, 2], [0, 0, 1]])
    _, distance_m = photometric.unproject(np.full((4, 4), 2.0), np.array([[1.0, 0.0, 1, 1]] * 4), np.eye(4), K, 30.0)
    assert np.allclose(distance_m[:, 0], 2.0, rtol=0.01)
    assert np.allclose(distance_m[:, 1], 30.0, rtol=0.01)


def test_positions_project_back_to_their_pixels():
    """With a focal length of its own for each axis, off the middle, from a camera that is turned and moved."""
    K = np.array([[50.0, 0, 7], [0, 80, 4], [0, 0, 1]])
    viewmat = opencv_viewmats(np.array([[1.0, 2, 3]]), np.array([[0.48, 0.6, -0.64]]))[0]
    depth_m = np.linspace(1, 4, 12 * 16).reshape(12, 16)
    world, distance_m = photometric.unproject(depth_m, np.ones((12, 16)), viewmat, K, 30.0)
    seen = world @ viewmat[:3, :3].T + viewmat[:3, 3]
    pixel = seen @ K.T / seen[..., 2:]
    columns, rows = np.meshgrid(np.arange(16) + 0.5, np.arange(12) + 0.5)
    assert np.allclose(pixel[..., 0], columns, atol=1e-3) and np.allclose(pixel[..., 1], rows, atol=1e-3)
    assert np.allclose(seen[..., 2], depth_m, atol=1e-5)
    assert np.allclose(distance_m, np.linalg.norm(world - [1, 2, 3], axis=-1), atol=1e-5)


def test_positions_are_in_the_world(clip):
    """What a moving camera sees of a wall stays in the wall."""
    low, high = photometric.scene_bounds(clip, poses.read(clip.cameras))
    assert np.all(low > [-3.2, -1.2, -0.2])
    assert np.all(high < [3.2, 5.2, 3.2])
    assert high[1] == pytest.approx(5.0, abs=0.1), "the wall in front of the camera"
