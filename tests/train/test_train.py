"""Post-training: the same questions before and after, a model that learns what it is shown, a verdict that follows."""

import json
import shutil

import numpy as np
import pytest
import torch

from blueprint.config import read_config
from blueprint.errors import UserError
from blueprint.export.episodes import collect
from blueprint.plan import make_plan
from blueprint.train import evaluate, tiny
from blueprint.train.clips import Window, windows
from blueprint.train.keys import TRAINING_SETS
from workflow_runs import REPOSITORY, snakemake

EXAMPLE = REPOSITORY / "config/examples/post_training.yaml"
torch.set_num_threads(1)
K = np.array([[52.0, 0, 40], [0, 52, 30], [0, 0, 1]], np.float32)


def wall(distance_m, seed, frames=6):
    """A camera moves sideways before a textured wall."""
    random = np.random.default_rng(seed)
    texture = np.kron(random.integers(0, 256, (16, 80, 3), np.uint8), np.ones((4, 4, 1), np.uint8))
    step_px = 3
    pictures = np.stack([texture[:60, 10 + step_px * i : 90 + step_px * i] for i in range(frames)])
    motion = np.eye(4, dtype=np.float32)
    motion[0, 3] = -step_px / K[0, 0] * distance_m
    return Window(f"wall{seed}", "hall", "render", pictures, np.stack([motion] * (frames - 1)), K)


def error(parameters, window):
    return float(np.abs(tiny.rollout(parameters, window).astype(float) - window.frames[1:]).mean())


def test_a_still_camera_sees_the_same_frame():
    window = wall(3, 0)
    still = Window("still", "hall", "render", window.frames, np.stack([np.eye(4, dtype=np.float32)] * 5), K)
    assert np.abs(tiny.rollout(None, still).astype(int) - window.frames[0]).max() <= 1


def test_an_untrained_model_takes_everything_to_be_at_the_usual_distance():
    away_from_the_border = np.s_[:, :, 20:60]
    predicted, truth = tiny.rollout(None, wall(tiny.USUAL_M, 1)), wall(tiny.USUAL_M, 1).frames[1:]
    assert np.abs(predicted.astype(int) - truth)[away_from_the_border].max() <= 2


def test_training_learns_the_distance_and_is_repeatable(tmp_path):
    train_on, held_out = [wall(1, seed) for seed in range(4)], wall(1, 9)
    facts = tiny.train(train_on, 40, 0, None, tmp_path / "a.pt")
    tiny.train(train_on, 40, 0, None, tmp_path / "b.pt")
    assert facts["parameters"] == 3277
    assert error(tmp_path / "a.pt", held_out) < 0.7 * error(None, held_out)
    assert error(tmp_path / "a.pt", held_out) == error(tmp_path / "b.pt", held_out)
    assert error(tmp_path / "a.pt", wall(3, 9)) > error(None, wall(3, 9))  # it forgot other places


def spec_of(**changes):
    config = read_config(EXAMPLE.relative_to(REPOSITORY), folder=REPOSITORY)
    return {**make_plan(config, "example").training_spec(), **changes}


def test_windows_are_fixed_and_held_out_ones_are_never_trained_on(run):
    results = run / "results"
    summary = json.loads((results / "kitchen/summary.json").read_text())
    for judged in (judged for variants in summary["clips"].values() for judged in variants.values()):
        judged["verdict"] = "pass"
    (results / "kitchen/summary.json").write_text(json.dumps(summary))
    spec = spec_of(facilities={"kitchen": {"description": "", "clips": ["orbit", "sweep"]}}, window_frames=2)
    episodes = collect(results, spec)
    held_out = evaluate.chosen(episodes, spec, None)
    for training_set, looks in (("render", {"render"}), ("variants", {"render", "evening", "neon", "fog"})):
        trained = evaluate.chosen(episodes, spec, training_set)
        assert {episode.look for episode in trained} == looks
        assert not {e.trajectory for e in trained} & {e.trajectory for e in held_out}
    first, second = (list(windows(held_out, 2, 80, 60)) for _ in range(2))
    assert [w.episode for w in first] == [w.episode for w in second]
    assert len(first) == 4 * 2  # four looks of one clip of four frames
    assert all((a.frames == b.frames).all() for a, b in zip(first, second, strict=True))


def scores_with(**psnr):
    def means(facility, value):
        return {looks: {"psnr": value, "ssim": 0.8, "windows": 3} for looks in ("renders", "all looks")}

    return {
        name: {"mean": {facility: means(facility, value) for facility, value in values.items()}}
        for name, values in psnr.items()
    }


@pytest.mark.parametrize(
    ("kitchen", "warehouse", "verdict"), [(22.0, 25.0, "pass"), (21.1, 25.0, "fail"), (22.0, 23.5, "warn")]
)
def test_verdict(kitchen, warehouse, verdict):
    spec = spec_of()
    base, after = {"kitchen": 21.0, "warehouse": 25.0}, {"kitchen": kitchen, "warehouse": warehouse}
    trainings = {name: {"run": {"seconds": 10.0}} for name in TRAINING_SETS}
    found = evaluate.verdict(scores_with(base=base, render=after, variants=after), trainings, spec)
    assert found["verdict"] == verdict
    assert found["gains"]["kitchen"]["render"]["seconds_per_db"] == round(10 / round(kitchen - 21, 4), 1)
    assert f"{kitchen - 21:+.2f} dB after renders alone" in found["sentence"]
    assert f"{warehouse - 25:+.2f} dB" in found["sentence"]


def test_facilities_that_do_not_exist_are_refused(tmp_path):
    text = EXAMPLE.read_text().replace("train: {engine: tiny}", "train: {engine: tiny, facilities: [attic]}")
    (tmp_path / "my.yaml").write_text(text)
    config = read_config(tmp_path / "my.yaml")
    with pytest.raises(UserError, match=r"train\.facilities: found 'attic'; the facilities are kitchen, warehouse"):
        make_plan(config, "my.yaml")


@pytest.mark.slow
def test_the_example_gets_better_at_the_kitchen_and_not_at_the_warehouse(tmp_path):
    """The whole loop: both demo rooms, trained on the kitchen, then on the warehouse."""
    config = tmp_path / "my.yaml"
    config.write_text(EXAMPLE.read_text())
    snakemake(tmp_path, config, "training")
    gains = json.loads((tmp_path / "results/my/training/verdict.json").read_text())["gains"]
    assert min(gain["psnr"] for gain in gains["kitchen"].values()) > 0.5
    assert max(gain["psnr"] for gain in gains["warehouse"].values()) < 0.5
    assert (tmp_path / "results/my/training/training.html").stat().st_size > 10_000
    shutil.rmtree(tmp_path / "results/my/training")
    config.write_text(
        config.read_text().replace("train: {engine: tiny}", "train: {engine: tiny, facilities: [warehouse]}")
    )
    snakemake(tmp_path, config, "training")
    gains = json.loads((tmp_path / "results/my/training/verdict.json").read_text())["gains"]
    assert max(gain["psnr"] for gain in gains["kitchen"].values()) < 0.5
