"""The job of a clip: what it scores again, what it keeps, and the three forms that a score may have."""

import os

import numpy as np
import pytest

import synthetic_room
from blueprint import files
from blueprint.errors import UserError
from blueprint.metrics import job
from blueprint.metrics.catalogue import METRICS, Metric, code_digests
from blueprint.metrics.frames import ClipScore
from blueprint.metrics.score import ClipFiles, score
from blueprint.metrics.summary import summarize
from blueprint.video import write_video

CODES = {"psnr": "1", "edge_agreement": "1"}
COUNT = 4


@pytest.fixture
def clip(tmp_path):
    paths = synthetic_room.room(COUNT, width=96, height=64).write(tmp_path / "render")
    return ClipFiles(paths["rgb.mp4"], paths["depth.npz"], paths["cameras.json"])


def variant(folder, name, light):
    path = folder / f"{name}.mp4"
    write_video(path, synthetic_room.room(COUNT, width=96, height=64, light=light).frames, synthetic_room.FPS)
    return path


@pytest.fixture
def variants(tmp_path):
    lights = {"dusk": (0.9, 0.6, 0.4), "neon": (0.6, 0.9, 1.0)}
    return {name: variant(tmp_path, name, light) for name, light in lights.items()}


@pytest.fixture
def scored(monkeypatch):
    """What is really computed, as (variant, names)."""
    calls = []

    def spy(clip, path, names, device):
        calls.append((path.stem, names))
        return score(clip, path, names, device)

    monkeypatch.setattr(job, "score", spy)
    return calls


def run(clip, variants, folder, codes=CODES):
    job.score_variants(clip, variants, codes, folder, "cpu", environment=None)
    return {name: files.read_json(folder / f"{name}.json") for name in variants}


def test_every_variant_gets_the_scores_that_it_gets_alone(clip, variants, tmp_path):
    found = run(clip, variants, tmp_path / "scores")
    for name, path in variants.items():
        [made] = found[name].pop("run")["made"]
        inputs = found[name].pop("inputs")
        assert inputs["variant"] == files.file_digest(path)
        assert found[name] == score(clip, path, list(CODES), "cpu")
        assert made["names"] == list(CODES)


def test_only_the_variant_that_changed_is_scored_again(clip, variants, tmp_path, scored):
    before = run(clip, variants, tmp_path / "scores")
    scored.clear()
    for path in variants.values():
        os.utime(path)  # Snakemake has taken it out of the store: newer, but the same
    variant(tmp_path, "neon", (0.3, 0.3, 0.3))
    after = run(clip, variants, tmp_path / "scores")
    assert scored == [("neon", list(CODES))]
    assert after["dusk"] == before["dusk"]
    assert after["neon"]["mean"]["psnr"] < before["neon"]["mean"]["psnr"]


def test_only_the_score_whose_code_changed_or_that_is_new_is_computed(clip, variants, tmp_path, scored):
    before = run(clip, variants, tmp_path / "scores")
    scored.clear()
    after = run(clip, variants, tmp_path / "scores", {"ssim": "1", "psnr": "2", "edge_agreement": "1"})
    assert scored == [("dusk", ["ssim", "psnr"]), ("neon", ["ssim", "psnr"])]
    assert [name for made in after["dusk"]["run"]["made"] for name in made["names"]] == [
        "ssim",
        "psnr",
        "edge_agreement",
    ]
    for name in CODES:
        assert after["dusk"]["frames"][name] == before["dusk"]["frames"][name]


def test_another_render_scores_everything_again(clip, variants, tmp_path, scored):
    run(clip, variants, tmp_path / "scores")
    scored.clear()
    synthetic_room.room(COUNT, width=96, height=64, box_offset_m=(0.3, 0, 0)).write(tmp_path / "render")
    run(clip, variants, tmp_path / "scores")
    assert [name for name, _ in scored] == ["dusk", "neon"]


def test_a_finished_variant_survives_a_job_that_fails(clip, variants, tmp_path, scored):
    good = variants["neon"].read_bytes()
    variants["neon"].write_bytes(b"cut off")
    with pytest.raises(UserError, match=r"neon\.mp4"):
        run(clip, variants, tmp_path / "scores")
    (tmp_path / "scores" / "dusk.json").unlink()  # as Snakemake does with the outputs of a failed job
    variants["neon"].write_bytes(good)
    scored.clear()
    run(clip, variants, tmp_path / "scores")
    assert [name for name, _ in scored] == ["neon"]
    assert (tmp_path / "scores" / "dusk.json").exists()


