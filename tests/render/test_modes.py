"""What the reference, the CPU backend and the CUDA backend owe each other in every mode: antialiased, lenses, depths.

Without a GPU the CUDA backend runs on a stand-in for gsplat's kernels; everything else of it is the real thing.
"""

import importlib
import sys
from dataclasses import replace
from functools import cache, partial

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose

import gsplat_double
from blueprint import demo, lens
from blueprint.engines.photometric.run import unproject
from blueprint.errors import UserError
from blueprint.lens import Lens
from blueprint.metrics.frames import View
from blueprint.metrics.stability import warp_map
from blueprint.render import rasterize, reference
from blueprint.render.cpu import CpuRenderer
from blueprint.splat import load
from splats import assert_same_picture, intrinsics, look_at, make_splat, random_splat
from workflow_runs import GUITAR

FRONT = np.eye(4)
WIDE = Lens("OPENCV", (-0.2, 0.05, 0.002, -0.001))
FISHEYE = Lens("OPENCV_FISHEYE", (0.05, -0.01, 0.004, -0.001))


@pytest.fixture(scope="module")
def cuda_backend():
    """The CUDA backend's class, its tensors on the CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "gsplat", gsplat_double)
        patch.delitem(sys.modules, "blueprint.render.gsplat", raising=False)
        module = importlib.import_module("blueprint.render.gsplat")
        yield type("OnTheCpu", (module.GsplatRenderer,), {"device": "cpu"})
        sys.modules.pop("blueprint.render.gsplat", None)


@pytest.fixture(params=["reference", "cpu", "cuda"])
def draw(request):
    """``draw(splat, viewmat, K, width, height, lens=..., antialiased=..., ...)``."""
    if request.param == "cuda":
        backend = request.getfixturevalue("cuda_backend")

        def on_cuda(splat, viewmat, K, width, height, *, lens=None, **options):
            return backend(splat, width, height, **options).frame(viewmat, K, lens)

        return on_cuda
    return rasterize if request.param == "cpu" else reference.rasterize


def psnr_db(frame, expected):
    return 10 * np.log10(1 / np.mean((frame.astype(float) - expected) ** 2))


def test_antialiased_gaussian_is_as_much_fainter_as_the_blur_enlarges_it(draw):
    splat = make_splat([0, 0, 2.0], scales=(0.01, 0.02, 0.01), opacities=0.9)
    K = np.array([[100, 0, 16.5], [0, 100, 16.5], [0, 0, 1]])
    frame = draw(splat, FRONT, K, 33, 33, antialiased=True)
    variances = np.array([0.5, 1.0]) ** 2  # 100 * scale / 2, in pixels squared
    assert frame.alpha[16, 16] == pytest.approx(0.9 * np.sqrt(np.prod(variances / (variances + 0.3))), abs=1e-5)
    assert draw(splat, FRONT, K, 33, 33).alpha[16, 16] == pytest.approx(0.9, abs=1e-5)


@pytest.mark.parametrize("antialiased", [False, True], ids=["classic", "antialiased"])
def test_backends_agree_near_and_far(cuda_backend, antialiased):
    splat = random_splat(4000, size_m=0.02, centre=(0, 0, 0), half_width_m=0.5)
    K = intrinsics(96, 80)
    options = {"antialiased": antialiased, "background": (0.2, 0.4, 0.1)}
    ours, theirs = CpuRenderer(splat, 96, 80, **options), cuda_backend(splat, 96, 80, **options)
    for distance_m in (1, 3, 10, 40):
        view = look_at((0, 0, -distance_m), (0, 0, 0), up=(0, -1, 0))
        expected = reference.rasterize(splat, view, K, 96, 80, **options)
        shown = expected.alpha > 0.01
        for frame in (ours.frame(view, K), theirs.frame(view, K)):
            assert_same_picture(frame, expected)
            assert psnr_db(frame.rgb[shown], expected.rgb[shown]) > 45
        other = reference.rasterize(splat, view, K, 96, 80, **{**options, "antialiased": not antialiased})
        if distance_m >= 10:
            assert psnr_db(other.rgb[shown], expected.rgb[shown]) < 30  # the mode is worth having


@pytest.mark.parametrize("optics", [None, WIDE, FISHEYE], ids=["pinhole", "wide", "fisheye"])
def test_points_land_where_opencv_projects_them(draw, optics):
    """Also with a principal point off the middle and other focal lengths across and down."""
    K = np.array([[58.0, 0, 68.7], [0, 60.5, 45.4], [0, 0, 1]])
    x, y = np.meshgrid([-1.1, -0.5, 0.0, 0.6, 1.0], [-0.7, -0.1, 0.5, 0.8])
    points = np.stack([2 * x.ravel(), 2 * y.ravel(), np.full(20, 2.0)], -1)
    if optics is FISHEYE:
        expected = cv2.fisheye.projectPoints(
            points[:, None], np.zeros(3), np.zeros(3), K, np.array(optics.coefficients)
        )
    else:
        bent = np.array(optics.coefficients) if optics else None
        expected = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, bent)
    rows, columns = np.mgrid[:96, :144] + 0.5
    view = look_at((0.3, -0.2, 0.1), (0.4, 0.5, 3.0), up=(0, -1, 0))
    world = (points - view[:3, 3]) @ view[:3, :3]
    for point, (u, v) in zip(world, expected[0].reshape(-1, 2), strict=True):
        alpha = draw(make_splat(point, scales=0.01), view, K, 144, 96, lens=optics).alpha
        off = np.array([(alpha * columns).sum(), (alpha * rows).sum()]) / alpha.sum() - (u, v)
        assert np.abs(off).max() < 0.1


@pytest.mark.parametrize("optics", [WIDE, FISHEYE], ids=["wide", "fisheye"])
@pytest.mark.parametrize("antialiased", [False, True], ids=["classic", "antialiased"])
def test_backends_agree_behind_a_lens(cuda_backend, optics, antialiased):
    splat = random_splat(3000)
    K = np.array([[70.0, 0, 68.7], [0, 72.0, 55.4], [0, 0, 1]])
    options = {"antialiased": antialiased, "background": (0.2, 0.4, 0.1)}
    expected = reference.rasterize(splat, FRONT, K, 144, 100, lens=optics, **options)
    assert_same_picture(CpuRenderer(splat, 144, 100, **options).frame(FRONT, K, optics), expected)
    backend = cuda_backend(splat, 144, 100, **options)
    two = list(backend.frames([FRONT, FRONT], [K, K], [optics, None]))  # a batch may hold several lenses
    assert_same_picture(two[0], expected)
    assert_same_picture(two[1], CpuRenderer(splat, 144, 100, **options).frame(FRONT, K))


@cache
def scene(name):
    if name == "kitchen":
        return demo.build("kitchen", gaussians=60_000), look_at((0.2, -0.3, 1.55), (-2, -1, 1))
    if not GUITAR.exists():
        pytest.skip(f"the capture {GUITAR.name} is not on this machine")
    splat = load(GUITAR)
    low, middle, high = np.percentile(splat.means, [2, 50, 98], axis=0)
    return splat, look_at(middle + 0.7 * (high - low).max() * np.array([0.84, 0.2, 0.54]), middle, up=(0, -1, 0))


@pytest.mark.parametrize("name", ["kitchen", "guitar"])
@pytest.mark.parametrize("optics", [WIDE, FISHEYE], ids=["wide", "fisheye"])
def test_a_lens_shows_what_a_resampled_pinhole_does(name, optics):
    """The pinhole has the lens's focal length, so that what is blurred by a pixel is so in both."""
    splat, view = scene(name)
    width, height = 400, 300
    K = np.array([[0.6 * width, 0, width / 2 + 3], [0, 0.61 * width, height / 2 - 2], [0, 0, 1]])
    frame = CpuRenderer(splat, width, height, threads=2).frame(view, K, optics)
    x, y = lens.slopes(*np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), K, optics)
    f, low_x, low_y = K[0, 0], x.min() - 0.05, y.min() - 0.05
    larger = int(f * (np.ptp(x) + 0.1)), int(f * (np.ptp(y) + 0.1))
    pinhole = CpuRenderer(splat, *larger, threads=2).frame(
        view, np.array([[f, 0, -f * low_x], [0, f, -f * low_y], [0, 0, 1]])
    )
    where = (f * (x - low_x) - 0.5).astype(np.float32), (f * (y - low_y) - 0.5).astype(np.float32)
    assert psnr_db(frame.rgb, np.clip(cv2.remap(pinhole.rgb, *where, cv2.INTER_CUBIC), 0, 1)) > 40
    alike = cv2.remap(pinhole.depth_m, *where, cv2.INTER_NEAREST)
    solid = (frame.alpha > 0.99) & (alike > 0)
    assert np.median(np.abs(frame.depth_m - alike)[solid] / alike[solid]) < 5e-3


