"""What a picture must show, worked out by hand; asked of the reference and of the CPU backend alike."""

import numpy as np
import pytest
import torch

from blueprint.errors import UserError
from blueprint.render import choose_backend, rasterize, reference
from blueprint.render.cpu import CpuRenderer
from splats import assert_same_picture, intrinsics, look_at, make_splat, random_splat

FRONT = np.eye(4)  # the camera at the origin, looking along +z, +x to the right, +y down
SIDE = look_at((2.0, -1.5, 1.0), (0.0, 0.0, 3.0), up=(0, -1, 0))


@pytest.fixture(params=[reference.rasterize, rasterize], ids=["reference", "cpu"])
def draw(request):
    return request.param


def test_one_gaussian_lands_on_the_computed_pixel_with_the_computed_values(draw):
    # fx x / z + cx = 100 * 0.3 / 2 + 40.5 = 55.5, the centre of column 55; 80 * -0.2 / 2 + 30.5 = 22.5, row 22.
    K = np.array([[100, 0, 40.5], [0, 80, 30.5], [0, 0, 1]])
    splat = make_splat([0.3, -0.2, 2.0], scales=0.04, opacities=0.8, colours=[0.9, 0.5, 0.2])
    frame = draw(splat, FRONT, K, 81, 61)
    assert np.unravel_index(frame.alpha.argmax(), frame.alpha.shape) == (22, 55)
    assert frame.alpha[22, 55] == pytest.approx(0.8, abs=1e-5)
    assert frame.rgb[22, 55] == pytest.approx(0.8 * np.array([0.9, 0.5, 0.2]), abs=1e-5)
    assert frame.depth_m[22, 55] == pytest.approx(2.0, abs=1e-5)
    # Three columns to the right: the variance is (fx s / z)^2 + (fx x s / z^2)^2 + 0.3, the latter for being off-axis;
    # covariances with the other axis matter little, but the inverse needs them.
    J = np.array([[100 / 2, 0, -100 * 0.3 / 4], [0, 80 / 2, 80 * 0.2 / 4]])
    conic = np.linalg.inv(0.04**2 * J @ J.T + 0.3 * np.eye(2))
    assert frame.alpha[22, 58] == pytest.approx(0.8 * np.exp(-0.5 * 9 * conic[0, 0]), rel=1e-4)
    assert frame.alpha[24, 54] == pytest.approx(
        0.8 * np.exp(-0.5 * np.array([-1, 2]) @ conic @ np.array([-1, 2])), rel=1e-4
    )
    assert frame.alpha[0, 0] == 0 and frame.depth_m[0, 0] == 0


def test_nearer_gaussian_covers_the_farther_and_the_background_shows_through(draw):
    splat = make_splat([[0, 0, 4.0], [0, 0, 2.0]], scales=0.5, opacities=[0.5, 0.6], colours=[[0, 1, 0], [1, 0, 0]])
    frame = draw(splat, FRONT, intrinsics(33, 33), 33, 33, background=(0, 0, 1))
    assert frame.rgb[16, 16] == pytest.approx([0.6, 0.4 * 0.5, 0.4 * 0.5], abs=1e-4)
    assert frame.alpha[16, 16] == pytest.approx(0.8, abs=1e-4)
    assert frame.depth_m[16, 16] == pytest.approx((0.6 * 2 + 0.2 * 4) / 0.8, abs=1e-4)


def test_opaque_gaussians_stop_at_the_transmittance_limit(draw):
    # Each leaves 0.001: after the first T = 1e-3, the second would make it 1e-6 <= 1e-4 and is therefore not drawn.
    splat = make_splat([[0, 0, 2.0], [0, 0, 3.0]], scales=0.5, colours=[[1, 1, 1], [1, 0, 0]])
    frame = draw(splat, FRONT, intrinsics(33, 33), 33, 33)
    assert frame.alpha[16, 16] == pytest.approx(0.999, abs=1e-6)
    assert frame.depth_m[16, 16] == pytest.approx(2.0, abs=1e-5)


def test_textured_plane_at_two_metres_has_depth_two_metres(draw):
    x, y = np.meshgrid(np.arange(-2.2, 2.2, 0.04), np.arange(-1.7, 1.7, 0.04))
    means = np.stack([x.ravel(), y.ravel(), np.full(x.size, 2.0)], -1)
    colours = np.stack([(np.floor(x * 5) + np.floor(y * 5)).ravel() % 2] * 3, -1)
    frame = draw(make_splat(means, scales=(0.03, 0.03, 0.001), colours=colours), FRONT, intrinsics(64, 48), 64, 48)
    assert frame.alpha.min() > 0.95
    assert frame.depth_m == pytest.approx(np.full((48, 64), 2.0), abs=1e-4)
    assert frame.rgb.std() > 0.2


