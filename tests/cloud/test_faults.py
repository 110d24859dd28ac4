"""What happens to results and money when something breaks: real Snakemake, rclone and vastai client, loopback services.

Every test ends with the results in the bucket and the instance ended, or with the reason and a status that is not 0.
"""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from cloud_runs import ALL_JOBS, CANARY, SAVED, VAST_KEY, is_stopped, jobs_in_bucket, names, started, tree, wait_until
from loopback_b2 import READ_WRITE


def test_a_run_that_succeeds_leaves_results_and_no_secret(rent, b2, vast, tmp_path):
    machine = rent(environment={"TEST_SLEEP_S": "0.3"})
    snakemake = machine.start()
    seen = set()
    while snakemake.poll() is None:
        for process in psutil.process_iter(["cmdline"]):
            seen |= set(process.info["cmdline"] or [])
        time.sleep(0.01)
    assert snakemake.returncode == 0, machine.output()
    assert SAVED in machine.output() and is_stopped(vast)
    assert jobs_in_bucket(b2) == ALL_JOBS
    bucket = {name.removeprefix("blueprint/test/"): content for name, (content, _) in b2.files().items()}
    here = tree(machine.folder)
    assert {path: here[path] for path in bucket} == bucket
    assert {
        path for path in here if re.match("results/(?!.cloud)|logs/|benchmarks/|.snakemake/metadata/", path)
    } <= set(bucket)
    secrets = (CANARY, VAST_KEY)
    assert any("rclone" in word for word in seen)
    assert not [word for word in seen for secret in secrets if secret in word]
    assert not [path for path, content in tree(tmp_path).items() for secret in secrets if secret.encode() in content]


@pytest.mark.parametrize(
    "arguments",
    [("-n",), ("-np",), ("--lint",), ("--dag",), ("--rulegraph",), ("--summary",), ("--list-rules",), ("--unlock",)],
    ids=" ".join,
)
def test_without_jobs_nothing_is_asked_of_anyone(rent, b2, vast, arguments):
    machine = rent()
    machine.run(*arguments)
    assert not b2.calls and not vast.requests
    assert not (machine.folder / "results").exists()


def test_a_local_run_touches_no_cloud(rent, b2, vast):
    machine = rent()
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    subprocess.run(command, cwd=machine.folder, env=machine.variables(), check=True, capture_output=True)
    assert started(machine)
    assert not b2.calls and not vast.requests
    assert not (machine.folder / "results/.cloud").exists()


def test_secrets_in_runtime_env_reach_the_guard_and_nobody_else(rent, b2, vast):
    machine = rent()
    secrets = {**b2.environment(), "VAST_API_KEY": VAST_KEY}
    runtime_env = machine.folder / "config/runtime.env"
    runtime_env.touch(0o600)
    runtime_env.write_text("".join(f"{name}={text}\n" for name, text in secrets.items()))
    machine.environment |= dict.fromkeys(secrets, "")
    snakefile = machine.folder / "Snakefile"
    snakefile.write_text(snakefile.read_text().replace('shell:\n        "', 'shell:\n        "env > seen; '))
    assert machine.run() == 0, machine.output()
    assert SAVED in machine.output() and is_stopped(vast)
    assert "TEST_JOURNAL" in (machine.folder / "seen").read_text()
    holding = {path for path, content in tree(machine.folder).items() if CANARY.encode() in content}
    assert holding == {"config/runtime.env"}
    assert not [name for name in b2.files() if name.endswith("runtime.env")]


def test_records_in_a_data_base_are_refused(rent, vast):
    machine = rent()
    assert machine.run("--persistence-backend", "db") == 1
    assert "--persistence-backend" in machine.output() and not started(machine)


def test_a_look_at_the_machine_does_not_end_it(rent, vast):
    machine = rent()
    snakefile = machine.folder / "Snakefile"
    snakefile.write_text(snakefile.read_text() + "\nrule preflight:\n    shell: 'true'\n")
    assert machine.run("preflight") == 0
    assert vast.status_of(7) == "running" and not machine.guard()


def test_a_job_fails(rent, b2, vast):
    machine = rent()
    (machine.folder.parent / "journal.fail-2").touch()
    assert machine.run() == 1
    assert SAVED in machine.output() and is_stopped(vast)
    assert jobs_in_bucket(b2) == ALL_JOBS - {"make/2", "use/2", "sum"}


