"""Datasets made of a finished run: nothing leaks between the sides of the split, every layout gives the frames back."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint import depth, video
from blueprint.errors import UserError
from blueprint.export import dataset
from blueprint.export.episodes import Episode, collect, split
from blueprint.files import write_json
from loopback_hub import Hub, running
from small_runs import small_config
from workflow_runs import SCRIPTS, snakemake, write_config

SPEC = {
    "facilities": {"kitchen": {"description": "a small kitchen", "clips": ["orbit", "sweep"]}},
    "verdicts": ["pass", "warn", "fail"],
    "render": True,
    "held_out_share": 0.5,
    "held_out_facilities": [],
    "licences": {"photometric": []},
    "options": {"name": "small", "episodes_per_shard": 3, "window_frames": 14},
}


def episode(facility, clip, look, trajectory):
    nothing = Path()
    return Episode(facility, clip, look, nothing, nothing, nothing, nothing, "", trajectory, None, "render", {})


places = st.dictionaries(
    st.sampled_from("abc"), st.lists(st.sampled_from("tuvwxyz"), min_size=1, max_size=6), min_size=1
)


@given(places, st.floats(0, 0.99), st.sets(st.sampled_from("abc")))
@settings(max_examples=200, deadline=None)
def test_no_trajectory_stands_on_both_sides(clips, share, held_out):
    episodes = [
        episode(facility, f"clip{number}", look, trajectory)
        for facility, trajectories in clips.items()
        for number, trajectory in enumerate(trajectories)
        for look in ("render", "dim")
    ]
    sides = split(episodes, share, held_out)
    assigned = {(e.facility, e.trajectory): sides[e.trajectory] for e in episodes}
    assert set(sides) == {e.trajectory for e in episodes}
    assert sides == split(episodes[::-1], share, held_out)
    for facility in clips:
        found = [side for (place, _), side in assigned.items() if place == facility]
        if facility in held_out:
            assert set(found) == {"test"}
        elif not held_out and len(clips) == 1:
            assert "train" in found
            assert not share or len(found) == 1 or "test" in found


def with_verdicts(results):
    """The small run's scores have no thresholds: here every variant passes."""
    path = results / "kitchen/summary.json"
    summary = json.loads(path.read_text())
    for variants in summary["clips"].values():
        for judged in variants.values():
            judged["verdict"] = "pass"
    path.write_text(json.dumps(summary))
    return results


@pytest.fixture(scope="module")
def passed(finished_run, tmp_path_factory):
    """Results in which all variants pass; not to be changed."""
    copy = tmp_path_factory.mktemp("passed") / "results"
    shutil.copytree(finished_run / "results", copy)
    return with_verdicts(copy)


def test_clips_along_one_path_are_one_trajectory(run):
    results = run / "results"
    shutil.copyfile(results / "kitchen/clips/orbit/cameras.json", results / "kitchen/clips/sweep/cameras.json")
    assert len({e.trajectory for e in collect(results, SPEC)}) == 1


