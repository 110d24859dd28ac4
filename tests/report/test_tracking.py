"""Runs on an MLflow server: by MLflow's own client, into a store on disk that the same client reads back."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from mlflow import MlflowClient

import synthetic_results
from blueprint.files import read_json
from blueprint.report.page import write_report
from small_runs import small_config
from workflow_runs import REPOSITORY, SCRIPTS, clean_environment, planned_jobs, snakemake, write_config

FACILITIES = {"hall": ["sweep", "pan"]}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = synthetic_results.make_results(tmp_path_factory.mktemp("results"), count=8)
    spec = {"title": "Hall", "facilities": FACILITIES, "variants": ["dusk", "neon", "moved"]}
    write_report(folder / "report.html", folder, folder / "none", {**spec, "names": synthetic_results.NAMES})
    return folder


def tracked(results, output, uri):
    spec = {"uri": uri, "experiment": "kitchens", "facilities": FACILITIES}
    command = [sys.executable, SCRIPTS / "track.py", "--results", results, "--spec", json.dumps(spec)]
    return subprocess.run(
        [*command, "--output", output],
        env=clean_environment() | {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"},
        capture_output=True,
        text=True,
    )


def test_scores_verdicts_and_pictures_are_kept(results, tmp_path, monkeypatch):
    uri = (tmp_path / "store").as_uri()
    done = tracked(results, tmp_path / "tracked.json", uri)
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("kitchens").experiment_id])
    assert read_json(tmp_path / "tracked.json")["runs"] == {"hall": run.info.run_id}
    assert run.info.status == "FINISHED" and run.info.run_name == "hall"
    summary = read_json(results / "hall" / "summary.json")
    for step, clip in enumerate(FACILITIES["hall"]):
        kept = {entry.step: entry.value for entry in client.get_metric_history(run.info.run_id, "psnr/moved")}
        assert kept[step] == summary["clips"][clip]["moved"]["scores"]["psnr"]["mean"]
    assert run.data.tags["verdict"] == "fail" and run.data.tags["sweep/moved"].startswith("fails: ")
    assert "sweep/dusk" not in run.data.tags
    assert run.data.params["scene_sha256"] == "0" * 64 and run.data.params["engine"] == "photometric"
    kept = {
        file.path for folder in ("", "scan", "worst_frames") for file in client.list_artifacts(run.info.run_id, folder)
    }
    assert {"report.html", "summary.csv", "scan/map.png", "scan/look.png"} <= kept
    assert any(path.startswith("worst_frames/sweep-moved-") for path in kept)


def test_a_server_that_does_not_answer_is_named(results, tmp_path):
    done = tracked(results, tmp_path / "tracked.json", "http://127.0.0.1:9")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "error: report.track.uri: http://127.0.0.1:9: " in done.stderr
    assert not (tmp_path / "tracked.json").exists()


def test_it_is_planned_where_it_is_asked_for_alone(tmp_path):
    """And nothing else imports MLflow."""
    config = small_config(report={"track": {"uri": "http://127.0.0.1:9"}})
    jobs = planned_jobs(snakemake(tmp_path, write_config(tmp_path, config), "-n", "--quiet", "rules"))
    assert jobs["track"] == 1
    jobs = planned_jobs(snakemake(tmp_path, write_config(tmp_path, small_config()), "-n", "--quiet", "rules"))
    assert "track" not in jobs
    importing = [
        path.name for path in (REPOSITORY / "workflow").rglob("*.py") if "import MlflowClient" in path.read_text()
    ]
    assert importing == ["tracking.py"]
