"""Two faults at once, of seeded kinds, on seeded processes, at seeded moments (`pytest -m slow`; TWO_FAULTS: how many).

Whatever happens: no finished job is made again, no byte is lost (it is in the bucket or on a disk that is kept), every
machine is ended by itself or by the reaper, and the ledger agrees with the service's own bill within 2 %.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace

import psutil
import pytest

from blueprint.cloud import settings as cloud_settings
from blueprint.cloud.launched import VARIABLE, Launch
from blueprint.cloud.machine import boot_clock_s
from blueprint.cloud.reaper import Reaper, place_digest
from blueprint.cloud.sync import incomplete_outputs
from cloud_runs import VAST_KEY, Machine, finished_jobs, jobs_in_bucket, seeded, tree, wait_until
from workflow_runs import SCRIPTS

COUNT = int(os.environ.get("TWO_FAULTS", 200))
JOBS = 6
ALL_JOBS = {"sum", *(f"{rule}/{i}" for rule in ("make", "use") for i in range(JOBS))}
AGE_S = 150.0
"""How long the machine was up before it came to its first job; every machine takes minutes for that."""
PATIENCE_S = 150.0
TARGETS = {
    "job": lambda line: "TEST_JOURNAL" in line or line.startswith("sleep "),
    "guard": lambda line: "cloud.py guard" in line,
    "snakemake": lambda line: "-m snakemake" in line,
    "rclone": lambda line: "rclone" in line.split(" ")[0],
    "sentry": lambda line: "sentry.py" in line,
    "shell": lambda line: "onstart of this test" in line,
    "everything": lambda line: True,
}
SHELL = """: onstart of this test
{python} {scripts}/sentry.py --watch $$ --python {python} > sentry.log 2>&1 &
{python} -m snakemake --profile profiles/test >> output 2>&1 &
wait $!
{python} {scripts}/cloud.py finish --settings profiles/test/cloud.yaml --status $? >> output 2>&1
"""


def start(machine):
    """What `onstart.sh` does once the environment is there."""
    command = SHELL.format(python=sys.executable, scripts=SCRIPTS)
    return subprocess.Popen(
        ["bash", "-c", command], cwd=machine.folder, env=machine.variables(), start_new_session=True
    )


def rented(tmp_path, b2, vast, number, run_settings, silent_s):
    machine = Machine(
        tmp_path / f"machine-{number}",
        b2,
        vast,
        tmp_path / "journal",
        number,
        environment={"TEST_JOBS": str(JOBS), "TEST_SLEEP_S": "0.5", "STOP_PAUSE_S": "0.5"},
        cloud={
            "guard_silent_s": silent_s,
            "call_s": 4,
            "final_copy_s": 30,
            "job_hours": 15 / 3600,
            "vast": {"patience_s": 8},
        },
    )
    label = f"blueprint-test-{place_digest(run_settings)}{number:08x}"
    vast.instances[number].update(label=label, start_date=time.time() - AGE_S)
    vast.billed[number] = (time.time() - AGE_S, 2.0, None)
    machine.started_s = boot_clock_s() - AGE_S
    times = {"launched_s": time.time() - AGE_S, "deadline_s": time.time() + 900}
    limits = {"max_hours": 1.0, "setup_s": 300.0, "finish_s": 60.0, "guard_silent_s": silent_s, "interval_s": 1.0}
    launch = Launch(label, "test", b2.bucket, "blueprint", b2.endpoint, rate_usd_per_h=2.0, **times, **limits)
    b2.store(f"blueprint/test/{launch.name}", launch.to_text().encode())
    machine.environment |= {VARIABLE: launch.to_text(), "BLUEPRINT_SETTINGS": "profiles/test/cloud.yaml"}
    return machine


def strike(random, machine, b2, vast):
    """One fault; what it was, and what ends it."""
    kind = random.choice(["kill", "hang", "kill", "hang", "outage"])
    if kind == "outage":
        where, seconds = random.choice(["b2 down", "b2 hangs", "vast down"]), random.uniform(1, 12)
        if where == "vast down":
            vast.down_for(seconds)
            return f"{where} for {seconds:.0f} s", time.monotonic()
        setattr(b2.faults, "down" if where == "b2 down" else "hang", True)
        return f"{where} for {seconds:.0f} s", time.monotonic() + seconds
    target = random.choice(list(TARGETS))
    victims = [pid for pid, words in machine.processes().items() if TARGETS[target](" ".join(words))]
    if target not in ("everything", "job"):
        victims = victims[:1]
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL if kind == "kill" else signal.SIGSTOP)
    return f"{kind} {target} ({len(victims)} processes)", time.monotonic()


def has_ended(vast, number):
    return vast.status_of(number) in (None, "exited", "stopped")


def end_with_the_machine(machine, vast):
    """A stop takes the processes of a machine along, as Vast's does: a few seconds after it."""
    while not has_ended(vast, machine.instance):
        time.sleep(0.1)
    time.sleep(3)
    machine.signal(signal.SIGKILL)