def test_snakemake_is_killed(rent, b2, vast):
    machine = rent(environment={"TEST_SLEEP_S": "0.6"})
    snakemake = machine.start()
    wait_until(lambda: len(started(machine)) >= 5)
    jobs = psutil.Process(snakemake.pid).children(recursive=True)
    snakemake.kill()
    wait_until(lambda: is_stopped(vast))
    wait_until(lambda: machine.guard() is None)
    saved = jobs_in_bucket(b2)
    assert 2 <= len(saved) < len(ALL_JOBS)
    for job in jobs:
        if job.is_running() and job.status() != psutil.STATUS_ZOMBIE:
            job.kill()
    other = rent("two", instance=8)
    assert other.script("restore").returncode == 0
    assert names(other.planned()) == ALL_JOBS - saved


def test_the_guard_is_killed_and_replaced(rent, b2, vast):
    machine = rent(environment={"TEST_SLEEP_S": "1"})
    snakemake = machine.start()
    first = wait_until(machine.guard)
    wait_until(lambda: started(machine))
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: machine.guard() not in (None, first))
    assert snakemake.wait() == 0, machine.output()
    assert "The guard is gone; starting another one." in machine.output()
    assert SAVED in machine.output() and is_stopped(vast)
    assert jobs_in_bucket(b2) == ALL_JOBS


def test_everything_is_killed_and_the_last_resort_finishes(rent, b2, vast):
    machine = rent(environment={"TEST_SLEEP_S": "0.5"})
    machine.start()
    wait_until(lambda: len(started(machine)) >= 4)
    machine.signal(signal.SIGKILL)
    assert not is_stopped(vast)
    done = machine.script("finish", "--status", "137")
    assert done.returncode == 3 and SAVED in done.stdout, done.stderr  # ended, and the work is not done
    assert is_stopped(vast)
    assert jobs_in_bucket(b2)


def test_nothing_to_do_still_ends_the_machine(rent, b2, vast):
    assert rent().run() == 0
    other = rent("two", instance=8)
    before = started(other)
    assert other.run() == 0 and "Nothing to be done" in other.output()
    assert started(other) == before
    assert other.script("finish").returncode == 0
    assert is_stopped(vast, 8)


def test_the_bucket_is_down_for_a_while(rent, b2, vast, held):
    machine = rent()
    with held(3):
        snakemake = machine.start()
        wait_until(lambda: started(machine))
        b2.faults.down = True
        wait_until(lambda: "The copy failed 2 times" in machine.guard_log())
        assert snakemake.poll() is None
        b2.faults.down = False
    assert snakemake.wait() == 0, machine.output()
    assert SAVED in machine.output() and is_stopped(vast)
    assert jobs_in_bucket(b2) == ALL_JOBS


def test_the_bucket_is_down_at_the_end(rent, b2, vast):
    machine = rent(environment={"TEST_SLEEP_S": "0.4"}, cloud={"shutdown": "destroy"})
    snakemake = machine.start()
    wait_until(lambda: started(machine))
    b2.faults.down = True
    assert snakemake.wait() == 1
    assert "Results saved: NO" in machine.output()
    assert "Machine ended: yes (stopped, its disk is kept and billed)" in machine.output()
    assert is_stopped(vast) and not vast.count("DELETE")
    b2.faults.down = False
    assert machine.script("finish").returncode == 0
    assert vast.status_of(7) is None
    assert jobs_in_bucket(b2) == ALL_JOBS


def test_destroyed_only_after_a_verified_copy(rent, b2, vast):
    machine = rent(cloud={"shutdown": "destroy"})
    assert machine.run() == 0
    assert vast.status_of(7) is None
    assert jobs_in_bucket(b2) == ALL_JOBS


def test_a_key_that_may_not_delete_is_enough(rent, b2, vast):
    assert "deleteFiles" not in READ_WRITE
    machine = rent()
    assert machine.run() == 0
    (machine.folder / "results/used/1.txt").unlink()
    vast.add_instance(7)
    assert machine.run("--forcerun", "sum") == 0
    assert jobs_in_bucket(b2) == ALL_JOBS


def test_a_wrong_key_starts_nothing(rent, b2, vast):
    machine = rent(environment={"B2_APPLICATION_KEY": "canary-wrong-key"})
    assert machine.run() == 1
    assert "B2_APPLICATION_KEY" in machine.output() and "canary" not in machine.output()
    assert not started(machine)
    # onstart.sh calls this from its exit trap.
    done = machine.script("finish", "--status", "1")
    assert done.returncode == 3 and "Results saved: NO" in done.stdout  # ended all the same
    assert is_stopped(vast)


def test_a_key_that_is_withdrawn_while_the_run_goes_on(rent, b2, vast):
    machine = rent(environment={"TEST_SLEEP_S": "0.5"})
    snakemake = machine.start()
    wait_until(lambda: jobs_in_bucket(b2))
    b2.set_secret("another")
    assert snakemake.wait() == 1
    assert "Results saved: NO" in machine.output() and "what the key may do" in machine.output()
    assert is_stopped(vast)


