"""Scores equal piq's, move the right way, and stream; bad clips end in one clear message."""

import itertools

import cv2
import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

import piq_reference
import synthetic_room
from blueprint import video
from blueprint.errors import UserError
from blueprint.metrics.catalogue import METRICS
from blueprint.metrics.score import ClipFiles, score
from blueprint.metrics.working import BORDER_PX

PIQ = ["psnr", "ssim", "ms_ssim", "gmsd", "vif", "haarpsi"]
GEOMETRY = ["edge_agreement", "depth_edge_agreement"]
ALL = [*PIQ, *GEOMETRY, "temporal_stability"]


@pytest.fixture(scope="module")
def clip():
    return synthetic_room.room(5)


@pytest.fixture(scope="module")
def files(clip, tmp_path_factory):
    return written(clip, tmp_path_factory.mktemp("render"))


def written(clip, folder):
    paths = clip.write(folder)
    return ClipFiles(paths["rgb.mp4"], paths["depth.npz"], paths["cameras.json"])


def write(path, frames):
    video.write_video(path, frames, synthetic_room.FPS, crf=0)
    return path


def altered(clip, kind, strength):
    """The clip's frames with one kind of defect; more of it at a higher strength."""
    random = np.random.default_rng(7)
    frames = clip.frames.astype(np.float64)
    if kind == "noise":
        frames += random.normal(0, 8 * strength, frames.shape)
    elif kind == "blur":
        frames = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.2 * strength) for frame in frames])
    elif kind == "shift":
        frames = np.roll(frames, 2 * strength, axis=2)
    elif kind == "flicker":
        frames *= 1 + 0.05 * strength * (-1) ** np.arange(len(frames))[:, None, None, None]
    elif kind == "dark":
        frames *= 1 - 0.25 * strength
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


def means(clip, files, tmp_path, frames, names=ALL):
    return score(files, write(tmp_path / "variant.mp4", frames), names, "cpu")["mean"]


@pytest.mark.parametrize("kind", ["noise", "dark"])
def test_every_score_is_that_of_piq_on_the_decoded_frames(clip, files, tmp_path, kind):
    variant = write(tmp_path / "variant.mp4", altered(clip, kind, 1))
    scores = score(files, variant, PIQ, "cpu")
    expected = piq_reference.scores(PIQ, variant, files.rgb)
    for name in PIQ:
        assert scores["frames"][name] == pytest.approx(expected[name], abs=1e-4), name
        assert scores["mean"][name] == pytest.approx(np.mean(expected[name]), abs=1e-4)


def test_an_invented_background_changes_no_score_of_appearance_and_the_rest_counts_in_full(tmp_path):
    clip = synthetic_room.room(2)
    width = clip.depth_m.shape[2]
    clip.depth_m[:, :, width // 2 :] = 0  # the render knows the left half
    files = written(clip, tmp_path)
    invented, harmed = clip.frames.copy(), altered(clip, "noise", 2)
    away = width // 2 + 8  # since a video bleeds
    invented[:, :, away:] = 255 - invented[:, :, away:]
    scores = score(files, write(tmp_path / "invented.mp4", invented), PIQ, "cpu")["mean"]
    for name in PIQ:
        assert scores[name] == pytest.approx(METRICS[name].ideal, abs=1e-3), name

    known = np.arange(width) < width // 2 - BORDER_PX
    variant = write(tmp_path / "harmed.mp4", harmed)
    found = score(files, variant, PIQ, "cpu")["frames"]
    [x], [y] = ([next(iter(video.read_video(path))) / 255] for path in (variant, files.rgb))
    error = np.square(x - y)[:, known].mean()
    assert found["psnr"][0] == pytest.approx(-10 * np.log10(error + 1e-8), abs=1e-4)
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    shown = np.where(known[None, :, None], x, y)
    _, everywhere = structural_similarity(shown, y, channel_axis=2, full=True, **window)
    inner = everywhere[5:-5, 5:-5][:, known[5:-5]]
    assert found["ssim"][0] == pytest.approx(inner.mean(), abs=1e-4)
    left = [torch.from_numpy(frame[:, known]).permute(2, 0, 1)[None].float() for frame in (x, y)]
    for name in ("gmsd", "vif", "haarpsi"):  # a picture of the left half alone; windows at its border differ
        assert found[name][0] == pytest.approx(piq_reference.FUNCTIONS[name](*left).item(), rel=0.1), name


def test_an_identical_variant_gets_the_ideal_scores(files):
    scores = score(files, files.rgb, ALL, "cpu")
    for name in ALL:
        assert scores["mean"][name] == pytest.approx(METRICS[name].ideal, abs=1e-3), name
    assert scores["frames"]["temporal_stability"][0] is None


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("noise", [*PIQ, "edge_agreement", "temporal_stability"]),
        ("blur", [*PIQ, "edge_agreement"]),
        ("shift", [*PIQ, "edge_agreement"]),
        ("flicker", ["psnr", "ssim", "ms_ssim", "temporal_stability"]),
    ],
)
def test_more_of_a_defect_makes_the_score_worse(clip, files, tmp_path, kind, names):
    found = [means(clip, files, tmp_path, altered(clip, kind, strength), names) for strength in (1, 2, 4)]
    for name in names:
        sign = 1 if METRICS[name].better == "higher" else -1
        values = [METRICS[name].ideal, *(each[name] for each in found)]
        worsens = [sign * better > sign * worse for better, worse in itertools.pairwise(values)]
        assert all(worsens), (name, values)


