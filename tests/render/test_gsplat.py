"""The CUDA backend against the CPU backend; needs a CUDA device and the gsplat package."""

import numpy as np
import pytest

from blueprint.render import choose_backend
from blueprint.render.cpu import CpuRenderer
from splats import assert_same_picture, intrinsics, look_at, random_splat

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_gsplat_agrees_with_the_cpu(degree):
    splat = random_splat(20_000, size_m=0.05)
    views = [
        look_at((3 * np.sin(angle), -0.5, 3 - 3 * np.cos(angle)), (0, 0, 3), up=(0, -1, 0))
        for angle in np.linspace(0, 6, 19)  # more than two batches, the last one not full
    ]
    Ks = [intrinsics(200, 152)] * len(views)
    options = {"sh_degree": degree, "background": (0.2, 0.4, 0.1)}
    frames = list(choose_backend("gsplat")(splat, 200, 152, **options).frames(views, Ks))
    assert len(frames) == len(views)
    for theirs, ours in zip(frames, CpuRenderer(splat, 200, 152, **options).frames(views, Ks), strict=True):
        assert_same_picture(theirs, ours)


def test_auto_takes_gsplat_here():
    assert choose_backend("auto").name == "gsplat"
