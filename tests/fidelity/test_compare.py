"""A photo against its render: PSNR and SSIM as others compute them, masks, colours, cameras that are off."""

import cv2
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from blueprint.axes import eyes_of
from blueprint.fidelity.compare import colour_fitted, compare, psnr, ssim
from blueprint.fidelity.photos import chosen, shots_of
from blueprint.fidelity.refine import refine
from blueprint.render.cpu import CpuRenderer
from blueprint.splat import load
from piq_reference import piq
from splats import intrinsics, look_at
from workflow_runs import GUITAR

FOX = GUITAR.parent / "fox"
needs_fox = pytest.mark.skipif(not FOX.exists(), reason="the shared captures are not here")


def assert_agrees_with_others(photo, render, scores, suffix=""):
    a, b = photo.astype(np.float64), render.astype(np.float64)
    assert scores[f"psnr{suffix}"] == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1), abs=1e-4)
    same = structural_similarity(
        a, b, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert scores[f"ssim{suffix}"] == pytest.approx(same, abs=1e-4)
    tensors = [torch.from_numpy(picture).permute(2, 0, 1)[None] for picture in (a, b)]
    assert scores[f"psnr{suffix}"] == pytest.approx(piq.psnr(*tensors, data_range=1.0).item(), abs=1e-4)
    assert scores[f"ssim{suffix}"] == pytest.approx(piq.ssim(*tensors, data_range=1.0).item(), abs=1e-4)


@needs_fox
def test_figures_of_photos_agree_with_scikit_image_and_piq():
    shots = [shot for shot in shots_of({"path": str(FOX)}) if shot.held_out][:2]
    scan = load(FOX / "splat.ply")
    for shot in shots:
        photo, mask = shot.pictures(None)
        height, width = photo.shape[:2]
        assert mask is None and (width, height) == (270, 480)
        render = CpuRenderer(scan, width, height).frame(shot.photo.viewmat, shot.K((width, height)), shot.lens).rgb
        compared = compare(photo, render)
        assert_agrees_with_others(photo, render, compared.scores)
        assert_agrees_with_others(photo, compared.fitted, compared.scores, "_fitted")
        assert compared.scores["psnr"] > 25, "the camera and its lens are the photo's"


@needs_fox
def test_the_trainers_split_is_kept_and_every_nth_photo_leaves_no_held_out_one_out():
    shots = shots_of({"path": str(FOX)})
    assert [sum(shot.held_out is which for shot in shots) for which in (True, False)] == [6, 44]
    picked = chosen(shots, 10)
    assert sum(shot.held_out for shot in picked) == 6 and len(picked) < 13
    named = shots_of({"path": str(FOX), "held_out": ["0001.jpg"]})
    assert [shot.name for shot in named if shot.held_out] == ["images/0001.jpg"]


def pattern(height=60, width=80, seed=0):
    noise = np.random.default_rng(seed).uniform(0.1, 0.8, (height, width, 3)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 1.2)


def test_another_exposure_and_white_balance_cost_nothing_after_the_fit():
    render = pattern()
    photo = render @ np.array([[0.9, 0.05, 0], [0, 0.8, 0], [0, 0, 0.7]], np.float32) + np.float32(0.05)
    found = compare(photo, render).scores
    assert found["psnr"] < 30 and found["psnr_fitted"] > 70 and found["ssim_fitted"] > 0.9999


def test_what_a_mask_leaves_out_changes_no_figure():
    photo, render = pattern(), pattern() + np.float32(0.02)
    mask = np.ones(photo.shape[:2], bool)
    mask[10:30, 20:50] = False
    other = photo.copy()
    other[~mask] = 1 - other[~mask]
    first, second = compare(photo, render, mask), compare(other, render, mask)
    assert first.scores == second.scores
    assert compare(photo, render).scores != compare(other, render).scores
    assert (second.error[~mask] == 0).all() and np.allclose(colour_fitted(other, render, mask), first.fitted)


def test_equal_pictures_are_as_good_as_can_be():
    picture = pattern()
    assert psnr(picture, picture) == pytest.approx(80) and ssim(picture, picture) == pytest.approx(1)


def test_a_camera_that_is_off_is_found_and_how_far_it_moved_is_said(kitchen):
    size = 160, 120
    K, renderer = intrinsics(*size), CpuRenderer(kitchen, *size)
    truth = look_at((-1.6, -1.2, 1.5), (1.0, 1.0, 1.0))
    photo = renderer.frame(truth, K).rgb
    off = truth.copy()
    turn = 2 / K[0, 0]  # by 2 pixels to the side
    off[:3] = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]) @ truth[:3]

    def draw(pose):
        return renderer.frame(pose, K)

    found = refine(photo, None, off, K, 5.0, draw)
    assert found.shift_px == pytest.approx(2.2, abs=0.3) and found.gain_db > 5
    assert np.linalg.norm(eyes_of(found.viewmat) - eyes_of(truth)) < 0.02
    assert refine(photo, None, truth, K, 5.0, draw).shift_px < 0.05
    assert refine(photo, None, off, K, 0.5, draw).shift_px <= 0.5, "no farther than it may"
