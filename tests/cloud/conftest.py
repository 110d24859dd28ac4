"""What the tests of a rented machine share: loopback services, machines, jobs that wait, the table of faults.

`pytest tests/cloud --fault-table` (with `-m "slow or not slow"` for all rows) writes what the tests of single faults
saw into profiles/vast/README.md.
"""

import re
import time
from contextlib import contextmanager

import pytest

from cloud_runs import CANARY, VAST_KEY, Machine, finished_jobs, jobs_in_bucket, tree
from loopback_b2 import LoopbackB2
from loopback_vast import LoopbackVast
from workflow_runs import REPOSITORY

README = REPOSITORY / "profiles/vast/README.md"
BEGIN, END = "<!-- faults: written by the tests -->\n", "<!-- end of faults -->"
COLUMNS = ("fault", "what happens", "finished jobs lost", "the machine ends", "who tells")
ROWS = []


def pytest_addoption(parser):
    """An option of its own, since no test may write into the repository unasked."""
    parser.addoption(
        "--fault-table", action="store_true", help="write the table of faults into profiles/vast/README.md"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Enter a test of a fault that has passed: what it measured, or what its marker says."""
    report = yield
    marker = item.get_closest_marker("fault")
    if marker and report.when == "call" and report.passed:
        name, happens = marker.args
        more = {"lost": "0", "ends": "", "tells": "", **marker.kwargs, **dict(item.user_properties)}
        ROWS.append((name, happens, more["lost"], more["ends"], more["tells"]))
    return report


def pytest_sessionfinish(session):
    """Replace the rows of the tests that ran."""
    if ROWS and session.config.getoption("--fault-table"):
        text = README.read_text()
        before, _, rest = text.partition(BEGIN)
        table, _, after = rest.partition(END)
        rows = {line.split(" | ")[0].removeprefix("| "): line for line in table.splitlines()[2:]}
        rows |= {row[0]: f"| {' | '.join(row)} |" for row in ROWS}
        head = f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}\n"
        lines = "".join(f"{rows[name]}\n" for name in sorted(rows))
        README.write_text(before + BEGIN + head + lines + END + after)


@pytest.fixture
def outcome(request, b2, vast):
    """Check how a fault ended, and keep it for the table. The test's marker `fault` names it and what happens.

    Call it with the machine, who ended it and who told; the clock runs from `outcome.begin()` on.
    """
    begun = [time.monotonic()]

    def check(machine, ended_by, told, by="the last line", lost=0, output=None):
        seconds = time.monotonic() - begun[0]
        assert vast.status_of(machine.instance) in (None, "exited"), "the machine still runs"
        here = finished_jobs(set(tree(machine.folder))) if machine.folder.exists() else set()
        assert len(here - jobs_in_bucket(b2)) == lost
        text = output if output is not None else machine.output() + machine.guard_log()
        assert re.search(told, text), text[-3000:]
        when = f"{ended_by}; here after {max(1, round(seconds))} s"
        request.node.user_properties += [("lost", str(lost)), ("ends", when), ("tells", by)]

    check.begin = lambda: begun.__setitem__(0, time.monotonic())
    return check


@pytest.fixture
def b2():
    """A bucket whose key is recognised wherever it turns up."""
    with LoopbackB2() as service:
        service.set_secret(CANARY)
        yield service


@pytest.fixture
def vast():
    """Vast, without instances."""
    with LoopbackVast(VAST_KEY) as service:
        yield service


@pytest.fixture
def rent(b2, vast, tmp_path):
    """Rent machines; whatever still runs on them at the end of the test is killed."""
    machines = []

    def rented(name="one", **options):
        machine = Machine(tmp_path / name, b2, vast, tmp_path / "journal", **options)
        machines.append(machine)
        return machine

    yield rented
    for machine in machines:
        if machine.folder.exists():
            machine.take_away()


@pytest.fixture
def held(tmp_path):
    """Keep the jobs `make/<number>` from finishing for as long as a block lasts."""

    @contextmanager
    def hold(*numbers):
        files = [tmp_path / f"journal.hold-{number}" for number in numbers]
        for file in files:
            file.touch()
        yield
        for file in files:
            file.unlink(missing_ok=True)

    return hold
