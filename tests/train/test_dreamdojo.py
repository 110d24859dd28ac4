"""The trainer `dreamdojo` through the real rules, against a strict stand-in for NVIDIA's repository."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import psutil
import pytest

from blueprint.cloud.sync import scan
from blueprint.errors import UserError
from blueprint.export import windows
from blueprint.files import file_digest, write_json
from blueprint.train.dreamdojo import checkpoint, upstream
from blueprint.train.dreamdojo.run import WEIGHTS
from blueprint.train.trainers import PRETRAINED, TRAINERS
from blueprint.video import probe, read_video, write_video
from loopback_hub import Hub, running
from rendered_clips import write_clip
from small_runs import small_config
from workflow_runs import clean_environment, git, snakemake, snakemake_command, write_config

DOUBLE = Path(__file__).parent / "doubles" / "dreamdojo"
FRAMES = 29
STEPS = 6


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two clips of one facility with a variant each, which passed."""
    folder = tmp_path_factory.mktemp("clips")
    kitchen = folder / "results" / "kitchen"
    for name, moving in (("orbit", True), ("sweep", False)):
        clip = write_clip(kitchen / "clips" / name, FRAMES, moving=moving)
        path = kitchen / "enriched" / name / "evening.mp4"
        write_video(path, (frame // 4 * 3 for frame in read_video(clip / "rgb.mp4")), 8)
        made = {"sha256": file_digest(path), "variant": {"prompt": None}, "engine": "photometric"}
        write_json(path.with_suffix(".json"), made)
    passed = {"evening": {"verdict": "pass"}}
    write_json(kitchen / "summary.json", {"clips": {"orbit": passed, "sweep": passed}})
    write_json(kitchen / "preflight.json", {"scene": {"sha256": "0" * 64}})
    return folder


def config_of(folder, **train):
    small = small_config()
    machine = {"dreamdojo_root": str(folder.parent / "dream dojo"), "weights": str(folder.parent / "weights")}
    return {
        **small,
        "enrich": {"engine": "photometric", "variants": small["enrich"]["variants"][:1]},
        "train": {
            "engine": "dreamdojo",
            **machine,
            **{"steps": STEPS, "batch_size": 2, "checkpoint_steps": 2, "window_frames": 13, **train},
        },
    }


@pytest.fixture
def project(clips, tmp_path, monkeypatch):
    """The clips, an installation of the stand-in, its weights and one GPU, in paths with spaces."""
    folder = tmp_path / "my project"
    shutil.copytree(clips, folder)
    marker = folder / "results" / "preflight" / "dreamdojo.json"
    write_json(marker, {"lock": {}})
    root = tmp_path / "dream dojo"
    shutil.copytree(DOUBLE, root, ignore=shutil.ignore_patterns("__pycache__"))
    (root / ".gitignore").write_text(".venv\n__pycache__\n")
    python = root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "double"]):
        git(root, *arguments)
    weights = tmp_path / "weights"
    model = weights / PRETRAINED / "model"
    model.mkdir(parents=True)
    (weights / "LAM_400k.ckpt").write_text("weights")
    (model / ".metadata").write_text("model")
    (model / "__0_0.distcp").write_text(json.dumps({"colour": [0, 0, 0], "iteration": 140000}))
    set_gpu(tmp_path, monkeypatch)
    monkeypatch.setenv("DOUBLE_LOG", str(tmp_path / "double.log"))
    return folder


