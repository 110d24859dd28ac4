"""Machines are taken away at random moments: what was safe stays safe, and is never made again."""

import os
import statistics
import time
from signal import SIGSTOP

import pytest
import yaml

from blueprint.cloud.sync import has_own_record, incomplete_outputs
from cloud_runs import (
    VAST_KEY,
    DemoMachine,
    Machine,
    commit,
    finished_jobs,
    jobs_in_bucket,
    names,
    seeded,
    tree,
    wait_until,
)
from loopback_b2 import LoopbackB2
from loopback_vast import LoopbackVast
from same_results import differences, visible_files
from small_runs import small_config
from workflow_runs import REPOSITORY, write_config

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
            assert names(machine.planned()) == ALL_JOBS - saved
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


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
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


def demo_config():
    config = small_config()
    return {**config, "clips": config["clips"][:1], "render": {**config["render"], "frames": 3}}


@pytest.mark.slow
def test_the_demo_survives_two_machines(services, tmp_path, capsys):
    b2, vast = services
    random, journal = seeded("demo"), tmp_path / "journal"
    b2.set_secret("canary-b2-secret")
    config = str(write_config(tmp_path, demo_config()))
    origin = tmp_path / "origin"
    commit(origin)
    options = {"origin": origin, "cloud": {"run_id": "undisturbed"}}
    undisturbed = DemoMachine(tmp_path / "undisturbed", b2, vast, journal, 99, **options)
    assert undisturbed.run("--configfile", config) == 0, undisturbed.output()
    again = []
    for number in range(3):
        machine = DemoMachine(tmp_path / f"machine-{number}", b2, vast, journal, number + 1, origin=origin)
        assert machine.script("restore").returncode == 0
        saved = {path for path in visible_files(machine.folder) if has_own_record(machine.folder, str(path))}
        planned = machine.planned("--configfile", config)
        remade = {output for job in planned for output in job.outputs}
        # A job with saved outputs is planned only when what it is made from was lost.
        again += [job for job in planned if job.outputs <= set(map(str, saved)) and not job.inputs & remade]
        assert len(remade | set(map(str, saved))) >= 9
        snakemake = machine.start("--configfile", config)
        if number < 2:
            marks = machine.folder / ".snakemake/metadata"
            finished = random.randint(1, 4) + len(list(marks.glob("*")))
            wait_until(lambda marks=marks, finished=finished: len(list(marks.glob("*"))) >= finished, 300)
            time.sleep(random.uniform(0, 3))
            machine.take_away()
    assert snakemake.wait() == 0, machine.output()
    with capsys.disabled():
        print(f"\ndemo: 2 machines lost, {len(again)} finished jobs planned again, {len(saved)} outputs restored last")
    assert again == []
    assert differences(undisturbed.folder / "results", machine.folder / "results") == []
    assert vast.status_of(3) == "exited"
    for secret in (b"canary-b2-secret", VAST_KEY.encode()):
        assert not [path for path, content in tree(machine.folder).items() if secret in content]


CONDA = """#!/bin/sh
case "$1" in
    info) echo '{{"conda_prefix": "{base}", "root_prefix": "{base}", "platform": "linux-64"}}' ;;
    config) echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
    --version) echo "conda 26.7.0" ;;
    env) while [ "$1" != --prefix ]; do shift; done; eval mkdir -p "$2" ;;
esac
"""


def with_conda(machine, home):
    """Give a machine a conda that makes empty environments, and the profile's own place for them."""
    base = home / "conda"
    (base / "bin").mkdir(parents=True, exist_ok=True)
    (base / "bin/conda").write_text(CONDA.format(base=base))
    (base / "bin/conda").chmod(0o755)
    (base / "bin/activate").touch()
    real = yaml.safe_load((REPOSITORY / "profiles/vast/config.yaml").read_text())
    profile = {name: real[name] for name in ("software-deployment-method", "conda-prefix", "rerun-incomplete")}
    (machine.folder / "profiles/test/config.yaml").write_text(yaml.safe_dump({**profile, "cores": 2}))
    environment = machine.folder / "environment.yaml"
    environment.write_text("channels: [conda-forge]\ndependencies: [python=3.11.7]\n")
    snakefile = machine.folder / "Snakefile"
    snakefile.write_text(snakefile.read_text().replace("    shell:", '    conda: "environment.yaml"\n    shell:'))
    machine.environment |= {"HOME": str(home), "PATH": f"{base / 'bin'}:{os.environ['PATH']}"}


def test_environments_of_another_checkout_are_the_same(services, tmp_path):
    b2, vast = services
    machine = Machine(tmp_path / "one", b2, vast, tmp_path / "journal")
    with_conda(machine, tmp_path)
    assert machine.run() == 0, machine.output()
    assert list((tmp_path / ".cache/blueprint/conda").iterdir())
    other = Machine(tmp_path / "somewhere/else", b2, vast, tmp_path / "journal", 8)
    with_conda(other, tmp_path)
    assert other.script("restore").returncode == 0
    assert other.planned() == []
    # Without a place that all checkouts share, Snakemake takes the software for changed.
    assert other.planned("--conda-prefix", "here")
