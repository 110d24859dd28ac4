"""Several machines on one run: nobody makes what another holds, the lost are taken over, one ends it all."""

import threading
import time

import pytest

from blueprint.cloud.accounts import store_of
from blueprint.cloud.share import MERGE, VARIABLE, Claims
from cloud_runs import DemoMachine, cloud_settings, commit, seeded, wait_until
from same_results import differences
from small_runs import small_config
from workflow_runs import SCRIPTS, write_config


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


CLIPS = 6


def shared(folder, b2, vast, journal, number, origin):
    cloud = {"guard_silent_s": 5, "interval_s": 2}
    return DemoMachine(folder, b2, vast, journal, number, cloud, {VARIABLE: "four"}, origin=origin)


def begin(machine, config):
    options = ("--settings", "profiles/test/cloud.yaml", "--configfile", config)
    return machine.begin(str(SCRIPTS / "cloud.py"), "share", *options)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_four_machines_of_which_two_are_lost(b2, vast, tmp_path, capsys, seed):
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
    processes = [begin(machine, config) for machine in machines]
    lost = random.sample(range(4), 2)
    for number in lost:
        claimed = f"/{number + 1}-"
        wait_until(lambda claimed=claimed: any("/claims/four/kitchen/" in n and claimed in n for n in b2.files()), 300)
        time.sleep(random.uniform(0, 3))
        if processes[number].poll() is None:
            machines[number].take_away()
    for number in set(range(4)) - set(lost):
        assert processes[number].wait(timeout=600) == 0, machines[number].output()
    names = [name for name in b2.files() if f"/claims/four/{MERGE}/over/" in name]
    assert len(names) == 1
    last = machines[int(names[0].rpartition("/")[2].partition("-")[0]) - 1]
    assert differences(alone.folder / "results", last.folder / "results") == []
    with capsys.disabled():
        print(f"\nseed {seed}: alone {alone_s:.0f} s, four machines, two of them lost, on the same two cores:")
        print(f" {time.monotonic() - began:.0f} s")
