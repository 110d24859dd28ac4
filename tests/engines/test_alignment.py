"""A variant that shows other frames than its render is found; one that only looks different is not."""

import cv2
import numpy as np
import pytest

from blueprint.engines.alignment import edges, find_shift, refuse_drift
from blueprint.errors import UserError
from blueprint.video import write_video
from synthetic_room import room

FRAMES = 56


@pytest.fixture(scope="module")
def render():
    return room(FRAMES, 96, 64).frames


@pytest.fixture(scope="module")
def render_edges(render):
    return edges(render)


@pytest.mark.parametrize("late", [1, 2, 3, 4, 6, 8, 16, -1, -3])
def test_a_lag_is_measured(render, render_edges, late):
    times = np.clip(np.arange(FRAMES) - late, 0, FRAMES - 1)
    assert find_shift(render_edges, edges(255 - render[times])).frames == late


def test_frames_lost_at_a_chunks_seam_are_found_where_they_are(render, render_edges):
    """As chunks of 100 frames do it: the VAE gives 97 back, and all that comes after is 3 frames early."""
    times = np.minimum([*range(28), *range(31, FRAMES + 3)], FRAMES - 1)[:FRAMES]
    shift = find_shift(render_edges, edges(render[times]))
    assert shift.frames == -3
    assert shift.last == FRAMES - 1


def test_several_lost_frames_add_up(render, render_edges):
    times = np.minimum(np.arange(FRAMES) + 3 * (np.arange(FRAMES) // 19), FRAMES - 1)
    assert find_shift(render_edges, edges(render[times])).frames < 0


@pytest.mark.parametrize(
    "look",
    [
        pytest.param(lambda frame, rng: frame, id="same"),
        pytest.param(lambda frame, rng: 255 - frame, id="inverted"),
        pytest.param(lambda frame, rng: (frame * 0.15).astype(np.uint8), id="dark"),
        pytest.param(
            lambda frame, rng: np.clip(frame + rng.normal(0, 40, frame.shape), 0, 255).astype(np.uint8), id="noise"
        ),
        pytest.param(lambda frame, rng: cv2.GaussianBlur(frame, (0, 0), 3), id="blur"),
        pytest.param(lambda frame, rng: np.roll(frame, 2, axis=0), id="shifted in the picture"),
        pytest.param(lambda frame, rng: rng.integers(0, 256, frame.shape, dtype=np.uint8), id="noise alone"),
    ],
)
def test_another_look_is_no_lag(render, render_edges, look):
    rng = np.random.default_rng(0)
    assert find_shift(render_edges, edges(look(frame, rng) for frame in render)) is None


def test_a_camera_that_stands_still_shows_no_lag(render):
    still = edges(render[:1].repeat(20, axis=0))
    assert find_shift(still, still[::-1]) is None


def test_a_short_clip_is_judged_as_a_whole(render):
    assert find_shift(edges(render[:6]), edges(render[:6])) is None
    assert find_shift(edges(render[:6]), edges(render[[0, 0, 0, 1, 2, 3]])).frames == 2


def test_the_message_names_frames_and_shift(render, render_edges, tmp_path):
    write_video(tmp_path / "late.mp4", [*render[:1], *render[:1], *render[:-2]], 12)
    with pytest.raises(UserError, match=r"fog: frames \d+ to \d+ show what the render shows 2 frame\(s\) earlier"):
        refuse_drift("fog", tmp_path / "late.mp4", render_edges)