def test_a_replaced_variant_is_not_exported(run, tmp_path):
    results = with_verdicts(run / "results")
    enriched = results / "kitchen/enriched/orbit"
    shutil.copyfile(enriched / "fog.mp4", tmp_path / "fog.mp4")
    (enriched / "neon.mp4").unlink()
    shutil.copyfile(tmp_path / "fog.mp4", enriched / "neon.mp4")
    with pytest.raises(UserError, match=r"neon\.mp4.*sha256 differs"):
        dataset.export(results, SPEC, "cosmos", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_nothing_that_passed_is_an_error(finished_run, tmp_path):
    spec = {**SPEC, "render": False, "verdicts": ["nothing"]}
    with pytest.raises(UserError, match=r"export\.verdicts"):
        dataset.export(finished_run / "results", spec, "cosmos", tmp_path / "out")


def frames_of(path):
    return np.stack(list(video.read_video(path)))


def test_cosmos_layout_by_its_own_rules(passed, tmp_path):
    """As VideoDataset of Cosmos-Predict2.5 reads it: every videos/*.mp4 with a metas/*.txt of the same stem."""
    results = passed
    manifest = dataset.export(results, SPEC, "cosmos", tmp_path / "cosmos")
    dataset.verify(tmp_path / "cosmos")
    assert {e["split"] for e in manifest["episodes"]} == {"train", "test"}
    read = 0
    for side in ("train", "test"):
        for path in sorted((tmp_path / "cosmos" / side / "videos").glob("*.mp4")):
            caption = (tmp_path / "cosmos" / side / "metas" / f"{path.stem}.txt").read_text().strip()
            assert "small kitchen" in caption
            facility, clip, look = path.stem.split("__")
            source = "clips/{0}/rgb.mp4" if look == "render" else "enriched/{0}/{1}.mp4"
            assert (frames_of(path) == frames_of(results / facility / source.format(clip, look))).all()
            with np.load(tmp_path / "cosmos" / side / "masks" / f"{path.stem}.npz") as mask:
                alpha = [alpha for _, alpha in depth.iterate_depth(results / facility / f"clips/{clip}/depth.npz")]
                assert (mask["holes"] == (np.stack(alpha) < 0.5)).all()
            read += 1
    assert read == 8
    (tmp_path / "cosmos" / dataset.TIMESTAMP).touch()  # as Snakemake does
    dataset.verify(tmp_path / "cosmos")
    (tmp_path / "cosmos" / "train" / "metas" / "odd.txt").write_text("odd")
    with pytest.raises(UserError, match=r"odd\.txt"):
        dataset.verify(tmp_path / "cosmos")


def test_webdataset_reads_its_shards(passed, tmp_path):
    import webdataset

    results = passed
    dataset.export(results, SPEC, "webdataset", tmp_path / "shards")
    shards = sorted(str(path) for path in (tmp_path / "shards").glob("*.tar"))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False))
    assert len(samples) == 8 and len(shards) == 4
    for sample in samples:
        facts = json.loads(sample["json"])
        source = "clips/{clip}/rgb.mp4" if facts["look"] == "render" else "enriched/{clip}/{look}.mp4"
        assert sample["mp4"] == (results / facts["facility"] / source.format(**facts)).read_bytes()
        assert np.load(io.BytesIO(sample["mask.npz"]))["holes"].dtype == bool
    again = dataset.export(results, SPEC, "webdataset", tmp_path / "again")
    assert again["files"] == dataset.export(results, SPEC, "webdataset", tmp_path / "shards")["files"]


def dreamdojo_loads(folder, frames=13):
    """What DreamDojo's VideoDataset at commit 02f119b does: filters by words, draws a start, needs one frame more."""
    from random import randint

    for path in sorted(folder.rglob("*.mp4")):
        if any(word in str(path).lower() for word in ("left", "right", "resize", "pad")):
            continue
        total = video.probe(path).frames
        assert total >= frames
        start = randint(0, total - frames - 1)
        yield path.name, start, frames_of(path)[start : start + frames]


def long_clips(run):
    """The finished run with clips of 30 frames, some named so that DreamDojo would drop them."""
    results = with_verdicts(run / "results")
    random = np.random.default_rng(0)
    clip = [np.full((48, 64, 3), random.integers(256), np.uint8) for _ in range(30)]
    for path in (*results.glob("kitchen/enriched/*/*.mp4"), *results.glob("kitchen/clips/*/rgb.mp4")):
        path.unlink()
        video.write_video(path, clip, 8)
    for path in results.glob("kitchen/enriched/*/*.json"):
        record = json.loads(path.read_text())
        path.unlink()
        path.write_text(json.dumps({**record, "sha256": dataset.file_digest(path.with_suffix(".mp4"))}))
    return results, np.stack(clip)


def test_dreamdojo_windows_have_one_start(run, tmp_path):
    results, clip = long_clips(run)
    for kind in ("clips", "enriched"):
        (results / "kitchen" / kind / "sweep").rename(results / "kitchen" / kind / "left_padding")
    summary = json.loads((results / "kitchen/summary.json").read_text())
    summary["clips"]["left_padding"] = summary["clips"].pop("sweep")
    (results / "kitchen/summary.json").write_text(json.dumps(summary))
    spec = {**SPEC, "facilities": {"kitchen": {"description": "", "clips": ["orbit", "left_padding"]}}}
    folder = Path("/tmp") / f"dreamdojo-{os.getpid()}"  # pytest's own folder holds words that DreamDojo minds
    try:
        dataset.export(results, spec, "dreamdojo", folder)
        loaded = list(dreamdojo_loads(folder))
        assert len(loaded) == 16  # two windows of each of eight episodes, none dropped
        for name, start, frames in loaded:
            window = int(name[1:7]) % 2
            assert start == 0
            assert np.abs(frames.astype(int) - clip[window * 14 : window * 14 + 13]).max() <= 3
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_path_that_dreamdojo_misreads_is_refused(passed, tmp_path):
    with pytest.raises(UserError, match="holds left, g1"):
        dataset.export(passed, SPEC, "dreamdojo", tmp_path / "left_g1" / "out")


