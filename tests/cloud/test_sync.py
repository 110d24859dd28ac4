"""The real rclone against b2sdk's simulator behind loopback HTTP."""

import json
import os
import subprocess
import threading
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from blueprint.cloud import bucket as buckets
from blueprint.cloud import sync
from blueprint.cloud.accounts import store_of
from blueprint.cloud.bucket import MANIFEST, BucketError
from blueprint.cloud.restore import restore
from blueprint.cloud.sync import Sync, scan
from cloud_runs import cloud_settings, record, tree, write
from loopback_b2 import READ_WRITE


@pytest.fixture
def checkout(tmp_path):
    """A working directory with a finished output, a running job and files that belong to this machine alone."""
    return write(
        tmp_path / "one",
        {
            "results/kitchen/clip.mp4": "finished",
            record("metadata", "results/kitchen/clip.mp4"): json.dumps({"endtime": 1_700_000_000.123456}),
            "results/kitchen/enriched/orbit/.kept/warm.0123.mp4": "kept",
            "resources/demo/kitchen.ply": "scene ü",
            "benchmarks/results/render.tsv": "s\n1.0",
            "logs/kitchen/render.log": "done",
            # none of these
            "results/.cloud/ledger/machine.json": "{}",
            "results/kitchen/running.mp4": "half",
            record("incomplete", "results/kitchen/running.mp4"): "{}",
            record("metadata", "results/kitchen/running.mp4"): json.dumps({"endtime": 1_700_000_000.123456}),
            record("metadata", "results/kitchen/deleted.mp4"): json.dumps({"endtime": 1_700_000_000.123456}),
            "results/kitchen/.clip.ab12.part.mp4": "half",
            "results/kitchen/clip.mp4.a1b2c3d4.partial": "half",
            "results/.cloud/guard.json": "{}",
            ".snakemake/conda/env/lib": "environment",
            ".snakemake/locks/0.input.lock": "lock",
            "config/runtime.env": "B2_APPLICATION_KEY=secret",
        },
    )


FINISHED = {
    "results/kitchen/clip.mp4",
    record("metadata", "results/kitchen/clip.mp4"),
    "results/kitchen/enriched/orbit/.kept/warm.0123.mp4",
    "resources/demo/kitchen.ply",
    "benchmarks/results/render.tsv",
    "logs/kitchen/render.log",
}


def in_bucket(b2):
    names = {name.removeprefix("blueprint/test/") for name in b2.files()}
    return {name for name in names if not name.startswith(MANIFEST)}


def test_finished_files_travel_with_their_times_and_the_rest_stays(b2, checkout, tmp_path):
    settings = cloud_settings(b2)
    report = Sync(settings, checkout).run()
    assert in_bucket(b2) == FINISHED
    assert report.files == len(FINISHED)
    other = tmp_path / "two"
    other.mkdir()
    assert restore(settings, other).files == len(FINISHED) + 1  # and the list of digests
    assert {path: content for path, content in tree(other).items() if path in FINISHED} == {
        path: content for path, content in tree(checkout).items() if path in FINISHED
    }
    assert (other / "results/kitchen/clip.mp4").stat().st_mtime_ns == 1_700_000_000_123_000_000
    assert Sync(settings, checkout).verify() == []


def test_nothing_new_costs_no_call(b2, checkout):
    sync = Sync(cloud_settings(b2), checkout)
    sync.run()
    b2.calls.clear()
    assert sync.run().files == 0
    assert not b2.calls
    (checkout / "results/kitchen/new.json").write_text("new")
    assert sync.run().files == 1
    assert b2.calls["upload_file"] == 2  # the file, and its digest
    assert b2.calls.total() <= 6  # authorise, look at the folder, ask where to upload (twice), upload


def test_a_second_machine_knows_what_is_there(b2, checkout, tmp_path):
    settings = cloud_settings(b2)
    Sync(settings, checkout).run()
    other = tmp_path / "two"
    other.mkdir()
    restore(settings, other)
    assert Sync(settings, other).run().files == 0
    assert set(b2.versions().values()) == {1}


def test_a_machine_without_results_changes_nothing_in_the_bucket(b2, checkout, tmp_path):
    settings = cloud_settings(b2)
    Sync(settings, checkout).run()
    before = b2.files()
    empty = tmp_path / "empty"
    (empty / "results").mkdir(parents=True)
    sync = Sync(settings, empty)
    sync.run()
    assert sync.verify() == []
    assert b2.files() == before
    assert set(b2.versions().values()) == {1}


