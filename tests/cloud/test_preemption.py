"""Machines are taken away at random moments: what was safe stays safe, and is never made again."""

import statistics
import time
from signal import SIGSTOP

import pytest

from blueprint.cloud.sync import incomplete_outputs
from cloud_runs import (
    VAST_KEY,
    Machine,
    finished_jobs,
    jobs_in_bucket,
    seeded,
    tree,
    wait_until,
)
from loopback_b2 import LoopbackB2
from loopback_vast import LoopbackVast

JOBS = 10
ALL_JOBS = {"sum", *(f"{rule}/{i}" for rule in ("make", "use") for i in range(JOBS))}
VARIABLES = {"TEST_JOBS": str(JOBS), "TEST_SLEEP_S": "0.3"}


@pytest.fixture
def services():
    with LoopbackB2() as b2, LoopbackVast(VAST_KEY) as vast:
        yield b2, vast


def started(journal):
    return journal.read_text().split() if journal.exists() else []


def wait_for_jobs(snakemake, journal, count):
    """Until more than ``count`` jobs were ever started, or Snakemake has ended."""
    wait_until(lambda: len(started(journal)) > count or snakemake.poll() is not None)


def kill_and_resume(services, tmp_path, seed, kills):
    """Lose ``kills`` machines one after the other, finish on the last; returns what there is to tell."""
    b2, vast = services
    random, journal = seeded(seed), tmp_path / "journal"
    rerun, lost, restarts_s = [], 0, []
    for number in range(kills + 1):
        saved, before = jobs_in_bucket(b2), len(started(journal))
        machine = Machine(tmp_path / f"machine-{number}", b2, vast, journal, number + 1, environment=VARIABLES)
        if saved and random.random() < 0.5:  # as onstart.sh does; otherwise Snakemake itself restores
            assert machine.script("restore").returncode == 0
            assert machine.planned() == ALL_JOBS - saved
        begin = time.monotonic()
        snakemake = machine.start()
        if saved != ALL_JOBS:
            wait_for_jobs(snakemake, journal, before)
            restarts_s.append(time.monotonic() - begin)
        if number < kills:
            wait_for_jobs(snakemake, journal, before + random.randint(0, 5))
            time.sleep(random.uniform(0, 0.8))
            machine.signal(SIGSTOP)  # nothing changes while the test looks
            incomplete = incomplete_outputs(machine.folder)
            here = finished_jobs({path for path in tree(machine.folder) if path not in incomplete})
            machine.take_away()
            lost += len(here - jobs_in_bucket(b2))
        else:
            assert snakemake.wait() == 0, machine.output()
        rerun += [job for job in started(journal)[before:] if job in saved]
    assert jobs_in_bucket(b2) == ALL_JOBS
    results = {path: content for path, content in tree(machine.folder / "results").items() if path[0] != "."}
    assert results["sum.txt"] == b"".join(b"%d\n{{}}\n" % i for i in range(JOBS))
    assert set(results) == {
        "sum.txt",
        *(f"made/{i}.{kind}" for i in range(JOBS) for kind in ("txt", "json")),
        *(f"used/{i}.txt" for i in range(JOBS)),
    }
    return rerun, lost, restarts_s


def tell(capsys, seed, kills, rerun, lost, restarts_s):
    with capsys.disabled():
        print(
            f"\nseed {seed}: {kills} machines lost, {len(rerun)} finished jobs made again, {lost} finished in the last "
            f"seconds before and not yet copied; first job after {statistics.median(restarts_s):.1f} s "
            f"(median, longest {max(restarts_s):.1f} s)"
        )


@pytest.mark.parametrize("seed", range(4))
def test_five_machines_are_taken_away(services, tmp_path, capsys, seed):
    rerun, lost, restarts_s = kill_and_resume(services, tmp_path, seed, kills=5)
    tell(capsys, seed, 5, rerun, lost, restarts_s)
    assert rerun == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 110))
def test_ten_machines_are_taken_away(services, tmp_path, capsys, seed):
    rerun, lost, restarts_s = kill_and_resume(services, tmp_path, seed, kills=10)
    tell(capsys, seed, 10, rerun, lost, restarts_s)
    assert rerun == []