READ_LEROBOT = """
import json, sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
found = []
for side in ("train", "test"):
    dataset = LeRobotDataset(f"small_{side}", root=f"{sys.argv[1]}/{side}", video_backend="pyav")
    for item in map(dataset.__getitem__, range(len(dataset))):
        colour = item["observation.images.camera"].mean(dim=(1, 2)) * 255
        where = [item["episode_index"].item(), item["frame_index"].item(), item["task"]]
        found.append([side, *where, colour.tolist(), item["observation.state"].tolist()])
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    "LEROBOT_PYTHON" not in os.environ,
    reason="LEROBOT_PYTHON names no Python with what envs/lerobot.lock.txt locks (docs/export.md)",
)
def test_lerobot_reads_its_dataset(passed, tmp_path):
    python, spec = os.environ["LEROBOT_PYTHON"], tmp_path / "spec.json"
    write_json(spec, SPEC)
    given = ["--results", passed, "--spec", f"@{spec}", "--layout", "lerobot", "--output", tmp_path / "lerobot"]
    subprocess.run([python, SCRIPTS / "export.py", *given], check=True)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [python, "-c", READ_LEROBOT, tmp_path / "lerobot"]
    read = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE)
    rows = json.loads(read.stdout.splitlines()[-1])
    assert len(rows) == 8 * 4
    manifest = json.loads((tmp_path / "lerobot/manifest.json").read_text())
    for side in ("train", "test"):
        members = [e for e in manifest["episodes"] if e["split"] == side]
        for _, number, frame, task, colour, state in (row for row in rows if row[0] == side):
            e = members[number]
            folder = passed / e["facility"]
            source = "clips/{clip}/rgb.mp4" if e["look"] == "render" else "enriched/{clip}/{look}.mp4"
            truth = frames_of(folder / source.format(**e))[frame]
            assert task == e["caption"]
            assert np.abs(truth.mean(axis=(0, 1)) - colour).max() < 3
            assert len(state) == 7 and abs(np.linalg.norm(state[3:]) - 1) < 1e-5


def push(folder, repository, hub, token):
    """Run the program as a person does; return its exit status and what it printed."""
    command = [sys.executable, SCRIPTS / "export.py", "--output", folder, "--push", repository]
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": token}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    return finished.returncode, finished.stderr


def test_push_sends_what_the_manifest_names_and_nothing_damaged(passed, tmp_path):
    folder = tmp_path / "cosmos"
    dataset.export(passed, SPEC, "cosmos", folder)
    with running(Hub(writers={"me": "hf_write"})) as hub:
        status, printed = push(folder, "me/kitchen", hub, "hf_other")
        assert status == 1 and "error: --push:" in printed and "HF_TOKEN" in printed and "hf_other" not in printed
        status, printed = push(folder, "me/kitchen", hub, "hf_write")
        assert status == 0, printed
        sent = hub.uploads["me/kitchen"]
        assert {*sent} - {".gitattributes"} == {
            p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()
        }
        assert all(content == (folder / name).read_bytes() for name, content in sent.items())
        next(folder.glob("train/videos/*.mp4")).write_bytes(b"damaged")
        asked = len(hub.requests)
        status, printed = push(folder, "me/kitchen", hub, "hf_write")
        assert status == 1 and "sha256 differs" in printed
        assert len(hub.requests) == asked


def test_export_through_snakemake(run):
    config = write_config(run, small_config(export={"layouts": ["cosmos"], "held_out_share": 0.5}))
    snakemake(run, config, "export")
    dataset.verify(run / "results/dataset/cosmos")
    assert "Nothing to be done" in snakemake(run, config, "export", "-n").stdout