def test_an_output_without_its_record_is_taken_for_unfinished(b2, tmp_path):
    times = 1_700_000_000_123_456_789
    made = write(
        tmp_path / "one",
        {
            "results/whole.txt": "whole",
            record("metadata", "results/whole.txt"): json.dumps({"endtime": times / 1e9}),
            "results/folder/1.txt": "whole",
            record("metadata", "results/folder"): json.dumps({"endtime": times / 1e9}),
            "results/rewritten.txt": "half",
            record("metadata", "results/rewritten.txt"): json.dumps({"endtime": times / 1e9 - 5}),
            "results/unrecorded.txt": "who knows",
            "results/" + "long" * 60 + ".txt": "who knows",
            "results/kitchen/.kept/clip.mp4": "kept",
            "resources/scan.ply": "a user's own",
        },
    )
    bucket = buckets.Bucket(cloud_settings(b2), made)
    bucket.upload(scan(made).files)
    other = tmp_path / "two"
    other.mkdir()
    restore(cloud_settings(b2), other)
    assert (other / "results/unrecorded.txt").exists()
    assert sync.incomplete_outputs(other) == {
        "results/rewritten.txt",
        "results/unrecorded.txt",
        "results/" + "long" * 60 + ".txt",
    }
    names = {path.relative_to(other).as_posix() for path in (other / ".snakemake/incomplete").rglob("*")}
    assert record("incomplete", "results/unrecorded.txt") in names


def test_restore_keeps_newer_local_files(b2, checkout, tmp_path):
    settings = cloud_settings(b2)
    Sync(settings, checkout).run()
    other = write(tmp_path / "two", {"results/kitchen/clip.mp4": "made here, later"})
    os.utime(other / "results/kitchen/clip.mp4")
    restore(settings, other)
    assert (other / "results/kitchen/clip.mp4").read_text() == "made here, later"
    assert (other / "resources/demo/kitchen.ply").exists()


def test_an_old_machine_does_not_replace_what_a_newer_one_made(b2, checkout, tmp_path):
    settings = cloud_settings(b2)
    newer = write(tmp_path / "two", {"results/kitchen/clip.mp4": "remade", "logs/a.log": "a"})
    os.utime(newer / "results/kitchen/clip.mp4")
    Sync(settings, newer).run()
    old = Sync(settings, checkout)
    assert old.run().waiting == ("results/kitchen/clip.mp4",)
    assert b2.files()["blueprint/test/results/kitchen/clip.mp4"][0] == b"remade"
    assert "results/kitchen/clip.mp4" in old.verify()
    # The record of the old file would declare the newer one finished.
    assert record("metadata", "results/kitchen/clip.mp4") not in in_bucket(b2)
    # A job that writes it again is this run's business, whatever the clocks say.
    write(checkout, {"results/kitchen/clip.mp4": "remade again"})
    assert old.run().files == 2
    assert b2.files()["blueprint/test/results/kitchen/clip.mp4"][0] == b"remade again"
    assert old.verify() == []


def test_an_empty_bucket_restores_nothing(b2, tmp_path):
    assert restore(cloud_settings(b2), tmp_path).files == 0
    assert Sync(cloud_settings(b2), tmp_path).verify() == []


def test_long_names_of_incomplete_outputs_are_read(tmp_path):
    output = "results/" + "x" * 100 + "/" + "y" * 200 + ".mp4"
    text = urlsafe_b64encode(output.encode()).decode()
    write(tmp_path, {f".snakemake/incomplete/@{text[:254]}/{text[254:]}": "{}", output: "half"})
    assert sync.incomplete_outputs(tmp_path) == {output}
    assert scan(tmp_path).files == {}


def test_folders_that_are_outputs_wait_for_their_job(tmp_path):
    write(tmp_path, {"results/frames/1.png": "1", record("incomplete", "results/frames"): "{}"})
    assert scan(tmp_path).files == {}


def test_corrupted_on_the_way_is_sent_again(b2, checkout):
    b2.faults.corrupt_uploads = 2
    sync = Sync(cloud_settings(b2), checkout)
    sync.run()
    assert in_bucket(b2) == FINISHED
    assert sync.verify() == []


def test_corrupted_in_the_bucket_is_found(b2, checkout):
    b2.faults.corrupt_stored = 1
    sync = Sync(cloud_settings(b2), checkout)
    sync.run()
    assert len(sync.verify()) == 1


@pytest.mark.parametrize("fault", [{"fail_next": 3}, {"fail_next": 2, "status": 401}, {"drop_uploads": 3}])
def test_short_faults_are_survived(b2, checkout, fault):
    for name, value in fault.items():
        setattr(b2.faults, name, value)
    sync = Sync(cloud_settings(b2), checkout)
    sync.run()
    assert sync.verify() == []


def test_an_outage_is_reported_and_made_up_for(b2, checkout):
    sync = Sync(cloud_settings(b2), checkout)
    b2.faults.down = True
    with pytest.raises(BucketError, match="rclone lsjson"):
        sync.run()
    b2.faults.down = False
    assert sync.run().files == len(FINISHED)
    b2.faults.down = True
    with pytest.raises(BucketError, match="rclone check"):
        sync.verify()


