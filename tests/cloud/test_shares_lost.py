"""Machines that share a run of small jobs are lost at the worst moments: nobody stops early, somebody ends it all."""

from collections import Counter

import pytest

from blueprint.cloud.accounts import store_of
from blueprint.cloud.share import VARIABLE, WAIT, Claims
from cloud_runs import Machine, cloud_settings, wait_until
from small_runs import small_config
from workflow_runs import write_config

# The targets of a share, made at once; each job writes its name and its machine's number where they survive.
WORKFLOW = """
configfile: "config/config.yaml"
include: "rules/common.smk"
include: "rules/cloud.smk"

CLIPS = [clip["name"] for clip in config["clips"]]
MADE = (
    "echo {0} $VAST_INSTANCE_ID >> $TEST_JOURNAL; while test -e $TEST_JOURNAL.hold-{0}; do sleep 0.05; done;"
    " test ! -e $TEST_JOURNAL.fail-$VAST_INSTANCE_ID; touch {{output}}"
).format

wildcard_constraints:
    facility="kitchen",

rule all:
    default_target: True
    input:
        "results/report.html",

rule report:
    input:
        expand("results/kitchen/{kind}/{clip}.json", kind=["previews", "diversity"], clip=CLIPS),
    output:
        "results/report.html",
    shell:
        MADE("report")

rule environment:
    output:
        "results/preflight/{environment}.json",
    shell:
        MADE("{wildcards.environment}")

rule facility:
    output:
        "results/{facility}/preflight.json",
        "results/{facility}/fidelity.json",
    shell:
        MADE("{wildcards.facility}")

rule clip:
    input:
        "results/{facility}/fidelity.json",
    output:
        "results/{facility}/previews/{clip}.json",
        "results/{facility}/diversity/{clip}.json",
    shell:
        MADE("{wildcards.clip}")
"""


class SmallMachine(Machine):
    """A machine whose clips are made at once, and which is soon taken for lost."""

    def check_out(self):
        super().check_out()
        (self.folder / "Snakefile").write_text(WORKFLOW)

    def held(self):
        """What it holds that is not over, as the bucket says."""
        held, over = Claims(store_of(cloud_settings(self.b2)), "launch", "0-aa", 0.0).read()
        mine = {share for share, one in held.items() if one.machine.startswith(f"{self.instance}-")}
        return mine - over


class Fleet:
    """Small machines that share a run of some clips."""

    def __init__(self, rent_one, tmp_path, clips):
        self.rent_one, self.journal = rent_one, tmp_path / "journal"
        looks = [{"name": name, "path": "orbit"} for name in clips]
        self.config = str(write_config(tmp_path, small_config(clips=looks)))
        self.machines, self.processes = {}, {}

    def begin(self, number):
        machine = self.rent_one(number)
        self.machines[number], self.processes[number] = machine, machine.share(self.config)
        return machine

    def hold(self, *names):
        for name in names:
            self.journal.with_name(f"journal.hold-{name}").touch()

    def release(self, *names):
        for name in names:
            self.journal.with_name(f"journal.hold-{name}").unlink()

    def made(self):
        """(job, machine) as they were begun."""
        return [tuple(line.split()) for line in self.journal.read_text().splitlines()] if self.journal.exists() else []

    def maker(self, name, besides=()):
        """The machine that begins a job, once one has."""

        def makers():
            return [int(one) for job, one in self.made() if job == name and int(one) not in besides]

        return wait_until(makers, 120)[-1]

    def end(self, number):
        code = self.processes[number].wait(timeout=120)
        return code, self.machines[number].output()


@pytest.fixture
def fleet(b2, vast, tmp_path):
    made = []

    def build(*clips):
        def rent_one(number):
            cloud = {"guard_silent_s": 4, "interval_s": 1}
            variables = {VARIABLE: "launch"}
            made.append(SmallMachine(tmp_path / f"m{number}", b2, vast, tmp_path / "journal", number, cloud, variables))
            return made[-1]

        return Fleet(rent_one, tmp_path, clips)

    yield build
    for machine in made:
        if machine.folder.exists():
            machine.take_away()


def test_the_last_one_at_work_is_lost_and_the_one_that_waits_takes_over(fleet):
    """Also when it is lost at the end of it all: while it merges."""
    run = fleet("one", "two")
    run.hold("one", "two", "report")
    for number in (1, 2):
        run.begin(number)
    waiting, lost = run.maker("one"), run.maker("two")
    assert waiting != lost
    run.release("one")
    wait_until(lambda: WAIT in run.machines[waiting].held())
    assert run.made().count(("report", str(waiting))) == 0
    run.machines[lost].take_away()
    assert run.maker("two", besides=[lost]) == waiting
    run.begin(3)
    wait_until(lambda: WAIT in run.machines[3].held())
    run.release("two")
    merging = run.maker("report")
    made = Counter(job for job, _ in run.made())
    assert made["one"] == 1 and made["two"] == 2 and made["kitchen"] == 1
    run.machines[merging].take_away()
    run.release("report")
    (last,) = {waiting, 3} - {merging}
    code, output = run.end(last)
    assert code == 0, output
    assert Counter(job for job, _ in run.made()) == made | {"report": 2}


@pytest.mark.slow
def test_where_all_are_lost_a_new_launch_makes_what_is_left(fleet):
    run = fleet("one")
    run.hold("report")
    run.begin(1)
    assert run.maker("report") == 1
    made = Counter(job for job, _ in run.made())
    run.machines[1].take_away()
    run.release("report")
    machine = run.rent_one(2)
    assert machine.run("--configfile", run.config) == 0, machine.output()
    assert Counter(job for job, _ in run.made()) == made | {"report": 2}


def test_a_machine_on_which_everything_fails_leaves_the_rest_to_others(fleet):
    run = fleet("one", "two", "three")
    run.begin(1)
    run.hold("one")
    run.maker("one")
    run.journal.with_name("journal.fail-1").touch()
    run.release("one")
    code, output = run.end(1)
    assert code == 1 and "Work finished: NO" in output
    assert len([job for job, _ in run.made() if job in ("one", "two", "three")]) == 2
    run.begin(2)
    code, output = run.end(2)
    assert code == 0, output
    assert run.made()[-1] == ("report", "2")


@pytest.mark.slow
def test_what_comes_first_fails_and_nobody_waits_for_it(fleet):
    run = fleet("one")
    run.hold("kitchen")
    run.begin(1)
    run.maker("kitchen")
    run.begin(2)
    run.journal.with_name("journal.fail-1").touch()
    run.release("kitchen")
    for number in (1, 2):
        code, output = run.end(number)
        assert code == 1 and "Work finished: NO" in output
    assert not [one for job, one in run.made() if job == "one" or one == "2"]
