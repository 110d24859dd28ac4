"""Several machines on one run: nobody makes what another holds, the lost are taken over, one ends it all."""

import re
import threading
import time
from collections import Counter
from contextlib import contextmanager
from signal import SIGCONT, SIGSTOP

import pytest

from blueprint.cloud.accounts import Accounts, store_of
from blueprint.cloud.bucket import LEDGER
from blueprint.cloud.ledger import Ledger, is_spent
from blueprint.cloud.share import MERGE, VARIABLE, WAIT, Claims
from cloud_runs import (
    DemoMachine,
    cloud_settings,
    commit,
    record,
    seeded,
    wait_until,
)
from same_results import differences
from small_runs import small_config
from workflow_runs import write_config


def claims(b2, machine, lost_s=3600.0):
    return Claims(store_of(cloud_settings(b2)), "launch", machine, lost_s)


def test_of_machines_that_claim_at_once_one_gets_the_share(b2):
    begin, got = threading.Barrier(6), {}

    def claim(number):
        one = claims(b2, f"{number}-aa")
        begin.wait()
        got[number] = one.take("kitchen/orbit")

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    holding = [number for number in range(6) if claims(b2, f"{number}-aa").holds("kitchen/orbit")]
    assert len(holding) == 1 and got[holding[0]] is not None


def test_a_share_that_is_held_or_over_is_not_given_away(b2):
    one, other = claims(b2, "1-aa"), claims(b2, "2-bb")
    assert one.take("a/b").turn == 0 and one.take("a/b").turn == 0
    assert other.take("a/b") is None
    one.end("a/b")
    assert one.take("a/b") is None and other.take("a/b") is None
    assert other.read()[1] == {"a/b"}


def test_a_lost_machine_s_share_is_taken_over_and_it_notices(b2):
    one, other = claims(b2, "1-aa"), claims(b2, "2-bb", lost_s=60.0)
    b2.store(f"blueprint/test/{one.folder}/a/b/0000/1-aa", b"{}", time.time() - 600)
    assert one.holds("a/b")
    b2.store("blueprint/test/results/.cloud/ledger/1-aa.json", b"{}", time.time() - 5)
    assert other.take("a/b") is None  # its account is young
    b2.store("blueprint/test/results/.cloud/ledger/1-aa.json", b"{}", time.time() - 500)
    assert other.take("a/b").turn == 1
    assert not one.holds("a/b") and other.holds("a/b")


def test_a_machine_that_was_started_again_waits_for_nobody(b2):
    assert claims(b2, "1-aa").take("a/b").turn == 0
    assert claims(b2, "1-cc").take("a/b").turn == 1


def test_a_share_that_another_has_made_is_held_no_more(b2):
    """One that was taken for lost comes back and is done first: who took over need not go on."""
    one, other = claims(b2, "1-aa"), claims(b2, "2-bb", lost_s=-1.0)
    one.take("a/b")
    assert other.take("a/b").turn == 1 and other.holds("a/b")
    one.end("a/b")
    assert not other.holds("a/b")


def test_one_waits_for_those_at_work_and_is_relieved_when_it_works_itself(b2):
    one, two, three = (claims(b2, name) for name in ("1-aa", "2-bb", "3-cc"))
    three.take("a/c")
    assert one.wait() and one.wait(), "it goes on waiting"
    assert not two.wait(), "it may leave: one is there"
    one.take("a/b")
    assert two.wait(), "one works: who would take over from it?"
    one.end("a/b")
    assert not one.wait() and two.wait()


def test_a_lost_machine_waits_for_nobody(b2):
    one, two = claims(b2, "1-aa"), claims(b2, "2-bb", lost_s=60.0)
    b2.store(f"blueprint/test/{one.folder}/{WAIT}/0000/1-aa", b"{}", time.time() - 600)
    assert two.wait()


@pytest.mark.parametrize("seed", range(6))
def test_one_budget_over_all_is_held_within_one_interval(b2, tmp_path, seed):
    """Machines that exchange their accounts, nearly at once or in turn, by a clock of the test; one is lost."""
    random, now = seeded(f"budget {seed}"), [0.0]
    usd_per_s, budget_usd, interval_s = 0.1, 100.0 + 5 * seed, 60.0
    settings = {"interval_s": interval_s, "rate_usd_per_h": usd_per_s * 3600, "max_cost_usd": budget_usd}
    machines = {}
    for number in range(4):
        root = tmp_path / str(number)
        machines[number] = one = Accounts(cloud_settings(b2, instance_id=number, **settings), root)
        one.ledger = Ledger(root / LEDGER, f"{number}-aa", usd_per_s * 3600, clock_s=lambda: now[0])
    apart_s = (1.0, interval_s)[seed % 2]
    next_s = {number: random.uniform(0, apart_s) for number in machines}
    lost, lost_at_s, cost_usd = random.randrange(4), random.uniform(0, 300), 0.0
    while machines:
        now[0] += 1
        if now[0] > lost_at_s:
            machines.pop(lost, None)
        for number, one in list(machines.items()):
            cost_usd += usd_per_s
            one.count()
            if now[0] >= next_s[number]:
                next_s[number] += interval_s
                one.exchange()
            if is_spent(one.total_usd, budget_usd):
                del machines[number]
    assert budget_usd <= cost_usd <= budget_usd + 4 * interval_s * usd_per_s


