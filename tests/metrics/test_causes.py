"""Wrong variants are refused for the right reason, right ones are not; `benchmarks/verdicts.py` tries many more."""

import numpy as np
import pytest

import corruptions
import synthetic_room
from blueprint import files, video
from blueprint.depth import write_depth
from blueprint.errors import UserError
from blueprint.metrics.catalogue import METRICS
from blueprint.metrics.job import score_variants
from blueprint.metrics.score import ClipFiles, score
from blueprint.metrics.verdicts import cause_of, judge

COUNT = 12
CAUSES = [name for name, metric in METRICS.items() if metric.thresholds]
MAKE = {each.name: each.make for each in corruptions.REGISTERED}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    paths = synthetic_room.room(COUNT).write(folder)
    return ClipFiles(paths["rgb.mp4"], paths["depth.npz"], paths["cameras.json"])


@pytest.fixture(scope="module")
def scene(clip):
    return corruptions.Scene.read(clip.rgb.parent)


def judged(clip, path, frames, names=CAUSES):
    """Verdicts by score, and what a person is told."""
    video.write_video(path, frames, synthetic_room.FPS)
    found = score(clip, path, names, "cpu")
    entries = {
        name: {"verdict": judge(name, mean, METRICS[name].thresholds), "mean": mean, "worst_frame": None}
        for name, mean in found["mean"].items()
    }
    return entries, cause_of(entries, found["details"]), found


@pytest.mark.parametrize(
    ("name", "strength", "metric", "words"),
    [
        ("shifted", 0.25, "misalignment", "shifted by 0.2"),
        ("rotated", 2, "misalignment", "turned by 2.0 degrees"),
        ("zoomed", 4, "misalignment", "zoomed by +4"),
        ("ball invented", 12, "local_change", "appears"),
        ("ball of 24 px appears", 3, "local_change", "appears"),
        ("lags", 2, "lag", "lags 2 frames from frame 2"),
        ("lags from the middle", 1, "lag", f"lags 1 frame from frame {COUNT // 2}"),
        ("frames repeated", 1, "repeated_frames", f"frame {COUNT // 2} repeats"),
        ("flickers", 5, "flicker", "flickers by"),
        ("brightness jumps", 10, "look_jump", f"jumps by -10 % at frame {COUNT // 2}"),
        ("brightness drifts", 20, "look_drift", "drifts by"),
        ("blurred", 6, "sharpness", "sharpness of"),
        ("texture glued to the screen", 20, "local_change", "against the geometry"),
    ],
)
def test_a_wrong_variant_fails_and_the_sentence_names_the_cause(clip, scene, tmp_path, name, strength, metric, words):
    frames = MAKE[name](scene, scene.frames, strength)
    entries, told, _ = judged(clip, tmp_path / "variant.mp4", frames)
    assert entries[metric]["verdict"] == "fail", {name: entry["mean"] for name, entry in entries.items()}
    assert told["cause"]["metric"] == metric
    assert told["sentence"].startswith("fails: ")
    assert words in told["sentence"]


@pytest.mark.parametrize("offset_m", [(0.1, 0, 0), (0, 0, -5)], ids=["moved by 10 cm", "gone"])
def test_furniture_that_is_not_where_it_was_fails(clip, scene, tmp_path, offset_m):
    frames = synthetic_room.room(COUNT, box_offset_m=offset_m).frames
    entries, told, _ = judged(clip, tmp_path / "variant.mp4", frames)
    assert told["sentence"].startswith("fails: something"), entries
    assert told["cause"]["metric"] in ("local_geometry", "lost_content", "local_change")


@pytest.mark.parametrize(
    ("name", "strength"),
    [
        ("right low light with noise", 0.15),
        ("right sensor noise", 8),
        ("right material in the world", 0.25),
        ("right fog", 4.0),
    ],
)
def test_light_weather_material_and_noise_pass(clip, scene, tmp_path, name, strength):
    entries, told, _ = judged(clip, tmp_path / "variant.mp4", MAKE[name](scene, scene.frames, strength))
    assert told == {"sentence": "passes", "cause": None}, entries