def test_moved_furniture_is_caught_by_geometry_and_a_relight_is_not(clip, files, tmp_path):
    relit = means(clip, files, tmp_path, synthetic_room.room(5, light=(0.9, 0.6, 0.4)).frames)
    moved = means(clip, files, tmp_path, synthetic_room.room(5, box_offset_m=(0.3, 0, 0)).frames)
    assert relit["psnr"] < moved["psnr"]  # by the pixels the relight looks worse
    for name in GEOMETRY:
        assert relit[name] > 0.95
    assert moved["edge_agreement"] < 0.9
    assert moved["depth_edge_agreement"] < 0.5
    assert relit["temporal_stability"] > 0.8


def test_unrelated_frames_agree_no_better_than_chance(clip, files, tmp_path):
    random = np.random.default_rng(3)
    noise = [cv2.GaussianBlur(random.normal(128, 400, frame.shape), (0, 0), 3) for frame in clip.frames]
    found = means(clip, files, tmp_path, np.clip(noise, 0, 255).astype(np.uint8), GEOMETRY)
    assert found["edge_agreement"] < 0.1
    assert found["depth_edge_agreement"] < 0.3


def test_scores_do_not_depend_on_the_size_of_a_batch(clip, files, tmp_path, monkeypatch):
    variant = write(tmp_path / "variant.mp4", altered(clip, "noise", 1))
    whole = score(files, variant, ALL, "cpu")
    monkeypatch.setitem(score.__globals__["PIXELS_PER_BATCH"], "cpu", 1)
    single = score(files, variant, ALL, "cpu")
    for name in ALL:
        assert single["frames"][name][1:] == pytest.approx(whole["frames"][name][1:], abs=1e-5), name


def test_a_black_variant_is_scored_and_fails_geometry(clip, files, tmp_path):
    found = means(clip, files, tmp_path, np.zeros_like(clip.frames))
    assert found["edge_agreement"] == 0
    assert found["depth_edge_agreement"] == 0
    assert found["temporal_stability"] == 1  # nothing moves in the dark
    assert found["psnr"] < 10


def test_two_black_clips_have_no_haarpsi_and_the_rest_is_ideal(clip, tmp_path):
    black = synthetic_room.room(2, light=(0, 0, 0))
    files = written(black, tmp_path)
    scores = score(files, files.rgb, ALL, "cpu")
    assert scores["mean"]["haarpsi"] is None
    assert scores["frames"]["haarpsi"] == [None, None]
    assert scores["mean"]["psnr"] == 80
    assert scores["mean"]["edge_agreement"] == 1
    assert scores["mean"]["depth_edge_agreement"] is None


def test_one_frame_has_scores_but_no_stability(tmp_path):
    files = written(synthetic_room.room(1), tmp_path)
    scores = score(files, files.rgb, ALL, "cpu")
    assert scores["frame_count"] == 1
    assert scores["mean"]["temporal_stability"] is None
    assert scores["mean"]["ssim"] == pytest.approx(1)


def test_frames_smaller_than_ms_ssim_needs_are_refused_by_name(tmp_path):
    files = written(synthetic_room.room(1, width=224, height=160), tmp_path)
    with pytest.raises(UserError, match=r"224 x 160; ms_ssim needs at least 161 x 161"):
        score(files, files.rgb, ["psnr", "ms_ssim"], "cpu")
    assert score(files, files.rgb, ["psnr"], "cpu")["mean"]["psnr"] == 80


def test_a_variant_of_another_size_is_refused(clip, files, tmp_path):
    variant = write(tmp_path / "small.mp4", clip.frames[:, :-16])
    with pytest.raises(UserError, match=r"small\.mp4: frames are 224 x 160, .* 224 x 176"):
        score(files, variant, ["psnr"], "cpu")


@pytest.mark.parametrize("count", [3, 4])
def test_a_variant_of_another_length_is_refused(clip, files, tmp_path, count):
    variant = write(tmp_path / "short.mp4", clip.frames[:count])
    with pytest.raises(UserError, match=rf"short\.mp4: ends after {count} frames"):
        score(files, variant, ["psnr"], "cpu")


def test_a_longer_variant_is_refused(clip, files, tmp_path):
    variant = write(tmp_path / "long.mp4", np.concatenate([clip.frames, clip.frames[:1]]))
    with pytest.raises(UserError, match=r"rgb\.mp4 and .*depth\.npz: ends after 5 frames"):
        score(files, variant, ["psnr"], "cpu")


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "absent"])
def test_a_damaged_variant_is_one_clear_message(clip, files, tmp_path, damage):
    variant = write(tmp_path / "damaged.mp4", clip.frames)
    data = variant.read_bytes()
    if damage == "absent":
        variant.unlink()
    else:
        variant.write_bytes({"cut": data[: len(data) // 2], "garbage": b"\x00not a video" * 99, "empty": b""}[damage])
    with pytest.raises(UserError, match=r"damaged\.mp4: "):
        score(files, variant, ["psnr"], "cpu")


def test_cameras_of_another_clip_are_refused(clip, files, tmp_path):
    other = written(synthetic_room.room(3), tmp_path)
    with pytest.raises(UserError, match="holds 3 cameras"):
        score(ClipFiles(files.rgb, files.depth_m, other.cameras), files.rgb, ALL, "cpu")
