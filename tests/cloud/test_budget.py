"""A budget and `max_hours` end a run: at once where nothing is left, else after the grace of the jobs that run."""

import json
from dataclasses import asdict

import pytest

from blueprint.cloud.ledger import Entry
from cloud_runs import NOT_DONE, SAVED, is_stopped, jobs_in_bucket, started, wait_until


def test_a_budget_spent_by_earlier_machines_stops_at_once(rent, b2, vast):
    assert rent(cloud={"max_cost_usd": 100}).run() == 0
    before = started(rent("none", instance=9))
    name = next(name for name in b2.files() if "/ledger/" in name)
    account = json.loads(b2.files()[name][0]) | {"cost_usd": 101.0, "seconds": 3600.0, "rate_usd_per_h": 101.0}
    other = rent("two", instance=8, cloud={"max_cost_usd": 100})
    b2.store(name, json.dumps(account).encode())
    assert other.run("--forceall") == 1
    assert "max_cost_usd: 100 is spent" in other.output()
    assert started(other) == before
    assert is_stopped(vast, 8)


def test_the_budget_ends_jobs_after_their_grace(rent, b2, vast):
    # 360 dollars per hour: the budget lasts for twenty seconds from the machine's start.
    machine = rent(environment={"TEST_SLEEP_S": "600"}, cloud={"max_cost_usd": 2, "rate_usd_per_h": 360, "grace_s": 1})
    snakemake = machine.start()
    wait_until(lambda: len(started(machine)) == 2)
    assert snakemake.wait(timeout=120) == 1
    assert "of a budget of 2, ALL of it" in machine.output()
    assert "is spent: no new jobs" in machine.guard_log()
    assert SAVED in machine.output() and is_stopped(vast)
    assert len(started(machine)) == 2
    assert not [command for command in machine.processes().values() if "sleep" in command]
    accounts = [json.loads(content) for name, (content, _) in b2.files().items() if "/ledger/" in name]
    assert 2 <= accounts[0]["cost_usd"] < 36


def test_jobs_that_end_within_the_grace_are_kept(rent, b2, vast, held):
    machine = rent(cloud={"max_cost_usd": 2, "rate_usd_per_h": 360, "grace_s": 600})
    with held(0, 1, 2, 3):
        snakemake = machine.start()
        wait_until(lambda: len(started(machine)) == 2)
        wait_until(lambda: "is spent: no new jobs" in machine.guard_log())
    assert snakemake.wait() == 1
    assert set(started(machine)) == jobs_in_bucket(b2)
    assert len(started(machine)) == 2
    assert is_stopped(vast)


@pytest.mark.parametrize("budget", [0, -5])
def test_no_budget_needs_no_rate(rent, vast, budget):
    vast.add_instance(7, dph_total=None)
    assert rent(cloud={"max_cost_usd": budget}).run() == 0
    assert is_stopped(vast)


def test_a_budget_without_a_rate_is_refused(rent, vast):
    vast.add_instance(7, dph_total=None)
    machine = rent(cloud={"max_cost_usd": 5})
    assert machine.run() == 1
    assert "rate_usd_per_h" in machine.output()
    assert not started(machine)


@pytest.mark.slow
@pytest.mark.fault("another machine spends the budget", "its account is read again during the run: no new jobs")
def test_another_machine_spends_the_budget(rent, b2, outcome, held):
    machine = rent(cloud={"max_cost_usd": 5, "grace_s": 0})
    with held(0, 1, 2, 3):
        snakemake = machine.start()
        wait_until(lambda: started(machine))
        other = Entry("8-0a0b0c0d", 6.0, 3600.0, 6.0, 0.0, "2026-01-01T00:00:00+00:00", "2026-01-01T01:00:00+00:00")
        b2.store("blueprint/test/results/.cloud/ledger/8-0a0b0c0d.json", json.dumps(asdict(other)).encode())
        outcome.begin()
        assert snakemake.wait() == 1
    assert "of a budget of 5, ALL of it" in machine.output()
    outcome(machine, "by itself, after the grace", NOT_DONE)


@pytest.mark.slow
@pytest.mark.fault("the price rises", "it is read again during the run, and counted from then on")
def test_the_price_rises(rent, vast, outcome, held):
    machine = rent(cloud={"max_cost_usd": 1, "grace_s": 0})
    with held(0, 1, 2, 3):
        snakemake = machine.start()
        wait_until(lambda: started(machine))
        vast.instances[7]["dph_total"] = 3600.0
        outcome.begin()
        assert snakemake.wait() == 1
    assert "The hourly rate is 3600" in machine.guard_log()
    outcome(machine, "by itself, after the grace", NOT_DONE)


@pytest.mark.slow
@pytest.mark.fault("a machine lives longer than `max_hours`", "as with a budget that is spent")
def test_the_hours_are_over(rent, outcome, held):
    machine = rent(cloud={"max_hours": 60 / 3600, "grace_s": 0})
    with held(0, 1, 2, 3):
        snakemake = machine.start()
        assert snakemake.wait() == 1
    outcome.begin()
    assert "hours are over: no new jobs" in machine.guard_log()
    outcome(machine, "by itself, after the grace", NOT_DONE)