def set_gpu(tmp_path, monkeypatch, total_mib=81559):
    tools = tmp_path / "tools"
    tools.mkdir(exist_ok=True)
    line = f"0, NVIDIA H100 80GB HBM3, 570.124.06, {total_mib}, 500"
    (tools / "nvidia-smi").write_text(f"#!/bin/sh\necho '{line}'\n")
    (tools / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # the lock of this GPU is this test's own
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def configure(project, **train):
    return write_config(project, config_of(project, **train))


RULES = ("--rerun-incomplete", "--allowed-rules", "train", "evaluate", "training")


def run(project, config, *targets, check=True, environment=None):
    return snakemake(project, config, *(targets or ("training",)), *RULES, check=check, environment=environment)


def trained(name="render"):
    return f"results/training/{name}/training.json"


def job_log(project, name="train-render"):
    return (project / "logs" / "training" / f"{name}.log").read_text()


def noted(project, program=None):
    lines = map(json.loads, (project.parent / "double.log").read_text().splitlines())
    return [line for line in lines if program is None or line.get("program") == program]


def test_the_whole_loop(project):
    weights = project.parent / "weights"
    (weights / "README.md").write_text("a card")
    with running(Hub({WEIGHTS.id: {WEIGHTS.revision: weights}})) as hub:
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(project.parent / "hf")}
        run(project, configure(project, weights=""), environment=environment)
    assert hub.asked_for("LAM_400k.ckpt") and not hub.asked_for("README.md")
    folder = project / "results" / "training"
    verdict = json.loads((folder / "verdict.json").read_text())
    assert verdict["verdict"] == "pass", verdict["sentence"]
    assert "dB after renders alone" in verdict["sentence"]
    page = (folder / "training.html").read_text()
    assert "NVIDIA&#39;s DreamDojo, 2B" in page
    assert "latent actions" in page
    # two windows of 14 frames of one clip: its render, or its two looks
    assert sorted(note["windows"] for note in noted(project, "train")) == [2, 4]
    evaluated = noted(project, "evaluate")
    assert [note["windows"] for note in evaluated] == [4, 4, 4]
    assert sum(note["colour"] == [0, 0, 0] for note in evaluated) == 1, "the base model is converted, without sudo"
    scores = json.loads((folder / "base" / "scores.json").read_text())
    assert [row["window"].split("__")[2] for row in scores["windows"]] == [
        *("render@0", "render@14"),
        *("evening@0", "evening@14"),
    ]
    assert probe(folder / "predictions.mp4").frames == 4 * 12
    training = json.loads((folder / "render" / "training.json").read_text())
    assert training["run"]["gpus"] == ["NVIDIA H100 80GB HBM3"]
    assert training["run"]["resumed_from"] is None
    assert training["weights_commit"] == hub.commit(weights)
    assert training["model_commit"] == git(project.parent / "dream dojo", "rev-parse", "HEAD")
    assert (folder / "render" / checkpoint.NAME).stat().st_size == 0, "what is not needed any more is emptied"
    assert not list((project / ".snakemake" / "train").iterdir()), "what was being made is gone"
    assert not git(project.parent / "dream dojo", "status", "--porcelain"), "nothing is put into the installation"


