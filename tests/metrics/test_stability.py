"""The warp of the stability score, held to where points of a wall are really seen: to the pixel and its centre."""

import numpy as np
import pytest

from blueprint.metrics.frames import View
from blueprint.metrics.stability import warp_map

WIDTH, HEIGHT, FOCAL = 64, 48, 50.0


def facing_wall(distance_m):
    """A view of a wall across the optical axis, from ``distance_m`` before it; the camera moves along the axis."""
    nothing = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    view = np.eye(4)
    view[2, 3] = distance_m
    K = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
    return View(nothing, nothing, np.full((HEIGHT, WIDTH), distance_m, np.float32), view, K)


@pytest.mark.parametrize("now_m", [4.0, 3.0, 3.9])
def test_a_pixel_is_looked_up_where_its_centre_was(now_m):
    """A point seen at index i has its centre at i + 0.5; farther away it lay nearer to the middle of the frame."""
    where, same = warp_map(facing_wall(4.0), facing_wall(now_m))
    for axis, size, at in ((0, WIDTH, where[HEIGHT // 2, :, 0]), (1, HEIGHT, where[:, WIDTH // 2, 1])):
        expected = (np.arange(size) + 0.5 - size / 2) * now_m / 4.0 + size / 2 - 0.5
        assert at == pytest.approx(expected, abs=1e-3), axis
    assert (same[1:-1, 1:-1] == 255).all(), "the whole wall is seen in both"
