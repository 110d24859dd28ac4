"""What is not what was saved: corrupt and foreign objects, odd names, other clocks; named, and made again."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from blueprint.cloud import bucket as buckets
from blueprint.cloud import sync
from blueprint.cloud.ledger import Entry
from blueprint.cloud.restore import restore
from blueprint.cloud.sync import Sync, scan
from cloud_runs import ALL_JOBS, GOOD, cloud_settings, jobs_in_bucket, record, started, tree, write


def saved_run(b2, tmp_path, at_s=1_700_000_000.0):
    """A run with two finished outputs, their records and a scene, in the bucket."""
    made = write(tmp_path / "one", {"resources/scan.ply": "a user's own", "results/.kept/1.txt": "one"})
    for name in ("results/1.txt", "results/2.txt"):
        write(made, {name: f"content of {name}", record("metadata", name): json.dumps({"endtime": at_s})})
    for path in tree(made):
        os.utime(made / path, (at_s, at_s))
    (made / "results/.kept/1.txt").unlink()
    os.link(made / "results/1.txt", made / "results/.kept/1.txt")
    Sync(cloud_settings(b2), made).run(settle_s=0)
    (tmp_path / "two").mkdir()
    return tmp_path / "two"


def test_what_is_not_what_was_saved_is_set_aside_and_named(b2, tmp_path):
    other = saved_run(b2, tmp_path)
    b2.corrupt("blueprint/test/results/1.txt")
    b2.rewrite("blueprint/test/results/2.txt", b"somebody else's")
    b2.store("blueprint/test/results/3.txt", b"foreign")
    stamp = (1_700_000_000.0, 1_700_000_000.0)
    foreign = write(tmp_path / "foreign", {record("metadata", "results/3.txt"): json.dumps({"endtime": stamp[0]})})
    buckets.Bucket(cloud_settings(b2), foreign).upload(scan(foreign).files)
    report = restore(cloud_settings(b2), other)
    told = {problem.split()[0] for problem in report.problems}
    assert told == {"results/1.txt", "results/2.txt"}
    assert not (other / "results/1.txt").exists() and not (other / "results/2.txt").exists()
    assert (other / "results/.cloud/aside/results/2.txt").read_text() == "somebody else's"
    assert (other / "resources/scan.ply").read_text() == "a user's own"
    assert "results/3.txt" in sync.incomplete_outputs(other)  # its record is not of this version of it
    # What is made again replaces what was there, whatever the times say.
    write(other, {"results/1.txt": "made again"})
    Sync(cloud_settings(b2), other).run(settle_s=0)
    assert b2.files()["blueprint/test/results/1.txt"][0] == b"made again"


def test_a_finished_output_that_nobody_saved_is_a_stranger(b2, tmp_path):
    other = saved_run(b2, tmp_path)
    stranger = write(tmp_path / "stranger", {"results/3.txt": "3"})
    write(stranger, {record("metadata", "results/3.txt"): json.dumps({"endtime": 1_700_000_000.123})})
    buckets.Bucket(cloud_settings(b2), stranger).upload(scan(stranger).files)
    report = restore(cloud_settings(b2), other)
    assert [problem.split()[0] for problem in report.problems] == ["results/3.txt"]


def test_a_list_of_digests_that_cannot_be_read_blocks_nothing(b2, tmp_path):
    other = saved_run(b2, tmp_path)
    name = next(name for name in b2.files() if "/manifest/" in name)
    b2.rewrite(name, b"{")
    report = restore(cloud_settings(b2), other)
    assert report.problems == () and (other / "results/1.txt").exists()


def test_hard_links_are_stored_once_and_come_back_as_links(b2, tmp_path):
    other = saved_run(b2, tmp_path)
    assert not [name for name in b2.files() if "/.kept/" in name]
    restore(cloud_settings(b2), other)
    assert (other / "results/.kept/1.txt").samefile(other / "results/1.txt")
    assert Sync(cloud_settings(b2), other).run(settle_s=0).files == 0


def test_times_from_the_future_are_set_to_just_before_now(b2, tmp_path):
    other = saved_run(b2, tmp_path, at_s=time.time() + 86_400)
    restore(cloud_settings(b2), other)
    times = [(other / name).stat().st_mtime for name in ("results/1.txt", "results/2.txt", "resources/scan.ply")]
    assert time.time() - 60 < max(times) <= time.time() and max(times) - min(times) < 0.002
    assert sync.incomplete_outputs(other) == set()
    again = Sync(cloud_settings(b2), other)
    assert again.run(settle_s=0).files >= 5 and again.verify() == []
    # The bucket has healed: another machine finds nothing from the future, and records that are of these versions.
    third = tmp_path / "three"
    third.mkdir()
    restore(cloud_settings(b2), third)
    assert sync.incomplete_outputs(third) == set()
    assert json.loads((third / "results/.cloud/restored.json").read_text())["moved"] == []


def test_impossible_accounts_and_the_guard_s_own_files_do_not_come_back(b2, tmp_path):
    other = saved_run(b2, tmp_path)
    place = "blueprint/test/results/.cloud"
    b2.store(f"{place}/ledger/9-0a.json", b'{"machine": "9-0a", "cost_usd": -1e6}')
    for name in ("runs/1.json", "guard.json", "ledger/readme.txt"):
        b2.store(f"{place}/{name}", b"{}")
    report = restore(cloud_settings(b2), other)
    assert [problem.split()[0] for problem in report.problems] == ["results/.cloud/ledger/9-0a.json"]
    found = {path for path in tree(other) if path.startswith("results/.cloud/") and "manifest" not in path}
    assert found == {"results/.cloud/restored.json", "results/.cloud/aside/results/.cloud/ledger/9-0a.json"}


@pytest.mark.slow
@pytest.mark.fault("file names that B2 cannot hold", "they are named; all others are saved; stopped, not destroyed")
def test_names_that_b2_cannot_hold(rent, b2, vast, outcome):
    machine = rent(cloud={"shutdown": "destroy"})
    folder = machine.folder / "results/odd"
    folder.mkdir(parents=True)
    (folder / "a\nb.txt").write_text("newline")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.txt")).write_text("no UTF-8")
    os.mkfifo(folder / "pipe")
    (folder / "plain.txt").write_text("plain")
    assert machine.run() == 1
    outcome.begin()
    assert jobs_in_bucket(b2) == ALL_JOBS
    assert {name for name in b2.files() if "/odd/" in name} == {"blueprint/test/results/odd/plain.txt"}
    assert not vast.count("DELETE")
    outcome(machine, "by itself; the disk has what is not saved", r"2 files are not.*'results/odd/a\\nb.txt'")


@pytest.mark.slow
@pytest.mark.fault("an object in the bucket is corrupt, another is foreign", "set aside, named, made again")
def test_objects_that_are_not_what_was_saved(rent, b2, outcome):
    assert rent().run() == 0
    b2.corrupt("blueprint/test/results/made/1.txt")
    b2.rewrite("blueprint/test/results/used/2.txt", b"somebody else's\n")
    other = rent("two", instance=8)
    before = len(started(other))
    assert other.run() == 0, other.output()
    outcome.begin()
    assert "Set aside: results/made/1.txt cannot be read" in other.output()
    assert "Set aside: results/used/2.txt is not what was saved" in other.output()
    assert set(started(other)[before:]) <= {"make/1", "use/1", "use/2", "sum"}
    assert b2.files()["blueprint/test/results/used/2.txt"][0] == b"2\n{{}}\n"
    outcome(other, "by itself, after the run", GOOD)


@pytest.mark.slow
@pytest.mark.fault("accounts in the bucket are impossible, or the guard's own files are there", "told, not believed")
def test_restored_accounts_are_not_believed_blindly(rent, b2, outcome):
    assert rent(cloud={"max_cost_usd": 50}).run() == 0
    place = "blueprint/test/results/.cloud"
    entry = Entry("9-0a0b0c0d", 2.0, 10.0, -1e6, 0.0, "", "")
    b2.store(f"{place}/ledger/9-0a0b0c0d.json", json.dumps(asdict(entry)).encode())
    b2.store(f"{place}/ledger/9-1a0b0c0d.json", b'{"machine": "9-1a')
    b2.store(f"{place}/runs/1.json", json.dumps({"process": {"pid": 1, "created": 0.0}, "outcome": "running"}).encode())
    b2.store(f"{place}/guard.json", b"{}")
    other = rent("two", instance=8, cloud={"max_cost_usd": 50})
    assert other.run() == 0, other.output()
    outcome.begin()
    assert other.output().count("figures are impossible") >= 2
    assert not (other.folder / "results/.cloud/runs/1.json").exists()
    outcome(other, "by itself", GOOD)


@pytest.mark.slow
@pytest.mark.fault(
    "a machine's clock is a day ahead", "restored files are set to just before now; nothing is made again"
)
def test_a_clock_a_day_ahead(rent, b2, outcome):
    machine = rent()
    assert machine.run("results/made/0.txt", "results/used/1.txt") == 0
    # As the machine would have left it: every time, and every record of one, a day later.
    day_s = 86_400
    b2.shift_times(1000 * day_s)
    other = rent("two", instance=8)
    before = len(started(other))
    assert other.run() == 0, other.output()
    outcome.begin()
    assert "from the future" in other.output()
    assert not {"make/0", "make/1", "use/1"} & set(started(other)[before:])
    third = rent("three", instance=9)
    assert third.script("restore").returncode == 0
    assert third.planned() == []
    outcome(other, "by itself, after the run", GOOD)


@pytest.mark.slow
@pytest.mark.fault("uploads of large files are begun and never finished", "they are cancelled after the final copy")
def test_unfinished_uploads_are_cancelled(rent, b2, outcome):
    machine = rent()
    b2.begin_large("blueprint/test/results/made/1.txt")
    b2.begin_large("blueprint/another/results/made/1.txt")
    assert machine.run() == 0, machine.output()
    outcome.begin()
    assert b2.unfinished() == ["blueprint/another/results/made/1.txt"]
    outcome(machine, "by itself, after the run", GOOD)


@pytest.mark.slow
def test_hard_links_are_one_object_and_come_back_as_links(rent, b2):
    machine = rent()
    snakefile = machine.folder / "Snakefile"
    snakefile.write_text(
        snakefile.read_text().replace(
            "echo sum >>", "mkdir -p results/.kept; ln -f results/used/1.txt results/.kept/1.txt; echo sum >>"
        )
    )
    assert machine.run() == 0, machine.output()
    assert not [name for name in b2.files() if "/.kept/" in name]
    other = rent("two", instance=8)
    assert other.script("restore").returncode == 0
    kept, made = other.folder / "results/.kept/1.txt", other.folder / "results/used/1.txt"
    assert os.path.samefile(kept, made)  # noqa: PTH121
