"""Jobs that share no file system: what a rule names, and a whole run on nothing but a storage."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from blueprint import demo
from blueprint.axes import OPENCV_FROM_OPENGL, direction, opencv_viewmats
from same_results import differences, same_file
from small_runs import small_config
from workflow_runs import REPOSITORY, clean_environment, copy_checkout, git, snakemake, write_config

PLUGINS = Path(__file__).parents[1] / "executors"
NEEDS_RSYNC = pytest.mark.skipif(
    not shutil.which("rsync"),
    reason="rsync, by which the storage plugin `fs` copies, is not on this machine (.ci/run installs it)",
)
JOBS_OWN = {".snakemake/", "resources/embeddings"}
"""Folders that a job makes for itself, in its working directory."""


def bodies():
    """The text of every rule, by name."""
    for path in sorted((REPOSITORY / "rules").glob("*.smk")):
        yield from re.findall(r"^rule (\w+):\n((?:[ \t].*\n|\n)+)", path.read_text(), re.MULTILINE)


def test_no_program_is_told_a_folder_by_name():
    """A folder is that of a declared file; what `params` name outright reaches no program."""
    assert len(list(bodies())) >= 20
    for rule, body in bodies():
        if "    shell:" not in body:
            continue
        declared, shell = body.split("    shell:")
        told = set(re.findall(r"\{params\.(\w+)", shell))
        named = set(re.findall(r"^        (\w+)=.*(?:RESULTS|BENCHMARKS)", declared.split("    params:")[-1], re.M))
        derived = set(re.findall(r"^        (\w+)=lambda wildcards, (?:input|output):", declared, re.M))
        assert told & named <= derived, rule
        written = {word for word in re.findall(r"""[ =]([\w.]+/[\w./{}]*)""", shell) if "SCRIPTS" not in word}
        assert all(word.startswith(tuple(JOBS_OWN)) for word in written), rule


def run_elsewhere(folder, config, *targets, **variables):
    """Run a copy of the workflow whose jobs share nothing but a storage; return the storage."""
    checkout, storage, jobs = copy_checkout(folder / "checkout"), folder / "storage", folder / "jobs"
    for made in (storage, jobs):
        made.mkdir(exist_ok=True)
    write_config(checkout, config)
    git(checkout, "init", "--quiet")
    git(checkout, "add", "--all")
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", *targets, "--configfile", "config.yaml", "--executor", "elsewhere"),
            *("--jobs", "2", "--shared-fs-usage", "none", "--default-storage-provider", "fs"),
            *("--default-storage-prefix", str(storage), "--seconds-between-status-checks", "0"),
        ],
        cwd=checkout,
        env=clean_environment() | {"PYTHONPATH": str(PLUGINS), "BLUEPRINT_TEST_FOLDERS": str(jobs)} | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout
    assert not [path for path in jobs.iterdir() if path.is_dir()], "every job's folder is gone"
    assert not (checkout / "results").exists(), "nothing was made here"
    return storage


@NEEDS_RSYNC
@pytest.mark.slow
def test_a_users_scan_comes_from_the_storage_and_a_secret_as_a_declared_variable(finished_run, tmp_path):
    """No job has the scan but those that it is an input of; the token is in no command and in nothing printed."""
    config = small_config(facilities=[{"name": "hall", "scene": "scans/hall.ply"}])
    for place in ("checkout", "storage"):
        (tmp_path / place / "scans").mkdir(parents=True)
        shutil.copy(finished_run / "resources/demo/kitchen.ply", tmp_path / place / "scans/hall.ply")
    (tmp_path / "checkout/.gitignore").write_text("scans/\n")
    token = "hf_of_a_test"
    storage = run_elsewhere(tmp_path, config, "results/hall/clips/orbit/cameras.json", HF_TOKEN=token)
    made = json.loads((storage / "results/hall/clips/orbit/cameras.json").read_text())
    assert made == json.loads((finished_run / "results/kitchen/clips/orbit/cameras.json").read_text())
    printed = [path.read_text() for path in (tmp_path / "jobs").glob("*.txt")]
    assert len(printed) == 3 and all(text.startswith("given HF_TOKEN\n") and token not in text for text in printed)


@NEEDS_RSYNC
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_scan_is_held_against_photos_that_only_the_storage_has(tmp_path):
    """Their cameras and masks travel with the sources; the images come to the job that compares them."""
    capture = tmp_path / "scan" / "capture"
    for folder in ("images", "masks"):
        (capture / folder).mkdir(parents=True)
    demo.write(demo.build("kitchen", gaussians=60_000), tmp_path / "scan" / "hall.ply")
    random, frames = np.random.default_rng(0), []
    for number, eye in enumerate([(-1.7, -1.3, 1.5), (-0.4, -1.3, 1.5), (1.2, -1.3, 1.5), (1.5, 1.0, 1.5)]):
        forward = direction(np.radians([90.0 * number]), np.radians([12.0]))
        pose = np.linalg.inv(opencv_viewmats(np.array([eye]), forward)[0]) @ OPENCV_FROM_OPENGL
        frames.append({"file_path": f"images/{number}.png", "transform_matrix": pose.tolist()})
        cv2.imwrite(str(capture / f"images/{number}.png"), random.integers(0, 255, (48, 64, 3), np.uint8))
    cv2.imwrite(str(capture / "masks/1.png"), np.kron([[0], [255]], np.ones((24, 64))).astype(np.uint8))
    camera = {"camera_model": "PINHOLE", "fl_x": 50.0, "fl_y": 50.0, "cx": 32.0, "cy": 24.0, "w": 64, "h": 48}
    dataset = {**camera, "test_filenames": ["images/2.png"], "frames": frames}
    (capture / "transforms.json").write_text(json.dumps(dataset))
    facility = {"name": "hall", "scene": "scan/hall.ply", "photos": {"path": "scan/capture", "every": 1}}
    config = small_config(facilities=[facility], clips=[{"name": "orbit", "path": "orbit"}], fidelity={"places": 2})
    for place in ("local", "checkout", "storage"):
        shutil.copytree(tmp_path / "scan", tmp_path / place / "scan")
    (tmp_path / "checkout/.gitignore").write_text("*.ply\nimages/\n")
    snakemake(tmp_path / "local", write_config(tmp_path / "local", config), "results/hall/fidelity.json")
    storage = run_elsewhere(tmp_path, config, "results/hall/fidelity.json")
    made = storage / "results/hall/fidelity.json"
    assert same_file(tmp_path / "local/results/hall/fidelity.json", made)
    photos = json.loads(made.read_text())["photos"]
    assert len(photos["compared"]) == 4, photos


@NEEDS_RSYNC
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_everything_without_a_shared_folder_makes_the_same_results(tmp_path):
    """Two clips to their report, a dataset of them, and a world model trained on it for two steps and evaluated."""
    config = small_config(
        render={"width": 192, "height": 176, "fps": 8, "frames": 8},
        export={"layouts": ["cosmos"], "verdicts": ["pass", "warn", "fail"], "held_out_share": 0.5},
        train={"engine": "tiny", "steps": 2, "window_frames": 4},
    )
    config["enrich"]["variants"] = config["enrich"]["variants"][:2]
    targets = ("all", "export", "training")
    (tmp_path / "local").mkdir()
    snakemake(tmp_path / "local", write_config(tmp_path / "local", config), *targets)
    storage = run_elsewhere(tmp_path, config, *targets)
    assert differences(tmp_path / "local" / "results", storage / "results") == []
