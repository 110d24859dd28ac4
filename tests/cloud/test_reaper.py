"""The dead-man switch outside the machine: `vast.py reap` against loopback Vast and B2, and how it is run for ever."""

import configparser
import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest
import yaml

from blueprint.cloud import settings as cloud_settings
from blueprint.cloud.launched import Launch
from blueprint.cloud.ledger import Entry
from blueprint.cloud.reaper import Reaper, judge, place_digest, refuse_unwatched
from blueprint.errors import UserError
from cloud_runs import VAST_KEY, Listener
from workflow_runs import REPOSITORY, clean_environment

HOUR_S = 3600.0


@pytest.fixture
def settings(b2, vast, tmp_path, monkeypatch):
    monkeypatch.setenv("VAST_URL", vast.url)
    path = tmp_path / "cloud.yaml"
    values = {
        "bucket": b2.bucket,
        "endpoint": b2.endpoint,
        "silent_s": 600,
        "keep_disk_h": 24,
        "vast": {"patience_s": 2},
    }
    path.write_text(yaml.safe_dump(values))
    return cloud_settings.load(path, {**b2.environment(), "VAST_API_KEY": VAST_KEY}, tmp_path / "none")


@pytest.fixture
def add(b2, vast, settings):
    """Add a machine: how long ago it was rented, how much later its deadline is, when it last gave an account."""

    def added(number, rented_s=HOUR_S, lives_s=2 * HOUR_S, account_s=None, status="running", run_id="main"):
        label = f"blueprint-{run_id}-{place_digest(settings)}{number:08x}"
        rented = time.time() - rented_s
        vast.add_instance(number, status=status, label=label, start_date=rented)
        place = f"blueprint/{run_id}/results/.cloud"
        if lives_s is not None:
            order = Launch(
                label, run_id, b2.bucket, "blueprint", b2.endpoint, rented, rented + lives_s, 2.0, 1, 1, 1, 1, 1
            )
            b2.store(f"{place}/launches/{label}.json", order.to_text().encode())
        if account_s is not None:
            spent_s = rented_s - account_s
            entry = Entry(f"{number}-0a0b0c0d", 2.0, spent_s, spent_s / 3600 * 2, 0.0, "", "")
            name = f"{place}/ledger/{number}-0a0b0c0d.json"
            b2.store(name, json.dumps(asdict(entry)).encode(), at_s=time.time() - account_s)
        return number

    return added


def cost_usd(b2, number, run_id="main"):
    prefix = f"blueprint/{run_id}/results/.cloud/ledger/{number}-"
    return sum(json.loads(text)["cost_usd"] for name, (text, _) in b2.files().items() if name.startswith(prefix))


def test_a_machine_that_works_is_left_alone(b2, vast, settings, add):
    add(7, account_s=30)
    (found,) = Reaper(settings).reap()
    assert found.verdict.action == "leave" and vast.status_of(7) == "running"


@pytest.mark.fault(
    "nobody on the machine can act any more",
    "the reaper stops it and makes up for its account; the disk is kept",
    ends="by the reaper, after `silent_s`, or at the deadline",
    tells="the reaper's output and `notify`",
    lost="0 (on the disk)",
)
def test_a_silent_machine_is_stopped_and_its_cost_made_up_for(b2, vast, settings, add):
    add(7, account_s=700)
    (found,) = Reaper(settings).reap()
    assert found.state == "stopped" and "silent" in found.verdict.reason
    assert cost_usd(b2, 7) == pytest.approx(vast.bill_usd(7), rel=0.02)


@pytest.mark.fault(
    "a machine never opened an account",
    "the reaper stops it, and accounts for it",
    ends="by the reaper, `silent_s` after it was rented",
    tells="the reaper's output and `notify`",
)
def test_a_machine_without_account_or_launch_record_is_stopped(b2, vast, settings, add):
    add(7, lives_s=None)
    add(8, rented_s=60, lives_s=None)  # still fetching its image
    Reaper(settings).reap()
    assert (vast.status_of(7), vast.status_of(8)) == ("exited", "running")
    assert cost_usd(b2, 7) == pytest.approx(vast.bill_usd(7), rel=0.02)


def test_a_machine_past_its_deadline_is_stopped_though_it_talks(vast, settings, add):
    add(7, rented_s=3 * HOUR_S, account_s=10)
    (found,) = Reaper(settings).reap()
    assert "past its deadline" in found.verdict.reason and vast.status_of(7) == "exited"


@pytest.mark.fault(
    "a stopped machine is forgotten",
    "the reaper destroys it",
    ends="by the reaper, after `keep_disk_h`",
    tells="the reaper's output and `notify`",
)
def test_disks_are_kept_for_a_while(vast, settings, add):
    add(7, rented_s=30 * HOUR_S, account_s=25 * HOUR_S, status="stopped")
    add(8, rented_s=30 * HOUR_S, account_s=20 * HOUR_S, status="stopped")
    Reaper(settings).reap()
    assert (vast.status_of(7), vast.status_of(8)) == (None, "stopped")


