"""Variants that look alike are close, variants that do not are far apart."""

import numpy as np
import pytest

import synthetic_room
from blueprint.errors import UserError
from blueprint.metrics.diversity import diversity
from blueprint.video import write_video


@pytest.fixture
def clips(tmp_path):
    frames = synthetic_room.room(2).frames
    looks = {
        "plain": frames,
        "same": frames,
        "dim": np.rint(frames * 0.9).astype(np.uint8),
        "night": np.rint(frames * [0.2, 0.25, 0.5]).astype(np.uint8),
    }
    for name, look in looks.items():
        write_video(tmp_path / f"{name}.mp4", look, 12, crf=0)
    return {name: tmp_path / f"{name}.mp4" for name in looks}


def test_equal_variants_have_no_distance_and_others_are_ordered(clips):
    found = diversity(clips)
    distance = {tuple(pair["variants"]): pair["delta_e"] for pair in found["pairs"]}
    assert len(distance) == 6
    assert distance["plain", "same"] == 0
    assert 1 < distance["plain", "dim"] < distance["plain", "night"] < 100
    assert found["closest"] == ["plain", "same"]
    assert found["mean"] == pytest.approx(np.mean(list(distance.values())), abs=1e-3)


def test_black_against_white_is_a_hundred(tmp_path):
    for name, level in (("black", 0), ("white", 255)):
        write_video(tmp_path / f"{name}.mp4", [np.full((32, 32, 3), level, np.uint8)], 12, crf=0)
    found = diversity({name: tmp_path / f"{name}.mp4" for name in ("black", "white")})
    assert found["mean"] == pytest.approx(100, abs=0.5)


def test_a_single_variant_has_no_diversity(clips):
    found = diversity({"plain": clips["plain"]})
    assert (found["pairs"], found["mean"], found["closest"]) == ([], None, None)


def test_variants_of_different_length_are_refused(clips, tmp_path):
    write_video(tmp_path / "short.mp4", synthetic_room.room(1).frames, 12)
    with pytest.raises(UserError, match=r"short\.mp4: ends after 1 frames"):
        diversity({"plain": clips["plain"], "short": tmp_path / "short.mp4"})