def test_left_is_left_and_up_is_up(draw):
    # A world with z up seen from the south: east is right. Red in the west, green high, blue in the east below.
    splat = make_splat([[-1, 3, 1.5], [0, 3, 2.5], [1, 3, 0.5]], scales=0.1, colours=[[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    frame = draw(splat, look_at((0, 0, 1.5), (0, 3, 1.5)), intrinsics(64, 64), 64, 64)
    rows, columns = zip(*(np.unravel_index(frame.rgb[..., c].argmax(), (64, 64)) for c in range(3)), strict=True)
    assert columns[0] < 25 < columns[1] < 39 < columns[2]
    assert rows[1] < 25 < rows[0] < 39 < rows[2]


@pytest.mark.parametrize("angle_deg", [30, 60, 150])
def test_quaternion_turns_an_elongated_gaussian_the_right_way(draw, angle_deg):
    # Rotated about the optical axis from +x towards +y, that is clockwise on the screen, as y points down.
    half = np.radians(angle_deg) / 2
    splat = make_splat([0, 0, 2.0], scales=(0.3, 0.02, 0.02), quats=[np.cos(half), 0, 0, np.sin(half)])
    frame = draw(splat, FRONT, intrinsics(64, 64), 64, 64)
    rows, columns = np.mgrid[:64, :64] - 31.5
    xy = (frame.alpha * rows * columns).sum()
    xx, yy = (frame.alpha * columns**2).sum(), (frame.alpha * rows**2).sum()
    assert np.degrees(np.arctan2(2 * xy, xx - yy)) / 2 % 180 == pytest.approx(angle_deg, abs=1)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_harmonics_agree_with_an_independent_evaluation(draw, degree):
    """Against scipy's complex harmonics, made real with 3DGS's order (m from -l to l) and signs.

    With the Condon-Shortley phase kept, sqrt(2) Im Y_l^|m| for m < 0 and sqrt(2) Re Y_l^m for m > 0 are 3DGS's basis.
    """
    from scipy.special import sph_harm_y

    rng = np.random.default_rng(degree)
    sh = rng.normal(0, 0.2, (1, 16, 3))
    eye = np.array([1.0, -2.0, 0.5])
    target = np.array([0.3, 0.8, 1.1])
    direction = (target - eye) / np.linalg.norm(target - eye)
    polar, azimuth = np.arccos(direction[2]), np.arctan2(direction[1], direction[0])
    basis = []
    for band in range(degree + 1):
        for order in range(-band, band + 1):
            value = sph_harm_y(band, abs(order), polar, azimuth)
            basis.append(value.real if order == 0 else np.sqrt(2) * (value.imag if order < 0 else value.real))
    expected = np.clip(np.array(basis) @ sh[0, : len(basis)] + 0.5, 0, None) * 0.999
    frame = draw(
        make_splat(target, scales=0.5, sh=sh), look_at(eye, target), intrinsics(17, 17), 17, 17, sh_degree=degree
    )
    assert frame.rgb[8, 8] == pytest.approx(np.clip(expected, 0, 1), abs=2e-4)


def test_clip_planes_and_gaussians_behind_the_camera(draw):
    splat = make_splat([[0, 0, -2.0], [0, 0, 0.04], [0, 0, 101.0]], scales=0.5)
    frame = draw(splat, FRONT, intrinsics(20, 20), 20, 20, near_m=0.05, far_m=100.0, background=(0.1, 0.2, 0.3))
    assert not frame.alpha.any() and not frame.depth_m.any()
    assert frame.rgb == pytest.approx(np.broadcast_to([0.1, 0.2, 0.3], (20, 20, 3)))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("viewmat", [FRONT, SIDE], ids=["front", "side"])
def test_cpu_agrees_with_the_reference_on_random_scenes(viewmat, degree):
    splat = random_splat(3000, seed=degree, sh_degree=degree)
    K = intrinsics(150, 117)
    K[0, 2] += 7.3  # an off-centre principal point
    options = {"background": (0.2, 0.4, 0.1), "sh_degree": degree}
    assert_same_picture(
        rasterize(splat, viewmat, K, 150, 117, **options),
        reference.rasterize(splat, viewmat, K, 150, 117, **options),
    )


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 31), (100, 3)])
@pytest.mark.parametrize(
    "splat",
    [
        make_splat([0, 0, 2.0], scales=0.3, opacities=0.0),
        make_splat([0, 0, 2.0], scales=0.3, opacities=1.0),
        make_splat([0, 0, 1.0], scales=1000.0, opacities=0.7),
        make_splat([0.5, 0.2, 0.06], scales=(30.0, 1e-4, 1e-4), quats=[0.9, 0.1, 0.3, 0.3], opacities=0.9),
        make_splat([40.0, 0, 1.0], scales=0.01),
        random_splat(50, size_m=3.0),
    ],
    ids=["clear", "opaque", "covers-all", "needle-at-the-lens", "out-of-view", "large"],
)
def test_cpu_agrees_with_the_reference_in_edge_cases(splat, size):
    K = intrinsics(*size)
    assert_same_picture(
        rasterize(splat, FRONT, K, *size, background=(0.5, 0.5, 0.5)),
        reference.rasterize(splat, FRONT, K, *size, background=(0.5, 0.5, 0.5)),
    )