def test_a_wrong_key_says_so_without_the_key(b2, checkout):
    settings = cloud_settings(b2)
    b2.set_secret("another")
    with pytest.raises(BucketError, match="check B2_APPLICATION_KEY_ID") as caught:
        Sync(settings, checkout).run()
    assert settings.application_key not in str(caught.value)


def test_a_key_that_may_not_write_says_so(b2, checkout):
    key_id, key = b2.create_key(["listBuckets", "listFiles", "readFiles"])
    with pytest.raises(BucketError, match="what the key may do"):
        Sync(cloud_settings(b2, key_id=key_id, application_key=key), checkout).run()


def test_a_key_that_may_not_delete_is_enough(b2, checkout, tmp_path):
    assert "deleteFiles" not in READ_WRITE
    settings = cloud_settings(b2)
    sync = Sync(settings, checkout)
    sync.run()
    write(checkout, {"results/kitchen/clip.mp4": "made again"})
    sync.run()
    assert sync.verify() == []
    (tmp_path / "two").mkdir()
    restore(settings, tmp_path / "two")
    assert (tmp_path / "two/results/kitchen/clip.mp4").read_text() == "made again"


def test_a_large_file_arrives_in_parts(b2, tmp_path):
    content = os.urandom(1_000_000) * 11
    write(tmp_path / "one", {"results/clip.mp4": content})
    settings = cloud_settings(b2)
    bucket = buckets.Bucket(settings, tmp_path / "one")
    bucket.rclone(
        "copy", "results", f"{bucket.remote}/results", "--b2-upload-cutoff=5M", "--b2-chunk-size=5M", "--max-depth=1"
    )
    assert b2.calls["upload_part"] == 3
    (tmp_path / "two").mkdir()
    restore(settings, tmp_path / "two")
    assert (tmp_path / "two/results/clip.mp4").read_bytes() == content
    assert Sync(settings, tmp_path / "one").verify() == []


def test_no_secret_in_command_lines_or_files(b2, checkout, monkeypatch, tmp_path):
    b2.set_secret("canary-b2-secret")
    seen = []
    start = subprocess.Popen

    def spy(command, **options):
        seen.append(command)
        return start(command, **options)

    monkeypatch.setattr(buckets.subprocess, "Popen", spy)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    runner = Sync(cloud_settings(b2), checkout)
    runner.run()
    runner.verify()
    assert len(seen) == 4
    assert "canary" not in repr(seen)
    assert not [path for path in home.rglob("*") if path.is_file()]
    assert not [path for path, content in tree(checkout).items() if b"canary" in content]


def test_settings_of_the_users_own_rclone_play_no_part(b2, checkout, monkeypatch):
    monkeypatch.setenv("RCLONE_DRY_RUN", "true")
    monkeypatch.setenv("RCLONE_CONFIG", str(Path("/nonexistent/rclone.conf")))
    Sync(cloud_settings(b2), checkout).run()
    assert in_bucket(b2) == FINISHED


def test_odd_names_keep_nothing_else_from_being_saved(b2, checkout):
    odd = checkout / "results/odd"
    write(checkout, {"results/odd/a\nb.txt": "newline", "results/odd/plain.txt": "plain"})
    Path(os.fsdecode(os.fsencode(odd) + b"/\xff.txt")).write_text("no UTF-8")
    os.mkfifo(odd / "pipe")
    worker = Sync(cloud_settings(b2), checkout)
    report = worker.run()
    assert in_bucket(b2) == FINISHED | {"results/odd/plain.txt"}
    assert sorted(report.odd) == [r"'results/odd/\udcff.txt'", r"'results/odd/a\nb.txt'"]
    assert worker.verify() == list(report.odd)


def test_a_call_without_end_is_ended_and_the_next_one_is_fresh(b2, checkout):
    worker = Sync(cloud_settings(b2, call_s=0.5), checkout)
    b2.faults.hang = True
    with pytest.raises(BucketError, match=r"lsjson: no end after 0 s|lsjson: no end after 1 s"):
        worker.run()
    b2.faults.hang = False
    assert Sync(cloud_settings(b2), checkout).run().files == len(FINISHED)


def test_an_interrupted_call_ends_at_once(b2, checkout):
    worker = Sync(cloud_settings(b2), checkout)
    b2.faults.hang = True
    threading.Timer(1.0, worker.bucket.interrupt).start()
    with pytest.raises(BucketError, match="rclone lsjson: ended without a message"):
        worker.run()
    b2.faults.hang = False


def test_tokens_that_have_expired_are_replaced(b2, checkout, tmp_path):
    worker = Sync(cloud_settings(b2), checkout)
    worker.run()
    b2.expire_tokens()
    write(checkout, {"results/kitchen/new.json": "new"})
    assert worker.run().files == 1
    store = store_of(cloud_settings(b2))
    store.put("a.json", b"1")
    b2.expire_tokens()
    assert store.get("a.json") == b"1"
    assert [found.name for found in store.list("a")] == ["a.json"]