def test_uploads_are_corrupted(rent, b2, vast):
    machine = rent(environment={"TEST_SLEEP_S": "0.3"})
    snakemake = machine.start()
    wait_until(lambda: started(machine))
    b2.faults.corrupt_stored = 1  # one that is refused on the way would have rclone send all others again
    assert snakemake.wait() == 0, machine.output()
    assert "Not equal in the bucket, copying again" in machine.guard_log()
    here = tree(machine.folder)
    assert {name: content for name, (content, _) in b2.files().items()} == {
        name: here[name.removeprefix("blueprint/test/")] for name in b2.files()
    }
    assert is_stopped(vast)


@pytest.mark.parametrize("seconds", [4, pytest.param(120, marks=pytest.mark.slow)])
def test_vasts_api_is_down_for_a_while(rent, b2, vast, seconds):
    machine = rent(environment={"TEST_SLEEP_S": "0.3"}, cloud={"vast": {"patience_s": 3 * seconds}})
    snakemake = machine.start()
    wait_until(lambda: started(machine))
    vast.down_for(seconds)
    assert snakemake.wait() == 0, machine.output()
    assert is_stopped(vast)


def test_vasts_api_stays_down(rent, b2, vast):
    machine = rent(environment={"TEST_SLEEP_S": "0.3"})
    snakemake = machine.start()
    wait_until(lambda: started(machine))
    vast.down_for(600)
    assert snakemake.wait() == 1
    assert "COSTS MONEY" in machine.output()
    assert jobs_in_bucket(b2) == ALL_JOBS


def test_a_stop_is_accepted_and_never_happens(rent, b2, vast):
    vast.ignored_states.add("stopped")
    machine = rent()
    assert machine.run() == 1
    assert "COSTS MONEY" in machine.output()
    assert jobs_in_bucket(b2) == ALL_JOBS
    vast.ignored_states.clear()
    assert machine.script("finish").returncode == 0
    assert is_stopped(vast)


def test_two_runs_share_one_guard(rent, b2, vast, held):
    machine = rent()
    with held(1):
        with held(0):
            first = machine.start("results/used/0.txt")
            guard = wait_until(machine.guard)
            second = machine.start("results/used/1.txt")
            wait_until(lambda: {"make/0", "make/1"} <= set(started(machine)))
        assert first.wait() == 0, machine.output()
        assert "the guard goes on with it" in machine.output()
        assert machine.guard() == guard and not is_stopped(vast)
    assert second.wait() == 0, machine.output()
    assert machine.output().count(f"The guard is process {guard};") == 2
    assert is_stopped(vast)
    assert jobs_in_bucket(b2) == {"make/0", "make/1", "use/0", "use/1"}


def test_a_second_run_of_the_same_jobs_is_refused_and_harms_nothing(rent, b2, vast, held):
    machine = rent()
    with held(0):
        first = machine.start()
        wait_until(lambda: started(machine))
        assert machine.run() == 1
        assert "cannot be locked" in machine.output()
        assert not is_stopped(vast)
    assert first.wait() == 0, machine.output()
    assert jobs_in_bucket(b2) == ALL_JOBS and is_stopped(vast)


@pytest.fixture
def small_disk(tmp_path):
    """A file system that the host checks accept, barely."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1100m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"mounting a tmpfs needs root: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_the_disk_is_full(rent, b2, vast, small_disk, held):
    machine = rent("small/one")
    with held(3):
        snakemake = machine.start()
        wait_until(lambda: len(jobs_in_bucket(b2)) >= 2)
        saved = jobs_in_bucket(b2)
        with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
            size = psutil.disk_usage(str(small_disk)).free - 1_000_000
            os.posix_fallocate(filler.fileno(), 0, size)
            filler.seek(size)
            while filler.write(b"x" * 4096):
                pass
    assert snakemake.wait() == 1
    wait_until(lambda: is_stopped(vast))
    assert saved <= jobs_in_bucket(b2)
    (small_disk / "filler").unlink()
    other = rent("two", instance=8)
    assert other.script("restore").returncode == 0
    assert names(other.planned()) == ALL_JOBS - jobs_in_bucket(b2)


def test_terminal_signals_do_not_reach_the_guard(rent, b2, vast):
    machine = rent(environment={"TEST_SLEEP_S": "1"})
    snakemake = machine.start()
    wait_until(lambda: started(machine))
    os.killpg(snakemake.pid, signal.SIGINT)
    assert snakemake.wait() != 0
    wait_until(lambda: is_stopped(vast))
    wait_until(lambda: machine.guard() is None)
