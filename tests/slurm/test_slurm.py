"""Runs on a real Slurm of two virtual nodes, with the profile as a user would fill it in."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from blueprint.engines import ENGINES
from cloud_runs import wait_until
from same_results import differences
from slurm_cluster import MEMORY_MB, Cluster, why_not
from small_runs import small_config
from workflow_runs import REPOSITORY, clean_environment, write_config

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "")
JOBS_OF_A_CLIP = {"frames", "enrich", "scores", "diversity"}
QUICK = ("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def profile(folder: Path, **changes: str) -> Path:
    """The profile of the repository with the account, partition and sizes of these tests."""
    text = (REPOSITORY / "profiles" / "slurm" / "config.yaml").read_text()
    filled = {
        "slurm_account=change-me": "slurm_account=test",
        "slurm_partition=change-me": "slurm_partition=main",
        r"mem_mb=\d+ \*": "mem_mb=1500 *",
        "latency-wait: 60": "latency-wait: 5",
        **changes,
    }
    for pattern, value in filled.items():
        text, count = re.subn(pattern, value, text)
        assert count, f"{pattern} is not in the profile"
    folder.mkdir()
    (folder / "config.yaml").write_text(text)
    return folder


def command(folder: Path, snakefile: Path, used: Path, *arguments: str) -> list[str]:
    """The command line of a run on the cluster, as an operator types it, but for how often it asks."""
    workflow = ("-m", "snakemake", "--snakefile", str(snakefile), "--directory", str(folder), "--profile", str(used))
    return [sys.executable, *workflow, *QUICK, "--slurm-status-command", "squeue", *arguments]


def test_two_nodes_make_what_one_machine_makes_with_few_jobs(cluster, finished_run, tmp_path):
    """The same results as without Slurm; a clip is four jobs, each with the memory and time of the profile."""
    run = tmp_path / "run"
    run.mkdir()
    before = {job["JobId"] for job in cluster.jobs()}
    config = write_config(run, small_config())
    done = subprocess.run(
        command(run, REPOSITORY / "Snakefile", profile(tmp_path / "profile"), "--configfile", str(config)),
        cwd=run,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert differences(finished_run / "results", run / "results") == []
    jobs = [job for job in cluster.jobs() if job["JobId"] not in before]
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    assert {job["NodeList"] for job in jobs} == {"node1", "node2"}
    of_clips = [job for job in jobs if any(job["Comment"].startswith(f"rule_{name}") for name in JOBS_OF_A_CLIP)]
    assert len(of_clips) == len(JOBS_OF_A_CLIP) * len(small_config()["clips"])
    asked = {(job["Comment"].startswith("rule_enrich"), re.search(r"mem=(\w+)", job["TRES"])[1]) for job in jobs}
    assert asked == {(False, "1500M"), (True, f"{1000 * ENGINES['photometric'].ram_gb:.0f}M")}
    enrich = next(job for job in jobs if job["Comment"].startswith("rule_enrich"))
    assert enrich["TimeLimit"] == "01:00:00", "the estimate is seconds: an hour, at least"


JOBS = ["quick", "memory", "time", "cancelled", "node", "restart"]
FAULTS = """
rule all:
    input: expand("done/{job}", job={jobs})

rule work:
    input: "done/restart"
    output: "done/{job,time}"
    shell: "python {folder}/work.py {wildcards.job} {output} {resources.mem_mb} {resources.runtime}"

use rule work as patient with:
    output: "done/{job,memory|cancelled}"
    resources: runtime=10

use rule patient as first with:
    input: []
    output: "done/{job,quick|node|restart}"
"""
WORK = """
import os, sys, time
job, output, memory_mb, minutes = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
note = lambda what: print(job, what, os.environ["SLURMD_NODENAME"], file=open("journal", "a"), flush=True)
note("began")
while job != "time" and not os.path.exists(f"let-{job}"):
    time.sleep(0.2)
if job == "memory":
    held = bytearray(os.urandom(1 << 20)) * 1000  # MB; the first attempt may have 800
    time.sleep(600 if memory_mb == 800 else 1)
elif job == "time":
    time.sleep(600 if minutes == 1 else 1)
open(output, "w").write(job)
note("ended")
"""


class Journal:
    """What jobs wrote down themselves, across attempts."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def count(self, job: str, what: str) -> int:
        """How often a job began or ended."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return sum(line.startswith(f"{job} {what} ") for line in lines)

    def node(self, job: str) -> str:
        """The node that a job began on last."""
        return next(line for line in reversed(self.path.read_text().splitlines()) if line.startswith(job)).split()[2]


def job_states(cluster: Cluster) -> set[tuple[str, str]]:
    """Every state that the attempts of each job are in."""
    jobs = [job for job in cluster.jobs() if re.match("rule_(work|patient|first)", job["Comment"])]
    return {(job["Comment"].rpartition("_")[2], job["JobState"]) for job in jobs}


def test_every_fault_of_a_cluster_ends_well(cluster, tmp_path):
    """Too much memory or time, `scancel`, a node that dies, a controller that restarts: all finish, none twice."""
    run, journal = tmp_path / "run", Journal(tmp_path / "run" / "journal")
    run.mkdir()
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "Snakefile").write_text(FAULTS.replace("{folder}", str(tmp_path)).replace("{jobs}", str(JOBS)))
    smaller = {r"mem_mb=\d+ \*": "mem_mb=800 *", r"- runtime=60 \*": "- runtime=1 *"}
    arguments = command(run, tmp_path / "Snakefile", profile(tmp_path / "profile", **smaller))
    assert 2 * MEMORY_MB >= 6 * 2 * 800, "all may run at once"
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(arguments, cwd=run, env=clean_environment(), stdout=log, stderr=log)
    try:
        # A fault at a time, and none within a second of another job's beginning or end: a controller that dies forgets
        # what it had not yet written down, steps to be ended for want of memory among it.
        wait_until(lambda: journal.count("restart", "began") == 1)
        cluster.kill("slurmctld")
        (run / "let-restart").touch()
        wait_until(lambda: journal.count("restart", "ended") == 1)
        cluster.start("slurmctld", "-D")
        wait_until(lambda: journal.count("cancelled", "began") == 1)
        cancelled = next(job for job in cluster.jobs() if "cancelled" in job["Comment"])
        subprocess.run(["scancel", cancelled["JobId"]], check=True)
        (run / "let-quick").touch()
        (run / "let-memory").touch()
        wait_until(lambda: journal.count("cancelled", "began") == 2)
        (run / "let-cancelled").touch()
        others = {(job, "COMPLETED") for job in JOBS if job != "node"}
        wait_until(lambda: others <= job_states(cluster), 240)
        lost = journal.node("node")
        cluster.kill(lost)
        (run / "let-node").touch()
        wait_until(lambda: cluster.states().get(lost) == "down*")
        cluster.start_node(lost)
        process.wait(240)
    finally:
        process.kill()
    said = (tmp_path / "log").read_text()
    assert process.returncode == 0, said[-4000:]
    assert "exceeded memory limit" in said
    ended = {job: journal.count(job, "ended") for job in JOBS}
    assert ended == dict.fromkeys(ended, 1), "each was finished once"
    began = {job: journal.count(job, "began") for job in ended}
    assert all(began[job] >= 2 for job in ("memory", "time", "cancelled", "node")), began
    assert began["quick"] == began["restart"] == 1, "a controller that restarts loses no job"
    states = job_states(cluster)
    assert ("time", "TIMEOUT") in states and {job for job, state in states if state == "COMPLETED"} == set(JOBS)
