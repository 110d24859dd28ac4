"""Faults in which something hangs, lies or is lost instead of dying: the machine is ended all the same, and it is told.

Each test of a fault is a row of the table in profiles/vast/README.md. They take ten seconds and more each, so that all
but the first are slow ones.
"""

import json
import os
import signal

import psutil
import pytest

from cloud_runs import (
    ALL_JOBS,
    GOOD,
    NOT_DONE,
    SAVED,
    Listener,
    finished_jobs,
    jobs_in_bucket,
    started,
    tree,
    wait_until,
)


def account_of(b2, instance):
    """What the machines of an instance cost, by the accounts in the bucket."""
    accounts = {
        name: json.loads(content) for name, (content, _) in b2.files().items() if f"/ledger/{instance}-" in name
    }
    return sum(account["cost_usd"] for account in accounts.values())


def agrees(b2, vast, machine, seconds=1.0):
    """Whether the ledger is within 2 % of the service's bill, and the seconds that a loaded test machine takes."""
    rate = vast.billed[machine.instance][1]
    bill = vast.bill_usd(machine.instance)
    return abs(account_of(b2, machine.instance) - bill) <= 0.02 * bill + seconds / 3600 * rate


@pytest.mark.fault("the guard hangs", "Snakemake sees that its pulse stands still, ends it and starts another")
def test_the_guard_hangs(rent, b2, vast, outcome):
    machine = rent(environment={"TEST_SLEEP_S": "3"}, cloud={"guard_silent_s": 2})
    snakemake = machine.start()
    first = wait_until(machine.guard)
    wait_until(lambda: started(machine))
    os.kill(first, signal.SIGSTOP)
    outcome.begin()
    assert snakemake.wait() == 0, machine.output()
    assert not psutil.pid_exists(first) and "has no pulse" in machine.output()
    assert jobs_in_bucket(b2) == ALL_JOBS
    outcome(machine, "by the second guard, after the run", GOOD)
    assert agrees(b2, vast, machine)


@pytest.mark.slow
@pytest.mark.fault(
    "the guard hangs in the final copy", "Snakemake, which waits for it, replaces it; the copy starts again"
)
def test_the_guard_hangs_in_the_final_copy(rent, b2, vast, outcome):
    machine = rent(cloud={"guard_silent_s": 2})
    b2.faults.bytes_per_s = 2000
    snakemake = machine.start()
    wait_until(lambda: "finishing" in machine.guard_log())
    os.kill(machine.guard(), signal.SIGSTOP)
    b2.faults.bytes_per_s = 0
    outcome.begin()
    assert snakemake.wait() == 0, machine.output()
    outcome(machine, "by the second guard", GOOD)


@pytest.mark.slow
@pytest.mark.fault("the guard hangs, Snakemake is killed", "the last step of onstart.sh replaces the guard")
def test_the_guard_hangs_and_snakemake_is_killed(rent, b2, outcome):
    machine = rent(environment={"TEST_SLEEP_S": "30"}, cloud={"guard_silent_s": 2})
    snakemake = machine.start()
    wait_until(lambda: started(machine))
    os.kill(machine.guard(), signal.SIGSTOP)
    snakemake.kill()
    outcome.begin()
    done = machine.script("finish", "--status", "137")
    assert done.returncode == 3  # ended, and the work is not done
    outcome(machine, "by onstart.sh", NOT_DONE, output=done.stdout)


@pytest.mark.slow
@pytest.mark.fault("Snakemake hangs", "the guard sees that its pulse stands still, ends it and its jobs")
def test_snakemake_hangs(rent, b2, outcome):
    machine = rent(environment={"TEST_SLEEP_S": "60"}, cloud={"guard_silent_s": 3})
    snakemake = machine.start()
    wait_until(lambda: started(machine))
    os.kill(snakemake.pid, signal.SIGSTOP)
    outcome.begin()
    wait_until(lambda: "ended:" in machine.guard_log())
    assert "has no pulse: it is ended with its jobs" in machine.guard_log()
    outcome(machine, "by the guard", NOT_DONE)


@pytest.mark.slow
@pytest.mark.fault("a job hangs (no budget is set)", "it is ended after its limit; the others go on")
def test_a_job_hangs(rent, b2, outcome, held):
    machine = rent(cloud={"job_hours": 4 / 3600})
    with held(2):
        snakemake = machine.start()
        wait_until(lambda: started(machine))
        outcome.begin()
        assert snakemake.wait() == 1
    assert "a job is ended after" in machine.guard_log()
    assert {"make/0", "make/1", "make/3"} <= jobs_in_bucket(b2)
    outcome(machine, "by the guard, after the rest of the run", NOT_DONE)