def kill_while_hanging(project, config, monkeypatch):
    """Run until the stand-in hangs in the middle of a checkpoint; end Snakemake and its job outright."""
    monkeypatch.setenv("DOUBLE_HANG_AT", "5")
    process = subprocess.Popen(
        [*snakemake_command(project, config, trained()), *RULES],
        env=clean_environment(),
        cwd=project,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    kept = project / "results" / "training" / "render" / checkpoint.NAME
    deadline = time.monotonic() + 120
    while not (kept.exists() and any("hanging" in note for note in noted(project))):
        assert process.poll() is None, job_log(project)
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (hanging,) = [note["hanging"] for note in noted(project) if "hanging" in note]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    monkeypatch.delenv("DOUBLE_HANG_AT")
    snakemake(project, config, "--unlock")
    return psutil.Process(hanging) if psutil.pid_exists(hanging) else None, kept


def test_a_training_that_was_killed_goes_on_from_its_last_checkpoint(project, monkeypatch):
    config = configure(project)
    left, kept = kill_while_hanging(project, config, monkeypatch)
    if left is not None:
        psutil.wait_procs([left], timeout=60)
        assert not left.is_running() or left.status() == psutil.STATUS_ZOMBIE, "it keeps no card of a dead job"
    with tarfile.open(kept) as archive:
        names = archive.getnames()
    assert "iter_000000004/optim/.metadata" in names
    assert not [name for name in names if "iter_000000005" in name], "half a checkpoint is not kept"
    assert str(kept.relative_to(project)) in scan(project).files, "the sync saves it while the job is unfinished"
    assert "results/training/render/parameters.pt" not in scan(project).files
    shutil.rmtree(project / ".snakemake" / "train")  # another machine has what the sync saved
    run(project, config, trained())
    first, second = noted(project, "train")
    assert (first["begun"], second["begun"]) == (0, 4)
    training = json.loads((project / trained()).read_text())
    assert training["run"]["resumed_from"] == "iter_000000004"
    assert training["steps"] == STEPS


def test_a_checkpoint_of_another_training_is_not_gone_on_from(project, monkeypatch):
    kill_while_hanging(project, configure(project), monkeypatch)
    run(project, configure(project, batch_size=1), trained())
    assert [note["begun"] for note in noted(project, "train")] == [0, 0]


def test_a_damaged_checkpoint_is_named(project, monkeypatch):
    kept = kill_while_hanging(project, configure(project), monkeypatch)[1]
    kept.write_bytes(b"not a tar file at all" * 100)
    assert run(project, configure(project), trained(), check=False).returncode
    assert f"{checkpoint.NAME}: cannot be read" in job_log(project)
    assert "Delete it to begin the training again" in job_log(project)


def test_ended_by_a_signal_it_leaves_no_program_behind(project, monkeypatch):
    monkeypatch.setenv("DOUBLE_HANG_AT", "5")
    process = subprocess.Popen(
        [*snakemake_command(project, configure(project), trained()), *RULES],
        env=clean_environment(),
        cwd=project,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    deadline = time.monotonic() + 120
    log = project.parent / "double.log"
    while not log.exists() or not any("hanging" in note for note in noted(project)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (hanging,) = [note["hanging"] for note in noted(project) if "hanging" in note]
    os.killpg(process.pid, signal.SIGTERM)
    process.wait()
    psutil.wait_procs([psutil.Process(hanging)] if psutil.pid_exists(hanging) else [], timeout=30)
    assert not psutil.pid_exists(hanging)


def test_a_python_without_torchcodec_is_refused_instead_of_waited_for(project):
    shutil.rmtree(project.parent / "dream dojo" / "torchcodec")
    assert run(project, configure(project), trained(), check=False).returncode
    assert "No module named 'torchcodec'" in job_log(project)
    assert "it would try for ever" in job_log(project)
    assert "torchcodec.decoders" in Path(upstream.__file__).parents[2].joinpath("environments/needs.py").read_text()


def test_a_training_that_ends_early_is_no_training(project, monkeypatch):
    monkeypatch.setenv("DOUBLE_STOP_AT", "3")
    assert run(project, configure(project), trained(), check=False).returncode
    assert "ended with status 0 and iter_000000002, wanted are 6 steps" in job_log(project)


def test_scores_of_other_windows_are_refused(project, monkeypatch):
    monkeypatch.setenv("DOUBLE_SKIP", "2")
    assert run(project, configure(project), "results/training/base/scores.json", check=False).returncode
    assert "0002_metrics.json: cannot be read" in job_log(project, "evaluate-base")


def test_fewer_windows_than_a_batch_are_refused(project):
    """Its loader drops the last, incomplete batch, and so would wait for ever."""
    assert run(project, configure(project, batch_size=3), trained(), check=False).returncode
    assert "2 windows of 14 frames are left to train on in kitchen, at least 3 are needed" in job_log(project)


def test_a_card_that_is_too_small_is_refused(project, tmp_path, monkeypatch):
    set_gpu(tmp_path, monkeypatch, 24564)
    assert run(project, configure(project), trained(), check=False).returncode
    assert "80.0 GB needed" in job_log(project)


@pytest.mark.parametrize("word", [*windows.DROPPED, *windows.ROBOTS])
def test_a_path_that_it_would_read_wrongly_is_refused(tmp_path, word):
    with pytest.raises(UserError, match=f"since it holds .*{word}"):
        windows.refuse_dropped(tmp_path / f"my_{word.upper()}_scans", "working directory")


def test_more_windows_than_a_command_line_holds_are_refused(tmp_path):
    many = [tmp_path / f"w{number:06d}" for number in range(10_000)]
    with pytest.raises(UserError, match=r"10000 held-out windows .* Lower\s+export\.held_out_share"):
        upstream.evaluation_command(tmp_path, many, 13, tmp_path / "c" / "i" / "m.pt", tmp_path)


def test_what_is_not_published_is_said():
    trainer = TRAINERS["dreamdojo"]
    assert trainer.hours is None
    assert "nothing is published" in trainer.source