CLIPS = 6


def shared(folder, b2, vast, journal, number, origin):
    cloud = {"guard_silent_s": 5, "interval_s": 2}
    return DemoMachine(folder, b2, vast, journal, number, cloud, {VARIABLE: "four"}, origin=origin)


@contextmanager
def slow_host(machine):
    """A machine whose every process stands still for half of the time."""
    over = threading.Event()

    def brake():
        while not over.wait(0.3):
            machine.signal(SIGSTOP)
            over.wait(0.3)
            machine.signal(SIGCONT)

    thread = threading.Thread(target=brake)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def begun(output):
    """(files made, files read) of each job that Snakemake says it has begun."""
    jobs = []
    for body in re.findall(r"^(?:local)?rule \w+:\n((?:    .*\n)+)", output, re.MULTILINE):
        given = {key: set(files.split(", ")) for key, files in re.findall(r"^    (input|output): (.*)$", body, re.M)}
        if "output" in given:
            jobs.append((frozenset(given["output"]), given.get("input", set())))
    return jobs


def in_bucket(b2):
    """Files of the run that are in the bucket, those that jobs make with their record."""
    names = {name.removeprefix("blueprint/test/") for name in b2.files()}
    return {name for name in names if record("metadata", name) in names}


def made_again(outputs, safe):
    """Jobs that were begun again though they need not: twice on machines that were not lost, or after they were safe.

    Args:
        outputs: what each machine has said, the lost ones first and in their order.
        safe: for each lost one what was in the bucket when it was gone.
    """
    again, before = [], []
    for number, output in enumerate(outputs):
        jobs = begun(output)
        assert jobs or number < len(safe), output
        for files, read in jobs:
            remade = {file for other, _ in jobs for file in other}
            for earlier in before:
                lost = earlier < len(safe) and not files <= safe[earlier]
                if files in {made for made, _ in begun(outputs[earlier])} and not lost and not read & remade:
                    again.append(sorted(files))
        again += [sorted(files) for files, times in Counter(files for files, _ in jobs).items() if times > 1]
        before.append(number)
    return again


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(2))
def test_four_machines_of_which_two_are_lost_and_one_is_slow(b2, vast, tmp_path, capsys, seed):
    random, journal = seeded(f"four {seed}"), tmp_path / "journal"
    clips = [{"name": f"orbit{number}", "path": "orbit"} for number in range(CLIPS)]
    config = str(write_config(tmp_path, small_config(clips=clips)))
    origin = tmp_path / "origin"
    commit(origin)
    alone = DemoMachine(tmp_path / "alone", b2, vast, journal, 99, {"run_id": "alone"}, origin=origin)
    began = time.monotonic()
    assert alone.run("--configfile", config) == 0, alone.output()
    alone_s, began = time.monotonic() - began, time.monotonic()
    machines = [shared(tmp_path / f"m{number}", b2, vast, journal, number, origin) for number in range(1, 5)]
    processes = [machine.share(config) for machine in machines]
    lost, outputs, safe = random.sample(range(4), 2), [], []
    left = sorted(set(range(4)) - set(lost))
    with slow_host(machines[random.choice(left)]):
        for number in lost:
            claimed = f"/{number + 1}-"
            wait_until(lambda claimed=claimed: any("four/kitchen/" in n and claimed in n for n in b2.files()), 300)
            time.sleep(random.uniform(0, 3))
            if processes[number].poll() is None:
                machines[number].signal(SIGSTOP)
                outputs.append(machines[number].output())
                machines[number].take_away()
                safe.append(in_bucket(b2))
        for number in left:
            assert processes[number].wait(timeout=900) == 0, machines[number].output()
    makespan_s = time.monotonic() - began
    again = made_again([*outputs, *(machines[number].output() for number in left)], safe)
    with capsys.disabled():
        print(f"\nseed {seed}: four machines on two cores, two lost, one of the others slow: {makespan_s:.0f} s;")
        print(f" ideal, one that nobody disturbs on the same cores: {alone_s:.0f} s ({makespan_s / alone_s:.2f} times)")
    assert again == []
    names = [name for name in b2.files() if f"/claims/four/{MERGE}/over/" in name]
    assert len(names) == 1
    last = machines[int(names[0].rpartition("/")[2].partition("-")[0]) - 1]
    assert differences(alone.folder / "results", last.folder / "results") == []