def test_a_lens_that_turns_back_inside_its_picture_is_refused(draw):
    with pytest.raises(UserError, match="turns back"):
        draw(
            make_splat([0, 0, 2.0], scales=0.1),
            FRONT,
            intrinsics(40, 40, 120),
            40,
            40,
            lens=Lens("OPENCV", (-0.5, 0, 0, 0)),
        )


def test_what_lies_beyond_a_lens_does_not_come_back_into_its_picture(draw):
    """x (1 - 0.3 x^2) turns back at a slope of 1.05: 1.9 would be shown at -0.16, inside the picture."""
    optics = Lens("OPENCV", (-0.3, 0.0, 0.0, 0.0))
    splat = make_splat([3.8, 0, 2.0], scales=0.05)
    assert not draw(splat, FRONT, intrinsics(40, 40, 40), 40, 40, lens=optics).alpha.any()


@pytest.mark.parametrize("optics", [WIDE, FISHEYE, Lens("OPENCV", (0.2, 0.1, 0.01, -0.01, 0.02, 0.1, 0.02, 0.003))])
def test_slopes_undo_the_bending(optics):
    K = intrinsics(640, 480, 60)
    x, y = np.meshgrid(np.linspace(0, 640, 23), np.linspace(0, 480, 17))
    found = np.stack([*lens.slopes(x, y, K, optics), np.ones_like(x)], -1)
    assert np.abs(lens.project(found, K, optics) - np.stack([x, y], -1)).max() < 1e-6


