"""Cost of a run over several machines, whatever the clocks do."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint.cloud import ledger, machine
from blueprint.cloud.ledger import Ledger, cost_usd, is_spent, total_usd

RATES = st.floats(0.01, 50)
# Accounts are files that reach the disk, which takes its time.
ON_DISK = settings(max_examples=30, deadline=None)
STEPS = st.lists(st.floats(0, 5000), max_size=12)


class Clock:
    """A clock that tests set."""

    def __init__(self, now_s=0.0):
        self.now_s = now_s

    def __call__(self):
        return self.now_s


def opened(folder, clock, name="a", rate=2.0, wall=None):
    return Ledger(folder, name, rate, clock_s=clock, wall_s=wall or Clock(1.7e9))


@ON_DISK
@given(rate=RATES, steps=STEPS)
def test_cost_is_rate_times_time_however_often_it_is_counted(rate, steps):
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock(100)
        account = opened(Path(folder), clock, rate=rate)
        for step in steps:
            clock.now_s += step
            account.count()
        assert account.total_usd == pytest.approx(cost_usd(sum(steps), rate))


@ON_DISK
@given(rate=RATES, steps=STEPS, killed=st.sets(st.integers(0, 11)))
def test_a_guard_that_dies_and_is_replaced_loses_no_time(rate, steps, killed):
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock(100)
        account = opened(Path(folder), clock, rate=rate)
        account.write()
        for index, step in enumerate(steps):
            clock.now_s += step
            if index in killed:
                account = opened(Path(folder), clock, rate=rate)
            account.count()
            account.write()
        assert total_usd(Path(folder)) == pytest.approx(cost_usd(sum(steps), rate))


@ON_DISK
@given(steps=st.lists(st.floats(-5000, 5000), max_size=12))
def test_cost_never_falls(steps):
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock(1e5)
        account = opened(Path(folder), clock)
        before = account.total_usd
        for step in steps:
            clock.now_s += step
            assert account.count() >= before
            before = account.total_usd


@ON_DISK
@given(machines=st.dictionaries(st.sampled_from("abcdef"), st.tuples(RATES, st.floats(0, 1e5)), min_size=1))
def test_machines_add_up_in_any_order(machines):
    with tempfile.TemporaryDirectory() as folder:
        for name, (rate, seconds) in machines.items():
            clock = Clock(50)
            account = opened(Path(folder), clock, name, rate)
            clock.now_s += seconds
            account.count()
            account.write()
        expected = sum(cost_usd(seconds, rate) for rate, seconds in machines.values())
        assert total_usd(Path(folder)) == pytest.approx(expected)
        next_one = opened(Path(folder), Clock(), "next")
        assert next_one.total_usd == next_one.earlier_usd == pytest.approx(expected)


@given(total=st.floats(0, 1e6), budget=st.floats(-1e6, 1e6))
def test_a_budget_of_zero_or_less_is_none(total, budget):
    assert is_spent(total, budget) == (budget > 0 and total >= budget)


@pytest.mark.parametrize("jump_s", [-86_400 * 400, -3700, 3700, 86_400 * 400])
def test_setting_the_time_of_day_costs_nothing(tmp_path, caplog, jump_s):
    clock, wall = Clock(0), Clock(1.7e9)
    account = opened(tmp_path, clock, rate=3.6, wall=wall)
    clock.now_s, wall.now_s = 10, 1.7e9 + 10 + jump_s
    assert account.count() == pytest.approx(0.01)
    assert "jumped" in caplog.text
    clock.now_s, wall.now_s = 20, wall.now_s + 10
    assert account.count() == pytest.approx(0.02)
    assert caplog.text.count("jumped") == 1


def test_a_container_is_billed_from_its_start(tmp_path):
    clock = Clock(1000)
    account = Ledger(tmp_path, "a", 3.6, age_s=100, clock_s=clock, wall_s=Clock(1.7e9))
    assert account.total_usd == pytest.approx(0.1)
    account.write()
    clock.now_s = 1010
    # The age counts once, not each time that a guard comes back.
    again = Ledger(tmp_path, "a", 3.6, age_s=110, clock_s=clock, wall_s=Clock(1.7e9))
    assert again.total_usd == pytest.approx(0.11)
    assert machine.container_age_s({}) == 0
    assert machine.container_age_s({"CONTAINER_ID": "7"}) > 0
    begun = machine.boot_clock_s() - 60
    assert machine.container_age_s({"BLUEPRINT_STARTED_S": f"{begun}"}) == pytest.approx(60, abs=5)


def test_a_new_rate_holds_from_then_on(tmp_path):
    clock = Clock()
    account = opened(tmp_path, clock, rate=1.0)
    clock.now_s = 3600
    account.count()
    account.write()
    account = opened(tmp_path, clock, rate=3.0)
    clock.now_s = 7200
    assert account.count() == pytest.approx(4.0)


def test_a_stopped_container_is_another_machine(monkeypatch):
    first = machine.machine_id(7)
    assert first == machine.machine_id(7) != machine.machine_id(8)
    monkeypatch.setattr(machine, "started_s", lambda pid: 4e6)
    assert machine.machine_id(7) != first


def account(**changes):
    entry = ledger.Entry("a", 2.0, 1800.0, 1.0, 5.0, "2026-01-01T00:00:00+00:00", "2026-01-01T00:30:00+00:00")
    return {**asdict(entry), **changes}


@pytest.mark.parametrize(
    "content",
    [
        *("{}", "[1]", '{"machine": "a"', "null", ""),
        json.dumps(account(cost_usd=float("nan"))),
        json.dumps(account(cost_usd=-1e6)),
        json.dumps(account(cost_usd=1e6)),
        json.dumps(account(seconds=-1.0)),
        json.dumps(account(seconds=1e12)),
        json.dumps(account(rate_usd_per_h=-2.0)),
        json.dumps(account(rate_usd_per_h="2")),
        json.dumps(account(machine="another")),
    ],
)
def test_an_impossible_account_is_told_of_and_never_believed(tmp_path, caplog, content):
    (tmp_path / "a.json").write_text(content)
    (tmp_path / "b.json").write_text(json.dumps(account(machine="b", cost_usd=3.0, seconds=7200.0)))
    assert total_usd(tmp_path) == 3.0
    assert "a.json is no account" in caplog.text and "NOT counted" in caplog.text
    # The machine itself opens its account again.
    assert opened(tmp_path, Clock(), "a").total_usd == 3.0


def test_a_rate_that_is_known_late_counts_from_the_beginning(tmp_path):
    clock = Clock()
    account = Ledger(tmp_path, "a", None, clock_s=clock, wall_s=Clock(1.7e9))
    clock.now_s = 1800
    account.count()
    assert account.total_usd == 0
    account.reprice(2.0)
    assert account.total_usd == pytest.approx(1.0)
    clock.now_s = 3600
    account.reprice(200.0)  # a price that rises counts from then on
    clock.now_s = 5400
    assert account.count() == pytest.approx(2.0 + 100.0)


def test_what_other_machines_spend_meanwhile_counts(tmp_path):
    first, second = opened(tmp_path, Clock()), opened(tmp_path, Clock(), "b")
    assert first.earlier_usd == 0
    second.entry = second.entry.advanced(3600, "now")
    second.write()
    first.look_around()
    assert first.total_usd == pytest.approx(2.0)