def test_a_damaged_store_costs_time_and_nothing_else(clip, variants, tmp_path, scored):
    before = run(clip, variants, tmp_path / "scores")
    (tmp_path / "scores" / ".kept" / "values.json").write_text('{"dusk/psnr": ["1"')
    scored.clear()
    after = run(clip, variants, tmp_path / "scores")
    assert len(scored) == 2
    assert after["dusk"]["frames"] == before["dusk"]["frames"]


def test_a_score_depends_on_its_own_module_and_not_on_those_of_others():
    codes = code_digests(list(METRICS))
    assert codes["psnr"] != codes["ssim"], "two functions of one module"
    assert len(set(codes.values())) == len(METRICS)


def brightness_step(before, now):
    """Change of mean brightness between consecutive frames."""
    return abs(float(now.variant.mean()) - float(before.variant.mean()))


class Drift(ClipScore):
    """Change of mean brightness over the clip, and where it is darkest."""

    def __init__(self, clip):
        assert clip.info.frames == COUNT
        self.levels = []

    def add(self, batch):
        assert batch.start == len(self.levels)
        self.levels += batch.variant.mean((1, 2, 3)).tolist()
        return []

    def value(self):
        return abs(self.levels[-1] - self.levels[0])

    def details(self):
        return {"worst_frame": int(np.argmin(self.levels)), "window": [0, 1]}


def toy(name, **about):
    words = {"title": name, "family": "time", "better": "lower", "range": "0 to 255", "ideal": 0.0}
    return Metric(name=name, **words, measures="a toy", reference="none", **about)


def test_scores_of_pairs_and_of_whole_clips_reach_the_summary(clip, tmp_path, monkeypatch):
    metrics = [
        toy("step", per="pair", computed_by=f"{__name__}:brightness_step", clip_value="worst"),
        toy("drift", per="clip", computed_by=f"{__name__}:Drift"),
    ]
    for metric in metrics:
        monkeypatch.setitem(METRICS, metric.name, metric)
    monkeypatch.setitem(score.__globals__["PIXELS_PER_BATCH"], "cpu", 2 * 96 * 64)
    levels = [100, 100, 40, 70]
    flat = tmp_path / "flat.mp4"
    write_video(flat, [np.full((64, 96, 3), level, np.uint8) for level in levels], synthetic_room.FPS, crf=0)
    folder = tmp_path / "results" / "hall"
    run(clip, {"flat": flat}, folder / "metrics" / "pan", {"step": "1", "drift": "1"})
    found = files.read_json(folder / "metrics" / "pan" / "flat.json")
    assert found["frames"]["step"] == [None, *(pytest.approx(step, abs=1) for step in (0, 60, 30))]
    assert found["mean"] == {"step": pytest.approx(60, abs=1), "drift": pytest.approx(30, abs=1)}
    assert found["frames"]["drift"] == []
    assert found["details"] == {"drift": {"worst_frame": 2, "window": [0, 1]}}

    record = {"seconds": 1.0, "commit": None}
    files.write_json(folder / "preflight.json", {})
    files.write_json(folder / "diversity" / "pan.json", {})
    files.write_json(folder / "enriched" / "pan" / "flat.json", {"engine": "toy", "run": record})
    files.write_json(folder / "clips" / "pan" / "provenance.json", {"run": {**record, "rasterizer": "cpu"}})
    spec = {"facility": "hall", "clips": ["pan"], "variants": ["flat"], "names": ["step", "drift"]}
    thresholds = {"step": {"fail": 50}, "drift": {"warn": 20}}
    digests = {"configuration_digest": "", "environment_digests": {}}
    scores = summarize(tmp_path / "results", {**spec, **digests, "thresholds": thresholds})["clips"]["pan"]["flat"]
    assert (scores["scores"]["step"]["verdict"], scores["scores"]["step"]["worst_frame"]) == ("fail", 2)
    assert (scores["scores"]["drift"]["verdict"], scores["scores"]["drift"]["worst_frame"]) == ("warn", 2)
    assert scores["verdict"] == "fail"