@pytest.mark.slow
@pytest.mark.fault("setting up hangs", "the guard ends the run after `setup_hours`")
def test_planning_hangs(rent, outcome):
    machine = rent(cloud={"setup_hours": 3 / 3600})
    snakefile = machine.folder / "Snakefile"
    snakefile.write_text(
        snakefile.read_text() + "\nif workflow.is_main_process:\n    import time\n    time.sleep(600)\n"
    )
    machine.start()
    outcome.begin()
    wait_until(lambda: "ended:" in machine.guard_log())
    assert "is not set up after" in machine.guard_log() and not started(machine)
    outcome(machine, "by the guard", NOT_DONE)


@pytest.mark.slow
@pytest.mark.fault("Snakemake does nothing any more", "the guard ends a run without a job for 15 minutes")
def test_a_run_without_jobs_hangs(rent, outcome):
    machine = rent(environment={"BLUEPRINT_IDLE_S": "3"})
    snakefile = machine.folder / "Snakefile"
    hook = "\nbefore = workflow._onstart\n\nonstart:\n    before(log)\n    import time\n    time.sleep(600)\n"
    snakefile.write_text(snakefile.read_text() + hook)
    machine.start()
    outcome.begin()
    wait_until(lambda: "ended:" in machine.guard_log())
    assert "has run no job for 3 s" in machine.guard_log()
    outcome(machine, "by the guard", NOT_DONE)


@pytest.mark.slow
@pytest.mark.fault(
    "B2 accepts connections and never answers, for a while", "rclone is ended after `call_s`; a fresh one copies"
)
def test_the_bucket_hangs(rent, b2, vast, outcome, held):
    machine = rent(cloud={"call_s": 2})
    with held(3):
        snakemake = machine.start()
        wait_until(lambda: len(jobs_in_bucket(b2)) >= 2)
        b2.faults.hang = True
        outcome.begin()
        (machine.folder / "logs/more.log").write_text("news")
        wait_until(lambda: "no end after" in machine.guard_log())
        b2.faults.hang = False
    assert snakemake.wait() == 0, machine.output()
    assert jobs_in_bucket(b2) == ALL_JOBS
    outcome(machine, "by itself, after the run", GOOD)


@pytest.mark.slow
@pytest.mark.fault("B2 never answers again", "the final copy is given up after `final_copy_s`; stopped, not destroyed")
def test_the_bucket_hangs_for_ever(rent, b2, vast, outcome):
    cloud = {"call_s": 2, "final_copy_s": 6, "shutdown": "destroy"}
    machine = rent(environment={"TEST_SLEEP_S": "0.6"}, cloud=cloud)
    snakemake = machine.start()
    wait_until(lambda: len(started(machine)) > 2)
    b2.faults.hang = True
    outcome.begin()
    assert snakemake.wait() == 1
    assert vast.status_of(7) == "exited" and not vast.count("DELETE")
    lost = len(finished_jobs(set(tree(machine.folder))) - jobs_in_bucket(b2))
    told = r"Results saved: NO .*Machine ended: yes \(stopped, its disk is kept and billed\)"
    outcome(machine, "by itself; the disk has what is not saved", told, lost=lost)


@pytest.mark.slow
@pytest.mark.fault("B2 is slow in the final copy", "it is counted in the cost, and given up after `final_copy_s`")
def test_the_final_copy_is_slow(rent, b2, vast, outcome):
    machine = rent(cloud={"final_copy_s": 5, "call_s": 30, "rate_usd_per_h": 2.0})
    snakefile = machine.folder / "Snakefile"
    big = "head -c 300000 /dev/urandom > {output[0]}; sleep {SLEEP_S};"
    snakefile.write_text(snakefile.read_text().replace("{{ echo {wildcards.i} > {output[0]};", "{{ " + big))
    b2.faults.bytes_per_s = 10_000
    assert machine.run() == 1
    outcome.begin()
    b2.faults.bytes_per_s = 0
    lost = len(finished_jobs(set(tree(machine.folder))) - jobs_in_bucket(b2))
    outcome(machine, "by itself; the disk has what is not saved", "The final copy was given up", lost=lost)
    assert agrees(b2, vast, machine, seconds=3)


@pytest.mark.slow
@pytest.mark.fault("the B2 key is revoked during a copy", "the refusal is told; stopped, not destroyed")
def test_the_key_is_revoked_during_a_copy(rent, b2, outcome):
    machine = rent(environment={"TEST_SLEEP_S": "0.5"}, cloud={"call_s": 3})
    snakemake = machine.start()
    wait_until(lambda: jobs_in_bucket(b2))
    b2.faults.bytes_per_s = 3000
    b2.set_secret("another")
    outcome.begin()
    assert snakemake.wait() == 1
    lost = len(finished_jobs(set(tree(machine.folder))) - jobs_in_bucket(b2))
    outcome(machine, "by itself; the disk has what is not saved", "what the key may do", lost=lost)


