"""Scores equal piq's, move the right way, and stream; bad clips end in one clear message."""

import numpy as np
import pytest

import piq_reference
import synthetic_room
from blueprint import video
from blueprint.errors import UserError
from blueprint.metrics.score import score

PIQ = ("psnr", "ssim", "ms_ssim", "gmsd", "vif", "haarpsi")


@pytest.fixture(scope="module")
def clip():
    return synthetic_room.room(5)


@pytest.fixture(scope="module")
def folder(clip, tmp_path_factory):
    return clip.write(tmp_path_factory.mktemp("render"))["rgb.mp4"].parent


def altered(clip, kind, strength=1.0):
    """The clip's frames with more of one kind of defect."""
    random = np.random.default_rng(7)
    frames = clip.frames.astype(np.float64)
    if kind == "noise":
        frames = frames + random.normal(0, 6 * strength, frames.shape)
    elif kind == "dark":
        frames = frames * (1 - 0.2 * strength)
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


def write(path, frames):
    video.write_video(path, frames, synthetic_room.FPS, crf=0)
    return path


@pytest.mark.parametrize("kind", ["noise", "dark"])
def test_every_score_is_that_of_piq_on_the_decoded_frames(clip, folder, tmp_path, kind):
    variant = write(tmp_path / "variant.mp4", altered(clip, kind))
    scores = score(folder / "rgb.mp4", variant, list(PIQ), "cpu")
    expected = piq_reference.scores(PIQ, variant, folder / "rgb.mp4")
    for name in PIQ:
        assert scores["frames"][name] == pytest.approx(expected[name], abs=1e-4), name
        assert scores["mean"][name] == pytest.approx(np.mean(expected[name]), abs=1e-4)


def test_a_variant_of_another_size_is_refused(clip, folder, tmp_path):
    variant = write(tmp_path / "small.mp4", clip.frames[:, :-16])
    with pytest.raises(UserError, match=r"small\.mp4: frames are 224 x 160, .* 224 x 176"):
        score(folder / "rgb.mp4", variant, ["psnr"], "cpu")


@pytest.mark.parametrize("count", [3, 4])
def test_a_variant_of_another_length_is_refused(clip, folder, tmp_path, count):
    variant = write(tmp_path / "short.mp4", clip.frames[:count])
    with pytest.raises(UserError, match=rf"short\.mp4 ends after {count} frames"):
        score(folder / "rgb.mp4", variant, ["psnr"], "cpu")