def test_the_cause_says_where_and_when(clip, scene, tmp_path):
    frames = MAKE["ball of 24 px appears"](scene, scene.frames, 3)
    _, told, found = judged(clip, tmp_path / "variant.mp4", frames)
    changed = np.argwhere(np.abs(frames.astype(int) - scene.frames).sum(-1) > 60)
    left, top, right, bottom = told["cause"]["where"]
    height, width = scene.size
    assert left * width - 6 < np.median(changed[:, 2]) < right * width + 6
    assert top * height - 6 < np.median(changed[:, 1]) < bottom * height + 6
    assert told["cause"]["metric"] == "local_change"
    assert COUNT // 2 <= found["details"]["local_change"]["worst_frame"] < COUNT


def test_what_the_render_does_not_know_takes_no_part(clip, scene, tmp_path):
    known = np.zeros(scene.size, bool)
    known[:, : scene.size[1] // 2] = True
    half = tmp_path / "depth.npz"
    write_depth(half, [(depth_m * known, depth_m * known, known.astype(np.float32)) for depth_m in scene.depth_m])
    frames = scene.frames.copy()
    frames[:, ~known] = np.random.default_rng(0).integers(0, 255, (COUNT, int((~known).sum()), 3))
    _, told, found = judged(ClipFiles(clip.rgb, half, clip.cameras), tmp_path / "variant.mp4", frames)
    assert told["sentence"] == "passes", found["mean"]


def test_causes_do_not_depend_on_the_size_of_a_batch(clip, scene, tmp_path, monkeypatch):
    frames = MAKE["lags from the middle"](scene, scene.frames, 2)
    _, _, whole = judged(clip, tmp_path / "variant.mp4", frames)
    monkeypatch.setitem(score.__globals__["PIXELS_PER_BATCH"], "cpu", 1)
    _, _, batched = judged(clip, tmp_path / "variant.mp4", frames)
    assert batched["mean"] == pytest.approx(whole["mean"], abs=1e-5)
    assert batched["details"]["lag"] == whole["details"]["lag"]


@pytest.mark.parametrize(("width", "height", "count"), [(24, 24, 2), (64, 48, 1), (640, 480, 2)])
def test_an_identical_variant_passes_at_any_size(tmp_path, width, height, count):
    paths = synthetic_room.room(count, width=width, height=height).write(tmp_path)
    found = score(
        ClipFiles(paths["rgb.mp4"], paths["depth.npz"], paths["cameras.json"]), paths["rgb.mp4"], CAUSES, "cpu"
    )
    for name, value in found["mean"].items():
        assert value is None or value == pytest.approx(METRICS[name].ideal, abs=0.15), name
        assert judge(name, value, METRICS[name].thresholds) in ("pass", None), name


def test_another_frame_rate_is_refused(clip, scene, tmp_path):
    path = tmp_path / "variant.mp4"
    video.write_video(path, scene.frames, 2 * synthetic_room.FPS)
    with pytest.raises(UserError, match=r"24 frames per second, its render .* 12"):
        score(clip, path, ["psnr"], "cpu")


def test_a_video_that_is_not_the_recorded_one_is_refused(clip, scene, tmp_path):
    path = tmp_path / "dusk.mp4"
    video.write_video(path, scene.frames, synthetic_room.FPS)
    inputs = {"rgb": files.file_digest(clip.rgb)}
    record = {"sha256": files.file_digest(path), "inputs": inputs}
    files.write_json(path.with_suffix(".json"), record)
    job = (clip, {"dusk": path}, {"psnr": "1"}, tmp_path / "scores", "cpu")
    score_variants(*job, environment=None)
    assert files.read_json(tmp_path / "scores" / "dusk.json")["inputs"]["variant"] == record["sha256"]
    files.write_json(path.with_suffix(".json"), {**record, "inputs": {"rgb": "0" * 64}})
    with pytest.raises(UserError, match="made from a render with SHA-256 0000"):
        score_variants(*job, environment=None)
    files.write_json(path.with_suffix(".json"), record)
    video.write_video(path, scene.frames // 2, synthetic_room.FPS)
    with pytest.raises(UserError, match=r"dusk\.mp4: has SHA-256 .* was changed or replaced"):
        score_variants(*job, environment=None)
