"""The stage in the workflow: enrichment waits for a verdict where that is asked for, and stops at one that fails."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from small_runs import small_config, write_splat
from workflow_runs import SCRIPTS, planned_jobs, snakemake, write_config


@pytest.fixture
def folder(tmp_path):
    write_splat(tmp_path / "scan.ply")
    return tmp_path


def config(**changes):
    return small_config(facilities=[{"name": "place", "scene": "scan.ply", **changes.pop("facility", {})}], **changes)


def test_enrichment_waits_for_the_scans_verdict_where_that_is_asked_for(folder):
    planned = snakemake(folder, write_config(folder, config(fidelity={"fail_run": True})), "-n", "all")
    assert planned_jobs(planned)["worth_it"] == 1
    planned = snakemake(folder, write_config(folder, config()), "-n", "all")
    jobs = planned_jobs(planned)
    assert jobs["fidelity"] == 1 and "worth_it" not in jobs


@pytest.mark.parametrize(("verdict", "status"), [("fail", 1), ("warn", 0), ("pass", 0)])
def test_a_scan_that_fails_stops_and_says_where_to_look(tmp_path, verdict, status):
    found, marker = tmp_path / "fidelity.json", tmp_path / "passed.txt"
    found.write_text(json.dumps({"facility": "place", "verdict": verdict}))
    command = [sys.executable, str(SCRIPTS / "passed.py"), str(found), "--output", str(marker)]
    command += ["--setting", "fidelity.fail_run", "--shown-by", str(found)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == status and marker.exists() == (status == 0)
    if status:
        assert "place is `fail` and fidelity.fail_run is set" in done.stderr and str(found) in done.stderr


def test_photos_that_are_not_there_are_named_before_any_job(folder):
    lacking = config(facility={"photos": {"path": "captures/none"}})
    refused = snakemake(folder, write_config(folder, lacking), "-n", "all", check=False)
    assert refused.returncode and "photos.path: captures/none: no dataset is there" in refused.stdout
    assert "Traceback" not in refused.stdout


def test_a_change_of_what_preflight_reads_beside_the_scan_checks_the_scan_again(folder):
    """The poses of the photos (of COLMAP both files) and the calibration, even where the scale stays as it was."""
    model = folder / "capture" / "sparse" / "0"
    model.mkdir(parents=True)
    (model / "cameras.txt").write_text("1 PINHOLE 64 48 50 50 32 24\n")
    (model / "images.txt").write_text("".join(f"{n} 1 0 0 0 0 0 {n} 1 {n}.png\n\n" for n in range(1, 4)))
    (folder / "parser.json").write_text(json.dumps({"scale": 0.5, "transform": np.eye(4)[:3].tolist()}))
    beside = {"photos": {"path": "capture"}, "scale": {"dataparser_transforms": "parser.json"}}
    asked = write_config(folder, config(facility={**beside, "floor_height_m": 2.0}))
    marker = "results/place/preflight.json"
    snakemake(folder, asked, marker)
    beside_the_scan = (model / "cameras.txt", model / "images.txt", folder / "parser.json")
    for file in beside_the_scan:
        file.write_bytes(file.read_bytes() + b"\n")
    planned = snakemake(folder, asked, "-n", marker)
    assert planned_jobs(planned) == {"preflight_scene": 1}
    [reason] = re.findall(r"Reason: Updated input files: (.*)", planned.stdout)
    assert {folder / name for name in reason.split(", ")} == set(beside_the_scan)