@pytest.mark.slow
@pytest.mark.fault("a new guard is killed at once", "another one is started")
def test_the_guard_is_killed_at_its_start(rent, b2, outcome):
    machine = rent()
    snakemake = machine.start()
    outcome.begin()
    first = wait_until(machine.guard, timeout_s=120)
    os.kill(first, signal.SIGKILL)
    assert snakemake.wait() == 0, machine.output()
    assert jobs_in_bucket(b2) == ALL_JOBS
    outcome(machine, "by the second guard, after the run", GOOD)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            "wrong", marks=pytest.mark.fault("a target that does not exist", "Snakemake says so; nothing runs")
        ),
        pytest.param(
            "checks", marks=pytest.mark.fault("a host check fails", "the table names the remedy; nothing runs")
        ),
        pytest.param("nothing", marks=pytest.mark.fault("there is nothing to do", "Snakemake says so")),
    ],
)
def test_a_plain_run_that_starts_no_job_ends_the_machine(rent, b2, outcome, name):
    machine = rent()
    if name == "nothing":
        assert machine.run() == 0
        machine = rent("two", instance=8)
    if name == "checks":
        machine.environment["B2_APPLICATION_KEY_ID"] = ""
    before = started(machine)
    status = machine.run(*(["no/such/target"] if name == "wrong" else []))
    outcome.begin()
    assert started(machine) == before
    assert status == (0 if name == "nothing" else 1), machine.output()
    told = {"nothing": GOOD, "wrong": NOT_DONE, "checks": r"Work finished: NO. Results saved: NO .*Machine ended: yes"}
    outcome(machine, "by itself", told[name])


@pytest.mark.slow
@pytest.mark.fault(
    "Vast knows no such instance",
    "the last line says that it still costs money; exit status 1",
    ends="NOT, or it is another one",
    tells="the last line",
)
def test_an_unknown_instance_is_not_taken_for_ended(rent, b2, vast):
    machine = rent()
    assert machine.run() == 0
    del vast.instances[7]
    (machine.folder / "results/.cloud/guard.json").unlink()
    done = machine.script("finish")
    assert done.returncode == 1 and "Machine ended: NO, IT STILL COSTS MONEY" in done.stdout
    assert "knows no instance 7" in done.stdout


@pytest.mark.slow
def test_a_file_with_401_in_its_name_is_no_refused_key(rent, b2):
    machine = rent(environment={"TEST_SLEEP_S": "0.5"})
    (machine.folder / "results/401").mkdir(parents=True)
    (machine.folder / "results/401/unauthorized.txt").write_text("x")
    snakemake = machine.start()
    wait_until(lambda: started(machine))
    b2.faults.fail_next, b2.faults.status = 12, 500
    assert snakemake.wait() == 0, machine.output()
    assert SAVED in machine.output()


@pytest.mark.slow
def test_jobs_have_no_secret_in_their_environment(rent, b2):
    machine = rent(environment={"HF_TOKEN": "canary-hf", "GIT_TOKEN": "canary-git", "NOTIFY_URLS": "json://canary"})
    snakefile = machine.folder / "Snakefile"
    program = machine.folder / "took.py"
    program.write_text(
        "import os\nfrom blueprint import secret\nsecret.take('HF_TOKEN')\nprint(os.environ['HF_TOKEN'])\n"
    )
    job = "env > seen; PYTHONPATH=$BLUEPRINT_SCRIPTS python took.py > took; "
    snakefile.write_text(snakefile.read_text().replace('shell:\n        "', f'shell:\n        "{job}'))
    snakemake = machine.start()
    guard = wait_until(machine.guard)
    with psutil.Process(guard).oneshot():
        given = psutil.Process(guard).environ()
    assert snakemake.wait() == 0, machine.output()
    seen = (machine.folder / "seen").read_text()
    assert "TEST_JOURNAL" in seen and "canary" not in seen
    assert (machine.folder / "took").read_text() == "canary-hf\n"
    assert "HF_TOKEN" not in given and "GIT_TOKEN" not in given and "B2_APPLICATION_KEY" in given


@pytest.mark.slow
def test_people_are_told_of_start_and_end(rent):
    with Listener() as listener:
        machine = rent(environment={"NOTIFY_URLS": listener.address}, cloud={"notify": ["start", "end", "failure"]})
        assert machine.run() == 0, machine.output()
        start, end = wait_until(lambda: len(listener.heard) == 2 and listener.heard)
    assert start.startswith("Run test: start") and "instance 7" in start
    assert end.startswith("Run test: end") and "Work finished: yes" in end
    assert listener.address not in machine.output() + machine.guard_log()
