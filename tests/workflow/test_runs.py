"""Whole runs of the demo, small: what is made, what is made again and what is not."""

import json
import os
import random
import re
import signal
import subprocess
import time

import numpy as np
import psutil
import pytest

from blueprint.video import probe, read_video
from same_results import differences, visible_files
from small_runs import small_config
from workflow_runs import clean_environment, planned_jobs, snakemake, snakemake_command, write_config

CLIPS = ["orbit", "sweep"]
VARIANTS = ["evening", "neon", "fog"]


def test_a_run_ends_with_the_report(finished_run):
    results = finished_run / "results"
    assert "<html" in (results / "report.html").read_text()
    scores = json.loads((results / "kitchen/metrics/orbit/fog.json").read_text())
    assert scores["names"] == small_config()["metrics"]["names"], "in the order of the configuration"
    for clip in CLIPS:
        for video in [f"clips/{clip}/rgb", f"clips/{clip}/depth", *(f"enriched/{clip}/{name}" for name in VARIANTS)]:
            path = results / "kitchen" / f"{video}.mp4"
            info = probe(path)
            assert (info.width, info.height, info.fps, info.frames) == (192, 176, 8, 4)
            frames = np.stack(list(read_video(path)))
            assert frames.shape == (4, 176, 192, 3)
            assert frames.mean() > 10, f"{path} is black"
            assert np.abs(np.diff(frames.astype(int), axis=0)).max() > 5, f"nothing moves in {path}"
        depth = np.load(results / "kitchen" / "clips" / clip / "depth.npz")
        assert depth["depth_m"].shape == depth["alpha"].shape == (4, 176, 192)
        assert 0.2 < np.median(depth["depth_m"]) < 6, "metres, in a room"


def test_nothing_is_left_beside_the_results(finished_run):
    assert not list(finished_run.rglob("*.part*"))


def test_every_job_has_a_log(finished_run):
    logs = {path.as_posix() for path in visible_files(finished_run / "logs")}
    assert {"kitchen/render/orbit.log", "kitchen/enrich/sweep.log", "kitchen/metrics/orbit.log"} <= logs


def test_a_second_run_has_nothing_to_do(run):
    assert "Nothing to be done" in snakemake(run, run / "config.yaml").stdout


def test_deleting_one_enriched_clip_reruns_its_branch_alone(run):
    (run / "results/kitchen/enriched/orbit/neon.mp4").unlink()
    planned = planned_jobs(snakemake(run, run / "config.yaml", "--dry-run"))
    assert planned == {
        "enrich": 1,
        "metrics": 1,
        "diversity": 1,
        "preview": 1,
        "summary": 1,
        "report": 1,
        "all": 1,
    }


def test_changing_one_variant_makes_that_one_alone_again(run, finished_run):
    config = small_config()
    config["enrich"]["variants"][1]["preset"] = "haze"
    write_config(run, config)
    planned = planned_jobs(snakemake(run, run / "config.yaml", "--dry-run"))
    assert planned == {
        "enrich": len(CLIPS),
        "metrics": len(CLIPS),
        "diversity": len(CLIPS),
        "preview": len(CLIPS),
        "summary": 1,
        "report": 1,
        "all": 1,
    }
    snakemake(run, run / "config.yaml")
    for clip in CLIPS:
        enriched = run / "results/kitchen/enriched" / clip
        made_again = differences(enriched, finished_run / "results/kitchen/enriched" / clip)
        assert set(made_again) == {"neon.mp4", "neon.json"}
        log = (run / f"logs/kitchen/enrich/{clip}.log").read_text()
        assert "2 of 3 variants are finished already" in log
        log = (run / f"logs/kitchen/metrics/{clip}.log").read_text()
        known = dict(re.findall(r"(\w+): (\d) of 3 scores are known already", log))
        assert known == {"evening": "3", "neon": "0", "fog": "3"}, "that variant alone is scored again"


def test_changing_the_metrics_reruns_scores_and_report_alone(run):
    write_config(run, small_config(metrics={"names": ["psnr"]}))
    planned = planned_jobs(snakemake(run, run / "config.yaml", "--dry-run"))
    assert planned == {
        "metrics": len(CLIPS),
        "preview": len(CLIPS),
        "summary": 1,
        "report": 1,
        "all": 1,
    }


def test_changing_a_threshold_reruns_verdicts_and_report_alone(run):
    write_config(
        run, small_config(metrics={"names": ["psnr", "ssim", "ms_ssim"], "thresholds": {"ssim": {"fail": 0.1}}})
    )
    planned = planned_jobs(snakemake(run, run / "config.yaml", "--dry-run"))
    assert planned == {"summary": 1, "report": 1, "all": 1}


def test_adding_a_clip_renders_that_clip_alone(run):
    config = small_config()
    config["clips"].append({"name": "reach", "path": "manipulation"})
    write_config(run, config)
    planned = planned_jobs(snakemake(run, run / "config.yaml", "--dry-run"))
    assert (planned["cameras"], planned["render"], planned["enrich"]) == (1, 1, 1)
    assert "preflight_scene" not in planned


def test_a_newer_checkout_with_the_same_files_reruns_nothing(run):
    """A scene that was downloaded again is newer but the same: its recorded checksum tells."""
    os.utime(run / "resources/demo/kitchen.ply")
    assert "Nothing to be done" in snakemake(run, run / "config.yaml", "--max-checksum-file-size", "1073741824").stdout


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_killed_and_started_again_it_makes_the_same_results(finished_run, tmp_path, seed):
    """SIGKILL to Snakemake and all its jobs when a random number of results is there, then start it again."""
    config = write_config(tmp_path, small_config())
    expected = sum(1 for _ in visible_files(finished_run / "results"))
    enough = random.Random(seed).randrange(2, expected - 2)
    process = subprocess.Popen(
        snakemake_command(tmp_path, config),
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None:
        if sum(1 for _ in visible_files(tmp_path / "results")) >= enough:
            break
        time.sleep(0.05)
    assert process.poll() is None, "killed in the middle, not after the end"
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    for child in children:
        if child.is_running():
            child.kill()
    process.wait()
    snakemake(tmp_path, config, "--unlock")
    snakemake(tmp_path, config, "--rerun-incomplete")
    assert differences(tmp_path / "results", finished_run / "results") == []


def test_results_name_what_made_them(finished_run):
    provenance = json.loads((finished_run / "results/kitchen/enriched/orbit/fog.json").read_text())
    assert provenance["engine"] == "photometric"
    assert "run" in provenance
