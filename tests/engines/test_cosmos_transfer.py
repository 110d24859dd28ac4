"""The native engine through the real rule and the real Snakemake, against a strict stand-in for NVIDIA's repository."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from blueprint import config as configuration
from blueprint.engines import engine
from blueprint.engines.cosmos import NEGATIVE_PROMPT
from blueprint.engines.job import enrich
from blueprint.engines.variants import clip_spec
from blueprint.errors import UserError
from blueprint.plan import planned_clips
from blueprint.video import probe, read_video
from loopback_hub import Hub, running
from rendered_clips import clip_in, write_clip
from workflow_runs import SCRIPTS, clean_environment, planned_jobs, snakemake, snakemake_command, write_config

DOUBLES = Path(__file__).parent / "doubles"
NAMES = ["rain", "snow", "dusk", "noon", "fog"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a rendered clip, a checkout of the stand-in and one GPU, all in paths with spaces."""
    folder = tmp_path / "my project"
    write_clip(folder / "results" / "hall" / "clips" / "orbit")
    marker = folder / "results" / "preflight" / "cosmos-transfer.json"
    marker.parent.mkdir()
    marker.write_text('{"lock": {}}')
    root = tmp_path / "cosmos transfer"
    shutil.copytree(DOUBLES / "cosmos_transfer", root)
    python = root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    git = ["git", "-C", str(root), "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for arguments in (["init", "-q"], ["add", "examples"], ["commit", "-q", "-m", "double"]):
        subprocess.run([*git, *arguments], check=True)
    set_gpus(tmp_path, monkeypatch, 1)
    monkeypatch.setenv("DOUBLE_LOG", str(tmp_path / "double.log"))
    return folder


def set_gpus(tmp_path, monkeypatch, count, used_mib=500):
    """Put an nvidia-smi on PATH that reports some H100s."""
    tools = tmp_path / "tools"
    tools.mkdir(exist_ok=True)
    lines = "".join(f"{index}, NVIDIA H100 80GB HBM3, 570.124.06, 81559, {used_mib}\\n" for index in range(count))
    (tools / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{lines}'\n")
    (tools / "nvidia-smi").chmod(0o755)
    if str(tools) not in os.environ["PATH"]:
        monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # locks of these GPUs are this test's own
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def configure(project, names=NAMES, variant=None, **enrich):
    config = {
        "facilities": [{"name": "hall", "scene": "resources/demo/kitchen.ply", "description": "a hall"}],
        "enrich": {
            "engine": "cosmos-transfer2.5",
            "cosmos_root": str(project.parent / "cosmos transfer"),
            "variants": [
                {"name": name, "prompt": "{facility.description} in " + name, "seed": seed, **(variant or {})}
                for seed, name in enumerate(names)
            ],
            **enrich,
        },
    }
    return write_config(project, config)


def run(project, config, check=True):
    targets = [f"results/hall/enriched/orbit/{name}.mp4" for name in names_in(config)]
    return snakemake(project, config, "--allowed-rules", "enrich", "--rerun-incomplete", *targets, check=check)


def names_in(config):
    return [line.split(": ")[1] for line in config.read_text().splitlines() if line.startswith("  - name: ")]


def asked(project):
    """What each process of the stand-in was asked to do."""
    log = project.parent / "double.log"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def output(project, name):
    return project / "results" / "hall" / "enriched" / "orbit" / name


def job_log(project):
    return (project / "logs" / "hall" / "enrich" / "orbit.log").read_text()


def test_all_variants_of_a_clip_are_made_by_one_process(project):
    run(project, configure(project))
    (only,) = asked(project)
    assert [sample["name"] for sample in only["samples"]] == NAMES
    assert only["guardrails"] is False
    assert only["keep_going"] is False
    clip = project / "results" / "hall" / "clips" / "orbit"
    for name in NAMES:
        assert probe(output(project, f"{name}.mp4")) == probe(clip / "rgb.mp4")
    provenance = json.loads(output(project, "snow.json").read_text())
    commit = subprocess.run(
        ["git", "-C", str(project.parent / "cosmos transfer"), "rev-parse", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    assert provenance["engine"] == "cosmos-transfer2.5"
    assert provenance["model"]["commit"] == commit
    assert provenance["variant"]["prompt"] == "a hall in snow"
    assert provenance["run"]["arguments"]["depth"]["control_path"] == str(clip / "depth.mp4")
    assert provenance["run"]["arguments"]["negative_prompt"] == NEGATIVE_PROMPT
    assert str(project) not in json.dumps({**provenance, "run": {}}), "nothing but `run` depends on the place"
    assert provenance["fit"]["model_frames"] == 93
    assert provenance["fit"]["model_width"] == 960, "96x64 is nearest to 4:3"
    assert provenance["run"]["gpus"] == ["NVIDIA H100 80GB HBM3"]
    assert provenance["run"]["vram_peak_gb"] > 0
    assert provenance["run"]["seconds"] > 0
    assert "[5/5] Processing sample fog" in job_log(project), "the repository's progress is in the job's log"
    assert not (project / ".snakemake" / "enrich" / "hall" / "orbit").exists(), "what was being made is gone"


def test_frames_stay_in_place(project):
    run(project, configure(project, ["rain"]))
    render = list(read_video(project / "results" / "hall" / "clips" / "orbit" / "rgb.mp4"))
    for made, frame in zip(read_video(output(project, "rain.mp4")), render, strict=True):
        assert abs(made.astype(int) - (255 - frame)).mean() < 8, "the stand-in inverts each frame"


def test_guardrails_are_on_when_asked_for(project, monkeypatch):
    monkeypatch.setenv("DOUBLE_BLOCK", "snow")
    finished = run(project, configure(project, disable_guardrails=False), check=False)
    (only,) = asked(project)
    assert only["guardrails"] is True
    assert finished.returncode != 0
    assert "made no clip for snow, dusk, noon, fog: it exited with 1" in job_log(project)
    assert "Guardrail blocked generation" in job_log(project)


def test_skipped_sample_is_caught_and_named_though_the_exit_status_is_0(project, monkeypatch):
    monkeypatch.setenv("DOUBLE_SKIP", "dusk")
    finished = run(project, configure(project), check=False)
    assert finished.returncode != 0
    assert "made no clip for dusk: it exited with 0" in job_log(project)
    monkeypatch.delenv("DOUBLE_SKIP")
    run(project, configure(project))
    assert [[sample["name"] for sample in process["samples"]] for process in asked(project)] == [NAMES, ["dusk"]]


def test_clip_that_does_not_align_is_refused(project, monkeypatch):
    monkeypatch.setenv("DOUBLE_SHORT", "rain")
    finished = run(project, configure(project, ["rain"]), check=False)
    assert finished.returncode != 0
    assert "rain: the engine made VideoInfo(width=96, height=64, fps=12.0, frames=3)" in job_log(project)
    assert not output(project, "rain.mp4").exists()


def test_killed_after_two_of_five_makes_three_more(project, monkeypatch):
    config = configure(project)
    monkeypatch.setenv("DOUBLE_HANG_AT", "2")
    targets = [f"results/hall/enriched/orbit/{name}.mp4" for name in NAMES]
    line = snakemake_command(project, config, "--allowed-rules", "enrich", "--rerun-incomplete", *targets)
    process = subprocess.Popen(
        line,
        cwd=project,
        env=clean_environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    store = output(project, ".kept")
    try:
        while len(list(store.glob("[!.]*.json"))) < 2:
            assert process.poll() is None, job_log(project)
            time.sleep(0.2)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kept = {path.name: path.read_bytes() for path in store.iterdir()}
    monkeypatch.delenv("DOUBLE_HANG_AT")
    snakemake(project, config, "--unlock")
    run(project, config)
    first, second = asked(project)
    assert [sample["name"] for sample in first["samples"]] == NAMES
    assert [sample["name"] for sample in second["samples"]] == NAMES[2:]
    assert len(kept) == 4
    for name, content in kept.items():
        assert (store / name).read_bytes() == content
        variant, _, suffix = name.split(".")
        assert output(project, f"{variant}.{suffix}").read_bytes() == content
    assert "Nothing to be done" in run(project, config).stdout


def test_ended_job_leaves_no_process_on_the_card(project, monkeypatch):
    monkeypatch.setenv("DOUBLE_HANG_AT", "1")
    clip = project / "results" / "hall" / "clips" / "orbit"
    config = configuration.complete(yaml.safe_load(configure(project).read_text()), "my.yaml")
    spec = clip_spec(config["enrich"], planned_clips(config)[0])
    line = [sys.executable, str(SCRIPTS / "enrich.py"), "--spec", json.dumps(spec), "--code", "c", "--gpus", "1"]
    for option, name in (
        ("rgb", "rgb.mp4"),
        ("depth", "depth.mp4"),
        ("depth-m", "depth.npz"),
        ("cameras", "cameras.json"),
    ):
        line += [f"--{option}", str(clip / name)]
    line += ["--folder", str(output(project, "")), "--scratch", str(project / "scratch")]
    line += ["--machine", json.dumps({"cosmos_root": str(project.parent / "cosmos transfer")})]
    process = subprocess.Popen(line)
    while not list(output(project, ".kept").glob("*.json")):
        assert process.poll() is None
        time.sleep(0.2)
    (child,) = psutil.Process(process.pid).children()
    process.terminate()
    assert process.wait(timeout=60) == 143
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_only_what_changed_is_made_again(project):
    run(project, configure(project, ["rain", "snow"]))
    before = output(project, "rain.mp4").read_bytes()
    config = configure(project, ["rain", "snow", "fog"])
    config.write_text(config.read_text().replace("in snow", "in heavy snow"))
    run(project, config)
    assert [sample["name"] for sample in asked(project)[1]["samples"]] == ["snow", "fog"]
    assert output(project, "rain.mp4").read_bytes() == before
    assert len(list(output(project, ".kept").iterdir())) == 6, "what no variant needs any more is pruned"
    config.write_text(config.read_text() + "report:\n  title: another\n")
    assert "Nothing to be done" in run(project, config).stdout, "an unrelated key makes nothing again"


def test_every_control_reaches_the_repository(project):
    for name in ("mask hall orbit.mp4", "seg.mp4"):
        shutil.copy(project / "results" / "hall" / "clips" / "orbit" / "rgb.mp4", project / name)
    controls = {
        "depth": {"control_weight": 0.5, "mask_path": "mask {facility} {clip}.mp4"},
        "edge": {"control_weight": 0.25, "preset_edge_threshold": "low", "mask_prompt": "shelves"},
        "vis": {"preset_blur_strength": "high"},
        "seg": {"control_path": "seg.mp4", "control_prompt": "floor"},
    }
    settings = {"guidance": 7, "num_steps": 9, "resolution": "480", "num_conditional_frames": 2}
    run(project, configure(project, ["rain"], {"controls": controls, "negative_prompt": "people"}, **settings))
    (sample,) = asked(project)[0]["samples"]
    assert sample["depth"]["control_path"].endswith("/orbit/depth.mp4")
    assert sample["depth"]["mask_path"] == str(project / "mask hall orbit.mp4")
    assert sample["edge"] == {"control_weight": 0.25, "preset_edge_threshold": "low", "mask_prompt": "shelves"}
    assert sample["vis"] == {"control_weight": 1.0, "preset_blur_strength": "high"}
    assert sample["seg"]["control_path"] == str(project / "seg.mp4")
    assert sample["negative_prompt"] == "people"
    assert {key: sample[key] for key in settings} == settings
    shutil.copy(project / "results" / "hall" / "clips" / "orbit" / "depth.mp4", project / "seg.mp4")
    target = "results/hall/enriched/orbit/rain.mp4"
    again = snakemake(project, project / "config.yaml", "--allowed-rules", "enrich", "-n", target)
    assert planned_jobs(again) == {"enrich": 1}, "another control video is a reason to make the clip again"


def test_masks_are_private_to_the_clip(project, tmp_path):
    """The repository names a mask after the input, `rgb`, in the folder for temporary files that clips share."""
    controls = {"edge": {"mask_prompt": "shelves"}}
    run(project, configure(project, ["rain"], {"controls": controls}))
    (only,) = asked(project)
    assert Path(only["temporary"]) != tmp_path, "what TMPDIR says in this test"
    assert not Path(only["temporary"]).exists(), "it is gone with the process"
    assert not list(tmp_path.glob("*_mask.mp4"))


def test_mask_for_which_nothing_is_found_fails_the_variant(project, monkeypatch):
    monkeypatch.setenv("DOUBLE_UNSEEN", "unicorns")
    controls = {"edge": {"mask_prompt": "unicorns"}}
    assert run(project, configure(project, ["rain"], {"controls": controls}), check=False).returncode != 0
    assert "rain: controls.edge.mask_prompt: nothing was found for 'unicorns'" in job_log(project)
    assert not output(project, "rain.mp4").exists()


@pytest.mark.parametrize("key", ["control_path", "mask_path"])
def test_control_and_mask_of_another_length_are_refused_before_the_model_loads(project, key):
    short = write_clip(project / "short", frames=3) / "rgb.mp4"
    config = configure(project, ["rain"], {"controls": {"seg": {"control_path": str(short), key: str(short)}}})
    assert run(project, config, check=False).returncode != 0
    assert "has 3 frames, the clip" in job_log(project)
    assert asked(project) == []


def test_frames_that_chunks_lose_are_noticed(project, tmp_path):
    """Chunks of 20 frames come back with 17: the count is right in the end, the frames are not."""
    clip = clip_in(write_clip(tmp_path / "clip", frames=40))
    config = configuration.complete(yaml.safe_load(configure(project, ["rain"]).read_text()), "my.yaml")
    spec = clip_spec(config["enrich"], planned_clips(config)[0])
    spec["settings"]["num_video_frames_per_chunk"] = 20
    machine = {"gpus": 1, "machine": {"cosmos_root": str(project.parent / "cosmos transfer")}}
    with pytest.raises(UserError, match=r"rain: frames \d+ to 39 show what the render shows \d frame\(s\) later"):
        enrich(clip, spec, "code", tmp_path / "made", tmp_path / "scratch", **machine)
    spec["settings"]["num_video_frames_per_chunk"] = 21
    assert enrich(clip, spec, "code", tmp_path / "made", tmp_path / "scratch", **machine) == ["rain"]


@pytest.mark.parametrize("settings", [{}, {"disable_guardrails": False}, {"controls": {"depth": {}, "edge": {}}}])
def test_fetched_weights_are_all_that_a_job_without_network_needs(project, tmp_path, settings):
    config = configure(project, ["rain"], **settings)
    enrichment = configuration.complete(yaml.safe_load(config.read_text()), "my.yaml")["enrich"]
    place = tmp_path / "weights"
    revisions = {}
    for number, repository in enumerate(engine(enrichment["engine"]).repositories(enrichment)):
        for name in repository.files:
            (place / str(number) / name.replace("*", "config.json")).parent.mkdir(parents=True, exist_ok=True)
            (place / str(number) / name.replace("*", "config.json")).write_text(repository.id)
        revisions.setdefault(repository.id, {})[repository.revision] = place / str(number)
    cache = {"HF_HOME": str(tmp_path / "hf")}
    with running(Hub(revisions)) as hub:
        snakemake(project, config, "fetch_weights", environment={**cache, "HF_ENDPOINT": hub.endpoint})
    targets = ["--allowed-rules", "enrich", "--rerun-incomplete", "results/hall/enriched/orbit/rain.mp4"]
    snakemake(project, config, *targets, environment={**cache, "HF_HUB_OFFLINE": "1"})


def test_several_gpus_run_through_torchrun(project, tmp_path, monkeypatch):
    set_gpus(tmp_path, monkeypatch, 3)
    run(project, configure(project, ["rain"], gpus=2))
    (only,) = asked(project)
    assert only["world_size"] == 2
    assert len(only["gpus"].split(",")) == 2


def test_distilled_model(project):
    run(project, configure(project, ["rain"], model="edge/distilled", controls={"edge": {}}))
    (only,) = asked(project)
    assert only["model"] == "edge/distilled"
    assert only["samples"][0]["num_steps"] == 4


@pytest.mark.parametrize(
    ("gpus", "used_mib", "expected"),
    [(0, 0, "1 NVIDIA GPU(s) wanted, 0 of 0"), (1, 40000, "65.4 GB needed, 43.6 of 85.5 GB free on GPU 0")],
    ids=["no GPU", "full GPU"],
)
def test_card_is_checked_before_the_model_loads(project, tmp_path, monkeypatch, gpus, used_mib, expected):
    set_gpus(tmp_path, monkeypatch, gpus, used_mib)
    assert run(project, configure(project, ["rain"]), check=False).returncode != 0
    assert expected in job_log(project)
    assert asked(project) == []


def test_missing_repository_is_said(project):
    config = configure(project, ["rain"], cosmos_root=str(project / "nowhere"))
    assert run(project, config, check=False).returncode != 0
    assert "enrich.cosmos_root" in job_log(project)


def test_a_style_and_what_stays_as_rendered_are_told(project):
    mask, picture = project / "stay.mp4", project / "style.png"
    shutil.copy(output(project, "").parents[1] / "clips" / "orbit" / "depth.mp4", mask)
    picture.write_bytes(b"of the model's concern")
    more = {
        "image_context": {"image_path": str(picture)},
        "guided_generation": {"mask_path": str(mask), "step_threshold": 9},
    }
    config = configure(project, ["rain"], more)
    run(project, config)
    ((sample,),) = [process["samples"] for process in asked(project)]
    assert sample["image_context_path"] == str(picture)
    assert (sample["guided_generation_mask"], sample["guided_generation_step_threshold"]) == (str(mask), 9)
    assert json.loads(output(project, "rain.json").read_text())["inputs"].keys() >= {str(mask), str(picture)}
    picture.write_bytes(b"another")
    run(project, config)
    assert len(asked(project)) == 2, "another picture, another style"
    write_clip(project / "short", frames=3)
    short = {"guided_generation": {"mask_path": str(project / "short" / "rgb.mp4")}}
    assert run(project, configure(project, ["rain"], short), check=False).returncode != 0
    assert "rain: guided_generation.mask_path: " in job_log(project)
    assert len(asked(project)) == 2, "before a model is loaded"