def test_only_this_project_s_machines_are_touched(vast, settings, add):
    vast.add_instance(5, label="somebody-else", start_date=0.0)
    vast.add_instance(6, label="blueprint-main-00000a0b0c0d", start_date=0.0)  # of another bucket
    add(7, account_s=None, run_id="another-run")
    assert [found.run_id for found in Reaper(settings).reap()] == ["another-run"]
    assert vast.status_of(5) == vast.status_of(6) == "running"


def test_a_machine_that_cannot_be_ended_is_told(vast, settings, add, caplog):
    add(7, account_s=700)
    vast.ignored_states.add("stopped")
    (found,) = Reaper(settings).reap()
    assert found.state == "" and "COSTS MONEY" in found.problem
    vast.ignored_states.clear()
    (found,) = Reaper(settings).reap()
    assert found.state == "stopped"


def test_a_dry_run_ends_nothing_and_reports_nothing(b2, vast, settings, add):
    add(7, account_s=700)
    (found,) = Reaper(settings).reap(dry_run=True)
    assert found.verdict.action == "stop" and vast.status_of(7) == "running"
    with pytest.raises(UserError, match="never reported"):
        refuse_unwatched(settings)


def test_a_report_is_good_for_a_day(b2, settings):
    with pytest.raises(UserError, match="--no-reaper"):
        refuse_unwatched(settings)
    Reaper(settings).reap()
    refuse_unwatched(settings)
    b2.store("blueprint/reaper.json", json.dumps({"at_s": time.time() - 25 * HOUR_S}).encode())
    with pytest.raises(UserError, match="25 h ago"):
        refuse_unwatched(settings)


def test_people_are_told(settings, add, vast):
    add(7, account_s=700)
    with Listener() as listener:
        Reaper(replace(settings, notify_urls=listener.address)).reap()
    assert "Instance 7 of run main: it has been silent" in listener.heard[0]


@pytest.mark.parametrize("state", ["running", "loading", "provisioning", "offline", "unknown", "stopping"])
def test_whatever_vast_calls_it_a_silent_machine_is_stopped(state):
    assert judge(state, None, 0.0, 601.0, 600.0, 1e6).action == "stop"
    assert judge(state, None, 0.0, 599.0, 600.0, 1e6).action == "leave"
    assert judge(state, 500.0, 599.0, 599.0, 600.0, 1e6).action == "stop"


def test_an_outbid_machine_is_not_silent_but_has_a_deadline():
    assert judge("paused", 1e5, 0.0, 7200.0, 600.0, 1e6).action == "leave"
    assert judge("paused", 100.0, 0.0, 7200.0, 600.0, 1e6).action == "stop"
    assert judge("paused", None, 0.0, 2e6, 600.0, 1e6).action == "destroy"


# What runs it for ever: each file's own command, run once.


def commands():
    cron = [line for line in (PROFILE / "reap.cron").read_text().splitlines() if line and line[0] not in "#"]
    minutes, *_, command = cron[-1].split(None, 5)
    assert minutes == "*/10"
    service = configparser.ConfigParser(interpolation=None)
    service.optionxform = str
    service.read(PROFILE / "reap.service")
    timer = configparser.ConfigParser(interpolation=None)
    timer.optionxform = str
    timer.read(PROFILE / "reap.timer")
    assert timer["Timer"]["OnUnitActiveSec"] == "10min" and timer["Install"]["WantedBy"] == "timers.target"
    flow = yaml.safe_load((PROFILE / "reap.github.yml").read_text())
    (job,) = flow["jobs"].values()
    steps = [step["run"] for step in job["steps"] if "run" in step]
    given = set().union(*(step.get("env", {}) for step in job["steps"]))
    assert {"B2_APPLICATION_KEY_ID", "B2_APPLICATION_KEY", "VAST_API_KEY"} <= given
    return {"cron": command, "systemd": service["Service"]["ExecStart"], "github": steps[-1]}


PROFILE = REPOSITORY / "profiles" / "vast"


@pytest.mark.parametrize("kind", ["cron", "systemd", "github"])
def test_each_scheduler_s_command_reaps(kind, b2, vast, settings, add, tmp_path):
    add(7, account_s=700)
    checkout = tmp_path / "checkout"
    for name in ("workflow", ".venv"):
        checkout.mkdir(exist_ok=True)
        (checkout / name).symlink_to(REPOSITORY / name)
    (checkout / "profiles/vast").mkdir(parents=True)
    (checkout / "profiles/vast/cloud.yaml").write_text((tmp_path / "cloud.yaml").read_text())
    command = commands()[kind].replace("/path/to/blueprint", str(checkout))
    if kind == "github":
        command = command.replace("python ", f"{shlex.quote(sys.executable)} ")
    secrets = {**b2.environment(), "VAST_API_KEY": VAST_KEY, "VAST_URL": vast.url, "HOME": str(tmp_path)}
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=checkout,
        env={**clean_environment(), **secrets},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert vast.status_of(7) == "exited"
    refuse_unwatched(settings)


def test_systemd_accepts_the_units(tmp_path):
    for name in ("reap.service", "reap.timer"):
        text = (PROFILE / name).read_text()
        (tmp_path / name).write_text(text)
    if not os.path.exists("/usr/bin/systemd-analyze"):  # noqa: PTH110
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(["systemd-analyze", "verify", str(tmp_path / "reap.timer")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