def suffer(random, machine, b2, vast):
    """Two faults, then whatever the machine makes of it; what happened."""
    begun = len(machine.journal.read_text().split()) if machine.journal.exists() else 0
    start(machine)
    threading.Thread(target=end_with_the_machine, args=(machine, vast), daemon=True).start()
    begin = begun + random.randint(0, 2 * JOBS)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not has_ended(vast, machine.instance):
        if machine.journal.exists() and len(machine.journal.read_text().split()) > begin:
            break
        time.sleep(0.05)
    time.sleep(random.uniform(0, 3))
    faults = [strike(random, machine, b2, vast)]
    time.sleep(random.uniform(0, 3))
    faults.append(strike(random, machine, b2, vast))
    print([what for what, _ in faults])
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and not has_ended(vast, machine.instance):
        if all(until < time.monotonic() for _, until in faults):
            b2.faults.down = b2.faults.hang = False
        living = [line for line in machine.processes().values() if not any("sleep" in word for word in line)]
        stopped = all(psutil.Process(pid).status() == psutil.STATUS_STOPPED for pid in list(machine.processes()))
        if not living or stopped:
            break  # only the reaper is left
        time.sleep(0.2)
    b2.faults.down = b2.faults.hang = False
    return [what for what, _ in faults]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(COUNT))
def test_two_faults_at_once(b2, vast, tmp_path, monkeypatch, capsys, seed):
    monkeypatch.setenv("VAST_URL", vast.url)
    path = tmp_path / "reaper.yaml"
    path.write_text(json.dumps({"bucket": b2.bucket, "endpoint": b2.endpoint, "vast": {"patience_s": 5}}))
    settings = cloud_settings.load(path, {**b2.environment(), "VAST_API_KEY": VAST_KEY}, tmp_path / "none")
    random = seeded(f"two faults {seed}")
    machine = rented(tmp_path, b2, vast, 1, settings, 5.0)
    faults = suffer(random, machine, b2, vast)
    by = "itself"
    if not has_ended(vast, 1):
        by = "the reaper"
        vast.down_until = 0.0
        deadline = time.monotonic() + 30
        while not has_ended(vast, 1) and time.monotonic() < deadline:
            time.sleep(2.5)  # a scheduler calls it again and again; the silence it waits for is this test's own
            Reaper(replace(settings, silent_s=2.0)).reap()
    wait_until(lambda: has_ended(vast, 1), 5)
    bill = vast.bill_usd(1)
    wait_until(lambda: abs(cost_usd(b2) - bill) <= 0.02 * bill or not machine.processes(), 15)
    machine.signal(signal.SIGKILL)
    wait_until(lambda: not machine.processes())
    unfinished = incomplete_outputs(machine.folder)
    here = finished_jobs({name for name in tree(machine.folder) if name not in unfinished})
    saved = jobs_in_bucket(b2)
    assert here <= saved or vast.status_of(1) is not None, (faults, here - saved)  # the disk is kept
    difference = cost_usd(b2) / bill - 1
    before = len(machine.journal.read_text().split()) if machine.journal.exists() else 0
    other = rented(tmp_path, b2, vast, 2, settings, 60.0)
    assert start(other).wait(timeout=300) == 0, (faults, other.output())
    again = [job for job in other.journal.read_text().split()[before:] if job in saved]
    with capsys.disabled():
        print(f"\nseed {seed}: {'; '.join(faults)}: ended by {by}, ledger {difference:+.1%}, {len(again)} made again")
    assert again == [] and jobs_in_bucket(b2) == ALL_JOBS
    assert abs(difference) <= 0.02, faults
    other.signal(signal.SIGKILL)


def cost_usd(b2):
    """Cost of the first machine, by the accounts in the bucket."""
    return sum(json.loads(text)["cost_usd"] for name, (text, _) in b2.files().items() if "/ledger/1-" in name)
