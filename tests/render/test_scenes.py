"""The CPU rasterizer against the reference on whole scenes: the demo kitchen and a capture, six views each."""

import numpy as np
import pytest

from blueprint import demo
from blueprint.render import reference
from blueprint.render.cpu import CpuRenderer
from blueprint.splat import load
from splats import assert_same_picture, intrinsics, look_at, with_harmonics
from workflow_runs import GUITAR

SIZE = 160, 120


@pytest.fixture(scope="module")
def kitchen():
    return with_harmonics(demo.build("kitchen", gaussians=50_000))


@pytest.fixture(scope="module")
def guitar():
    if not GUITAR.exists():
        pytest.skip(f"the capture {GUITAR.name} is not on this machine")
    return with_harmonics(load(GUITAR))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_kitchen(kitchen, degree):
    targets = [(0, 2, 1), (-2, -1, 1), (2, 0.5, 0.9), (0, -2, 1.2), (1.5, 1.5, 0.1), (-1.5, 1.5, 2.4)]
    compare(kitchen, [look_at((0.2, -0.3, 1.55), target) for target in targets], degree)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_guitar(guitar, degree):
    low, middle, high = np.percentile(guitar.means, [2, 50, 98], axis=0)
    reach = 0.7 * (high - low).max()
    around = [reach * np.array([np.sin(a), 0.2 * np.cos(3 * a), np.cos(a)]) for a in np.arange(6)]
    compare(guitar, [look_at(middle + offset, middle, up=(0, -1, 0)) for offset in around], degree)


def compare(splat, views, degree):
    """Every view at the highest degree; the degree changes colours alone, so the lower ones take two views each."""
    K = intrinsics(*SIZE)
    renderer = CpuRenderer(splat, *SIZE, sh_degree=degree)
    for viewmat in views if degree == 3 else views[degree::3]:
        frame = renderer.frame(viewmat, K)
        assert frame.alpha.mean() > 0.02 and frame.rgb.std() > 0.02  # the scene is in view
        assert_same_picture(frame, reference.rasterize(splat, viewmat, K, *SIZE, sh_degree=degree))