def test_cpu_agrees_with_the_reference_when_gaussians_fill_several_chunks():
    splat = random_splat(90_000, size_m=0.012)
    K = intrinsics(160, 120)
    assert_same_picture(rasterize(splat, FRONT, K, 160, 120), reference.rasterize(splat, FRONT, K, 160, 120))


def test_lists_of_tiles_that_overflow_a_chunk_are_cut():
    # 6,000 veils before 1,200 tiles are more pairs than a chunk takes; a window of 16 tiles needs a single chunk.
    rng = np.random.default_rng(0)
    means = np.column_stack([rng.uniform(-0.3, 0.3, (6000, 2)), rng.uniform(2, 4, 6000)])
    colours = rng.uniform(0, 1, (6000, 3))
    splat = make_splat(
        means, rng.uniform(0.5, 1.5, (6000, 3)), opacities=rng.uniform(0.01, 0.03, 6000), colours=colours
    )
    K = intrinsics(640, 480)
    window = K - np.array([[0, 0, 288], [0, 0, 208], [0, 0, 0]])
    whole = rasterize(splat, FRONT, K, 640, 480).rgb[208:272, 288:352]
    assert whole == pytest.approx(rasterize(splat, FRONT, window, 64, 64).rgb, abs=1e-3)


def test_threads_and_repetition_do_not_change_a_bit():
    splat = random_splat(40_000, size_m=0.03)
    K = intrinsics(200, 150)
    renderers = [CpuRenderer(splat, 200, 150, threads=threads) for threads in (1, 2, 5)]
    frames = [renderer.frame(view, K) for renderer in renderers for view in (FRONT, SIDE, FRONT)]
    for index in (2, 3, 5, 6, 8):
        for field in ("rgb", "depth_m", "alpha"):
            assert np.array_equal(getattr(frames[index], field), getattr(frames[0], field))
    assert not np.array_equal(frames[0].rgb, frames[1].rgb)


def test_scenes_that_cannot_be_rendered_are_refused():
    splat = make_splat([0, 0, 2.0], scales=0.3)
    splat.means[0, 1] = np.nan
    with pytest.raises(UserError, match="means"):
        rasterize(splat, FRONT, intrinsics(8, 8), 8, 8)
    with pytest.raises(UserError, match="no Gaussians"):
        rasterize(make_splat(np.zeros((0, 3)), scales=1), FRONT, intrinsics(8, 8), 8, 8)


def test_choice_of_backend_is_logged_and_never_a_fallback(caplog, monkeypatch):
    from blueprint import render

    caplog.set_level("INFO")
    monkeypatch.setattr(render, "_no_cuda_device", lambda: "there is no GPU")
    assert choose_backend("auto") is CpuRenderer
    assert "there is no GPU" in caplog.text
    assert choose_backend("cpu") is CpuRenderer
    with pytest.raises(UserError, match=r"gsplat.*there is no GPU"):
        choose_backend("gsplat")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device: gsplat can run")
def test_gsplat_is_refused_on_a_machine_without_cuda(caplog):
    caplog.set_level("INFO")
    with pytest.raises(UserError, match="CUDA"):
        choose_backend("gsplat")
    assert choose_backend("auto").name == "cpu" and "CUDA" in caplog.text


def test_a_gpu_is_not_left_idle_because_gsplat_does_not_load(monkeypatch):
    """It once became rendering on the CPU of a paid GPU machine, with a line in a log."""
    from blueprint import render

    monkeypatch.setattr(render, "_no_cuda_device", lambda: "")
    monkeypatch.setattr(render, "_gsplat_does_not_load", lambda: "the gsplat package does not load (undefined symbol)")
    with pytest.raises(UserError, match=r"there is a CUDA device, but the gsplat package does not load \(undefined"):
        choose_backend("auto")
    assert choose_backend("cpu") is CpuRenderer