def test_median_depth_is_that_of_the_surface_and_expected_depth_between_two(draw):
    """Light left after each: 0.6, 0.24. Half is gone at the second, whatever lies behind."""
    splat = make_splat([[0, 0, 2.0], [0, 0, 3.0], [0, 0, 6.0]], scales=0.5, opacities=[0.4, 0.6, 0.9])
    frame = draw(splat, FRONT, intrinsics(33, 33), 33, 33)
    assert frame.median_m[16, 16] == pytest.approx(3.0, abs=1e-5)
    assert 3.0 < frame.depth_m[16, 16] < 3.5
    faint = draw(make_splat([0, 0, 2.0], scales=0.5, opacities=0.4), FRONT, intrinsics(33, 33), 33, 33)
    assert not faint.median_m.any()


def test_median_depths_agree(cuda_backend):
    splat = random_splat(6000, size_m=0.08)
    K = intrinsics(112, 80)
    expected = reference.rasterize(splat, FRONT, K, 112, 80).median_m
    for frame in (CpuRenderer(splat, 112, 80).frame(FRONT, K), cuda_backend(splat, 112, 80).frame(FRONT, K)):
        # Where a pixel is halved almost exactly, rounding decides which of two Gaussians does it.
        assert np.mean(np.abs(frame.median_m - expected) > 1e-4) < 2e-3


def test_a_lens_needs_a_known_model_and_its_coefficients():
    for arguments in (("FULL_OPENCV", (0,) * 8), ("OPENCV", (0.1,)), ("OPENCV_FISHEYE", (0, 0, 0, float("nan")))):
        with pytest.raises(ValueError, match="OPENCV"):
            Lens(*arguments)


def test_lenses_go_with_their_frames(cuda_backend):
    splat = random_splat(500)
    K = intrinsics(40, 40)
    for backend in (partial(CpuRenderer, splat, 40, 40), partial(cuda_backend, splat, 40, 40)):
        together = list(backend().frames([FRONT] * 3, [K] * 3, [WIDE, None, FISHEYE]))
        for frame, optics in zip(together, (WIDE, None, FISHEYE), strict=True):
            assert_allclose(frame.rgb, backend().frame(FRONT, K, optics).rgb, atol=1e-6)


def test_the_stability_warp_and_the_photometric_positions_follow_a_lens():
    """A textured wall from two places: warped by depth, cameras and lens, one picture is the other."""
    x, y = np.meshgrid(np.arange(-3, 3, 0.03), np.arange(-2.5, 2.5, 0.03))
    shade = 0.5 + 0.25 * np.sin(4 * x.ravel()) + 0.2 * np.cos(5 * y.ravel())
    means = np.stack([x.ravel(), y.ravel(), np.full(x.size, 2.0)], -1)
    wall = make_splat(means, scales=(0.03, 0.03, 0.001), colours=np.stack([shade] * 3, -1))
    K = np.array([[110.0, 0, 78.7], [0, 112.0, 57.4], [0, 0, 1]])
    views, renderer = [np.eye(4), np.eye(4)], CpuRenderer(wall, 160, 112)
    views[1][:3, 3] = 0.12, -0.05, 0.1
    frames = [renderer.frame(view, K, WIDE) for view in views]
    images = [np.rint(frame.rgb * 255).astype(np.uint8) for frame in frames]
    before, now = (
        View(image, image, frame.depth_m, view, K, WIDE)
        for image, frame, view in zip(images, frames, views, strict=True)
    )
    where, same = warp_map(before, now)
    warped = cv2.remap(before.render, where, None, cv2.INTER_LINEAR)
    off = np.abs(warped.astype(int) - now.render)[same > 0]
    assert (same > 0).mean() > 0.8 and off.mean() < 1
    straight, _ = warp_map(replace(before, lens=None), replace(now, lens=None))
    assert np.abs(where - straight).max() > 0.5
    for frame, view in zip(frames, views, strict=True):
        position, _ = unproject(frame.depth_m, frame.alpha * 0 + 1, view, K, 0.0, WIDE)
        assert np.abs(position[..., 2] - 2).max() < 0.01
        pixels = lens.project(position @ view[:3, :3].T + view[:3, 3], K, WIDE)
        assert np.abs(pixels - np.stack(np.meshgrid(np.arange(160) + 0.5, np.arange(112) + 0.5), -1)).max() < 0.01
