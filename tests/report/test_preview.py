"""Previews hold every view in its place, and picture the frames that scored worst."""

import base64

import cv2
import numpy as np
import pytest

import synthetic_room
from blueprint.errors import UserError
from blueprint.report.preview import INVENTED, LOST, edge_overlay, make_preview, worst_frames
from blueprint.video import probe, read_video, write_video


def scores(**frames):
    return {"names": list(frames), "frames": frames}


def test_the_worst_frames_of_geometry_and_time_are_found_once_each():
    found = worst_frames(
        {
            "fog": scores(
                psnr=[1, 0, 2],
                edge_agreement=[0.9, 0.8, 0.7],
                depth_edge_agreement=[0.5, 0.4, 0.3],
                temporal_stability=[None, 0.2, 0.4],
            ),
            "dusk": scores(psnr=[5, 4, 9], ssim=[0.1, 0.2, 0.3]),
            "still": scores(temporal_stability=[None]),
        }
    )
    assert found == [
        {"variant": "fog", "frame": 2, "scores": {"edge_agreement": 0.7, "depth_edge_agreement": 0.3}},
        {"variant": "fog", "frame": 1, "scores": {"temporal_stability": 0.2}},
        {"variant": "dusk", "frame": 1, "scores": {"psnr": 4}},
    ]


@pytest.fixture
def views(tmp_path):
    levels = {"render": 40, "depth": 90, "a": 140, "b": 190, "c": 240}
    for name, level in levels.items():
        frames = [np.full((64, 96, 3), level + step, np.uint8) for step in (0, 5, 10)]
        write_video(tmp_path / f"{name}.mp4", frames, 12)
    return {name: tmp_path / f"{name}.mp4" for name in levels}, levels


def test_views_stand_in_their_places_at_every_frame(views, tmp_path):
    paths, levels = views
    variants = {name: paths[name] for name in "abc"}
    entry = scores(edge_agreement=[0.9, 0.5, 0.7])
    target = tmp_path / "preview.mp4"
    data = make_preview(target, paths["render"], paths["depth"], variants, dict.fromkeys(variants, entry), 48)
    assert (data["columns"], data["tile"], data["fps"], data["frames"]) == (3, (48, 32), 12, 3)
    assert (probe(target).width, probe(target).height) == (144, 64)
    for step, frame in enumerate(read_video(target)):
        for place, level in enumerate(levels.values()):
            y, x = place // 3 * 32 + 16, place % 3 * 48 + 24
            assert abs(int(frame[y, x, 0]) - (level + 5 * step)) <= 3
    assert [(worst["variant"], worst["frame"]) for worst in data["worst"]] == [("a", 1), ("b", 1), ("c", 1)]
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(data["worst"][2]["picture"]), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (32, 48, 3)
    assert abs(float(picture.mean()) - 245) < 4


def test_views_of_different_length_are_refused(views, tmp_path):
    paths, _ = views
    write_video(tmp_path / "short.mp4", [np.zeros((64, 96, 3), np.uint8)], 12)
    with pytest.raises(UserError, match="ends after"):
        make_preview(
            tmp_path / "p.mp4",
            paths["render"],
            paths["depth"],
            {"s": tmp_path / "short.mp4"},
            {"s": scores(psnr=[1])},
            48,
        )
    assert not (tmp_path / "p.mp4").exists()


def test_lost_and_invented_edges_have_their_colours():
    """A box stood on the left and stands on the right now."""
    before, after = (np.full((80, 120, 3), 200, np.uint8) for _ in range(2))
    before[30:60, 15:40] = 40
    after[30:60, 75:100] = 40
    picture = edge_overlay(after, before)
    left, right = picture[:, :60].reshape(-1, 3), picture[:, 60:].reshape(-1, 3)
    assert (left == LOST).all(1).sum() > 50 and not (left == INVENTED).all(1).any()
    assert (right == INVENTED).all(1).sum() > 50 and not (right == LOST).all(1).any()
    same = edge_overlay(synthetic_room.room(1).frames[0], synthetic_room.room(1).frames[0]).reshape(-1, 3)
    assert not (same == LOST).all(1).any() and not (same == INVENTED).all(1).any()
