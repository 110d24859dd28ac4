"""`vast.py launch|status|logs|pull|stop` as an operator types them, against loopback Vast and B2."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, replace
from hashlib import sha256

import psutil
import pytest
import yaml

import vast
from blueprint.cloud import settings as cloud_settings
from blueprint.cloud.accounts import store_of
from blueprint.cloud.bucket import LEDGER, Bucket
from blueprint.cloud.launched import GIVEN, VARIABLE, Launch, lay
from blueprint.cloud.ledger import Entry
from blueprint.cloud.reaper import run_of
from blueprint.cloud.share import CLAIMS, Claims
from blueprint.cloud.share import VARIABLE as SHARE
from blueprint.cloud.sync import scan
from blueprint.errors import UserError
from laptops import SECRETS, URL, Laptop, git
from loopback_b2 import LoopbackB2
from loopback_vast import LoopbackVast, offer
from workflow_runs import REPOSITORY, SCRIPTS

ORDER = Launch("blueprint-main-0", "main", "b", "p", None, 0.0, 1.0, 2.0, 1.0, 60.0, 60.0, 3.0, 1.0)
DEMO = ("--configfile", "config/config.yaml", "--gpu-anyway", "--yes")


@pytest.fixture(scope="module")
def b2():
    """One bucket for all tests here, each of which has a run of its own in it."""
    with LoopbackB2() as running:
        running.set_secret("canary-b2-key")
        yield running


@pytest.fixture
def service():
    with LoopbackVast() as running:
        running.offers = [offer(1, dph_total=2.0), offer(2, dph_total=1.5)]
        yield running


def label(run_id):
    """A label as `launch` gives it in the settings of these tests."""
    return f"blueprint-{run_id}-{sha256(b'results/blueprint').hexdigest()[:4]}0a0b0c0d"


@pytest.fixture
def laptop(tmp_path, service, b2):
    return Laptop(tmp_path, service, b2)


def test_launch_rents_the_cheapest_offer_and_says_what_it_costs(laptop, service):
    done = laptop.run("launch")
    assert done.returncode == 0, done.stdout
    assert "1.500 USD per hour" in done.stdout and "lasts 4.0 h" in done.stdout
    assert service.count("PUT /api/v0/asks/2/") == 1
    (row,) = service.instances.values()
    given = dict(row["extra_env"])
    assert given["BLUEPRINT_REPOSITORY"] == URL
    assert given["BLUEPRINT_COMMIT"] == git(laptop.checkout, "rev-parse", "HEAD").strip()
    assert "VAST_API_KEY" not in given and given["HF_TOKEN"] == SECRETS["HF_TOKEN"]
    body = next(request.body for request in service.requests if "/asks/" in request.path)
    assert body["onstart"] == (REPOSITORY / "profiles" / "vast" / "bootstrap.sh").read_text()
    assert body["price"] is None and body["disk"] == 200
    assert "canary" not in done.stdout


def test_the_account_s_key_goes_along_only_when_asked_for(laptop, service):
    assert laptop.run("launch", "--with-account-key").returncode == 0
    (row,) = service.instances.values()
    assert dict(row["extra_env"])["VAST_API_KEY"] == SECRETS["VAST_API_KEY"]


def test_a_bid_is_the_price_of_an_interruptible_machine(laptop, service):
    laptop.write_settings(vast={"interruptible": True, "patience_s": 1})
    laptop.push()
    assert laptop.run("launch").returncode == 0
    body = next(request.body for request in service.requests if "/asks/" in request.path)
    assert body["price"] == pytest.approx(0.8 * 1.2)


@pytest.mark.parametrize("state", ["running", "exited"])
def test_a_run_has_one_machine_at_a_time(laptop, service, state):
    service.add_instance(9, status=state, label=label("main"))  # exited unasked: Vast may start it again
    done = laptop.run("launch")
    assert done.returncode == 1 and "End it first" in done.stdout
    assert not service.count("PUT /api/v0/asks/")


def test_a_gpu_for_what_needs_none_is_refused(laptop, service):
    done = laptop.run("launch", asked=True)
    assert done.returncode == 1 and "photometric, which needs no GPU: run it here" in done.stdout
    assert not service.requests


def test_it_asks_before_it_rents(laptop, service):
    done = laptop.run("launch", "--gpu-anyway", asked=True)
    assert done.returncode == 1 and "give --yes" in done.stdout
    shown = " ".join(done.stdout.split())  # whatever the width of the terminal
    for words in ("config/config.yaml", "has cost 0.00 USD so far", "1.500 USD per hour", "Estimate of the whole run"):
        assert words in shown
    assert not service.instances


def test_a_dry_run_needs_no_more_than_the_key_of_vast(laptop, service):
    (laptop.checkout / "changed.txt").touch()
    done = laptop.run("launch", "-n", asked=True, B2_APPLICATION_KEY="", HF_TOKEN="")
    assert done.returncode == 1, "the demo needs no GPU"
    done = laptop.run("launch", "-n", "--gpu-anyway", asked=True, B2_APPLICATION_KEY="", HF_TOKEN="")
    assert done.returncode == 0 and "1.500 USD per hour" in done.stdout and "nothing was rented" in done.stdout
    assert "A launch would be refused: environment: B2_APPLICATION_KEY: not set" in done.stdout


def test_a_dry_run_rents_nothing(laptop, service):
    done = laptop.run("launch", "--dry-run")
    assert done.returncode == 0 and "nothing was rented" in done.stdout
    assert not service.instances


@pytest.mark.parametrize("name", ["profiles/vast/bootstrap.sh", "rules.smk"])
def test_uncommitted_work_is_refused(laptop, service, name):
    with (laptop.checkout / name).open("a") as stream:
        stream.write("\n# changed\n")
    done = laptop.run("launch")
    assert done.returncode == 1 and "uncommitted" in done.stdout
    assert not service.instances


def test_configuration_and_settings_travel_uncommitted(laptop, service, b2):
    """They go through the bucket, and the machine is told which ones; the rest must still be committed."""
    (laptop.checkout / "config" / "mine.yaml").write_bytes((laptop.checkout / "config" / "config.yaml").read_bytes())
    laptop.write_settings(run_id="travelling", max_cost_usd=7)
    done = laptop.run("launch", "--configfile", str(laptop.checkout / "config" / "mine.yaml"))
    assert done.returncode == 0, done.stdout
    (row,) = service.instances.values()
    given = dict(row["extra_env"])
    assert (given["BLUEPRINT_CONFIGFILE"], given["BLUEPRINT_SETTINGS"]) == (
        "config/mine.yaml",
        "profiles/vast/cloud.yaml",
    )
    order = Launch.from_text(given["BLUEPRINT_LAUNCH"])
    for path in ("config/mine.yaml", "profiles/vast/cloud.yaml"):
        content = b2.files()[f"blueprint/travelling/results/.cloud/given/{order.files[path]}"][0]
        assert content == (laptop.checkout / path).read_bytes()


def test_settings_without_a_profile_are_refused(laptop, service):
    (laptop.checkout / "mine").mkdir()
    (laptop.checkout / "profiles" / "vast" / "cloud.yaml").rename(laptop.checkout / "mine" / "cloud.yaml")
    done = laptop.run("--settings", "mine/cloud.yaml", "launch", *DEMO, "--without-audit", "--no-reaper")
    assert done.returncode == 1 and "there is no config.yaml beside it" in done.stdout
    assert not service.requests


@pytest.mark.parametrize("path", ["../outside.yaml", "/outside.yaml"])
def test_a_file_outside_the_checkout_is_not_laid(tmp_path, path):
    with pytest.raises(UserError, match="outside the checkout"):
        lay(replace(ORDER, files={path: sha256(b"").hexdigest()}), tmp_path, lambda name: b"")


def test_a_file_that_is_not_what_was_sent_is_not_laid(tmp_path):
    order = replace(ORDER, files={"config/mine.yaml": sha256(b"sent").hexdigest()})
    for content in (b"other", None):
        with pytest.raises(UserError, match=r"config/mine\.yaml: is not in the bucket as `launch` sent it"):
            lay(order, tmp_path, {f"{GIVEN}/{sha256(b'sent').hexdigest()}": content}.get)
    assert not list(tmp_path.iterdir())


def test_a_configuration_outside_the_repository_is_refused(laptop, service, tmp_path):
    shutil.copy(laptop.checkout / "config" / "config.yaml", tmp_path / "mine.yaml")
    done = laptop.run("launch", "--configfile", str(tmp_path / "mine.yaml"))
    assert done.returncode == 1 and "lies outside of" in done.stdout
    assert not service.instances


def test_an_unpushed_commit_is_refused(laptop, service):
    git(laptop.checkout, "commit", "-q", "--allow-empty", "-m", "more")
    done = laptop.run("launch")
    assert done.returncode == 1 and "Push it" in done.stdout
    assert not service.instances


@pytest.mark.parametrize(
    "address, message",
    [
        ("https://user:canary-password@git.example/x.git", "has credentials in it"),
        ("/srv/blueprint.git", "cannot be cloned"),
        ("https://127.0.0.1:1/x.git", "cannot be read without this computer's credentials"),
    ],
)
def test_an_address_a_machine_cannot_use_is_refused(laptop, service, address, message):
    done = laptop.run("launch", "--repository", address)
    assert done.returncode == 1 and message in done.stdout
    assert "canary" not in done.stdout
    assert not service.instances


@pytest.mark.parametrize("name", ["VAST_API_KEY", "B2_APPLICATION_KEY_ID", "B2_APPLICATION_KEY"])
def test_a_missing_secret_is_named_before_anything_is_rented(laptop, service, name):
    done = laptop.run("launch", **{name: ""})
    assert done.returncode == 1 and f"environment: {name}: not set" in done.stdout
    assert not service.requests


def test_the_example_bucket_and_a_placeholder_are_refused(laptop, service):
    laptop.write_settings(bucket="change-me-results", shutdown="echo stop")
    laptop.push()
    done = laptop.run("launch")
    assert (
        done.returncode == 1
        and "bucket: still the example" in done.stdout
        and "neither `stop` nor `destroy`" in done.stdout
    )
    assert not service.requests


def test_no_offer_is_said_with_the_conditions(laptop, service):
    service.offers = [offer(1, dph_total=50)]
    done = laptop.run("launch")
    assert done.returncode == 1 and "no machine on offer meets" in done.stdout


def test_scenes_go_through_the_bucket(laptop, service, b2):
    scene = laptop.checkout / "resources" / "scans" / "kitchen.ply"
    scene.parent.mkdir(parents=True)
    scene.write_bytes(b"ply")
    config = {"facilities": [{"name": "kitchen", "scene": "resources/scans/kitchen.ply"}]}
    (laptop.checkout / "config" / "mine.yaml").write_text(yaml.safe_dump(config))
    laptop.push()
    done = laptop.run("launch", "--configfile", "config/mine.yaml")
    assert done.returncode == 0, done.stdout
    assert b2.files()["blueprint/main/resources/scans/kitchen.ply"][0] == b"ply"
    (row,) = service.instances.values()
    assert dict(row["extra_env"])["BLUEPRINT_CONFIGFILE"] == "config/mine.yaml"
    laptop.run("stop")
    assert "Uploaded 0 of 1 scenes" in laptop.run("launch", "--configfile", "config/mine.yaml").stdout


@pytest.mark.parametrize(
    "scene, message", [("elsewhere/kitchen.ply", "below resources/"), ("resources/no.ply", "no such")]
)
def test_scenes_the_machine_would_not_find_are_refused(laptop, service, scene, message):
    if "elsewhere" in scene:
        (laptop.checkout / ".gitignore").write_text("elsewhere/\n")
        (laptop.checkout / "elsewhere").mkdir()
        (laptop.checkout / scene).touch()
    (laptop.checkout / "config" / "mine.yaml").write_text(
        yaml.safe_dump({"facilities": [{"name": "kitchen", "scene": scene}]})
    )
    laptop.push()
    done = laptop.run("launch", "--configfile", "config/mine.yaml")
    assert done.returncode == 1 and message in done.stdout
    assert not service.instances


def test_status_logs_stop(laptop, service):
    service.add_instance(9, label=label("main-2"))
    assert "has no instance" in laptop.run("status").stdout
    laptop.run("launch")
    number = max(service.instances)
    status = laptop.run("status").stdout
    assert str(number) in status and "canary" not in status
    assert " 9 " not in status and " 9 " in laptop.run("status", "--all").stdout
    service.logs[number] = "restoring results\n"
    assert laptop.run("logs").stdout == "restoring results\n"
    assert "is stopped. Its disk is kept" in laptop.run("stop").stdout
    assert service.status_of(number) == "exited"
    assert "is gone" in laptop.run("stop", str(number), "--destroy").stdout
    assert list(service.instances) == [9]


def test_several_machines_share_a_run(laptop, service, b2):
    done = laptop.run("launch", "--machines", "2")
    assert done.returncode == 0 and "2 of 2 machines share the run" in done.stdout
    assert "2 machines: 3.500 USD per hour" in done.stdout
    rows = [dict(row["extra_env"]) for row in service.instances.values()]
    assert len(rows) == 2 and rows[0][SHARE] == rows[1][SHARE] != ""
    orders = [Launch.from_text(row[VARIABLE]) for row in rows]
    assert len({order.label for order in orders}) == 2, "a record and an account each"
    assert {f"blueprint/main/{order.name}" for order in orders} <= b2.files().keys()
    assert "found 2 instances" in laptop.run("stop").stdout
    assert laptop.run("stop", "--every").returncode == 0
    assert {service.status_of(number) for number in service.instances} == {"exited"}


def test_status_shows_the_part_of_each_machine_and_one_budget_over_all(laptop, service, b2):
    """Also of a machine that is gone and of one of an earlier launch; what is shown is the newest launch."""
    laptop.write_settings(run_id="parts")
    store = store_of(cloud_settings.load(laptop.checkout / "profiles" / "vast" / "cloud.yaml", b2.environment()))
    earlier, one, two = (Claims(store, *names, 60.0) for names in (("a", "1-aa"), ("b", "2-bb"), ("b", "3-cc")))
    earlier.take("kitchen/old")
    b2.store(f"blueprint/parts/{CLAIMS}/a/kitchen/old/over/1-aa", b"{}", time.time() - 900)
    one.take("prepare")
    one.end("prepare")
    for name in ("first", "second"):
        one.take(f"kitchen/{name}")
    one.end("kitchen/first")
    two.take("kitchen/third")
    for name, hours in (("1-aa", 1), ("2-bb", 0.5)):
        account = Entry(name, 2.0, hours * 3600, hours * 2.0, 0.0, "2026-01-01T00:00:00", "2026-01-01T01:00:00")
        store.put(f"{LEDGER}/{name}.json", json.dumps(asdict(account)).encode())
    lines = laptop.run("status").stdout.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if re.match(r" *\d-", line)}
    assert rows == {
        "1-aa": ["0", "0", "1.00", "2.00"],
        "2-bb": ["2", "1", "kitchen/second", "0.50", "1.00"],
        "3-cc": ["1", "0", "kitchen/third", "0.00", "0.00"],
    }
    assert any("total 3.00 of 6.00" in line for line in lines)


@pytest.mark.parametrize("count", ["0", "3"])
def test_more_machines_than_are_on_offer_are_refused(laptop, service, count):
    done = laptop.run("launch", "--machines", count)
    assert done.returncode == 1 and f"--machines: found {count}; there are 2 offers" in done.stdout
    assert not service.instances


def test_one_machine_shares_with_nobody(laptop, service):
    laptop.run("launch")
    (row,) = service.instances.values()
    assert SHARE not in dict(row["extra_env"])


def test_status_as_json(laptop, service):
    service.add_instance(9, label=label("main"))
    (row,) = json.loads(laptop.run("status", "--json").stdout)
    assert row["id"] == 9 and row["state"] == "running" and "canary" not in str(row)


@pytest.mark.parametrize(
    ("seen", "lines", "new"), [([], "abc", "abc"), ("abc", "abc", ""), ("abc", "bcde", "de"), ("ab", "xy", "xy")]
)
def test_a_followed_log_repeats_no_line(seen, lines, new):
    assert vast.news(list(seen), list(lines)) == list(new)


def test_stop_without_a_name_needs_exactly_one(laptop, service):
    done = laptop.run("stop")
    assert done.returncode == 1 and "found 0 instances" in done.stdout


@pytest.mark.parametrize("watched", [False, True])
def test_pull_brings_results_and_overwrites_nothing_newer(laptop, b2, tmp_path, watched):
    machine = tmp_path / "machine"
    for name, text in (("report.html", "from the machine"), ("summary.csv", "old")):
        (machine / "results").mkdir(parents=True, exist_ok=True)
        (machine / "results" / name).write_text(text)
        os.utime(machine / "results" / name, (1e9, 1e9))
    settings = cloud_settings.load(laptop.checkout / "profiles" / "vast" / "cloud.yaml", b2.environment())
    Bucket(settings, machine).upload(scan(machine).files)
    (laptop.checkout / "results").mkdir()
    (laptop.checkout / "results" / "summary.csv").write_text("newer")
    done = laptop.run("pull", *(["--watch"] if watched else []))
    assert done.returncode == 0, done.stdout
    assert (laptop.checkout / "results" / "report.html").read_text() == "from the machine"
    assert (laptop.checkout / "results" / "summary.csv").read_text() == "newer"


def test_no_key_is_on_a_command_line_or_in_a_file(laptop, service, b2):
    service.change_delay_s = 0.5
    process = psutil.Popen(
        [sys.executable, str(SCRIPTS / "vast.py"), "launch", "--without-audit", "--no-reaper", *DEMO],
        cwd=laptop.checkout,
        env=laptop.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    seen = set()
    while process.poll() is None:
        for child in [process, *process.children(recursive=True)]:
            try:
                seen.update(child.cmdline())
            except psutil.Error:
                continue
    assert process.returncode == 0 and len(seen) > 3
    assert not [argument for argument in seen if "canary" in argument]
    canaries = [b"canary-vast", b"canary-hf", b"canary-b2", b"canary-git", base64.b64encode(b"canary-vast-key")]
    for path in laptop.checkout.parent.rglob("*"):
        assert not path.is_file() or not any(canary in path.read_bytes() for canary in canaries), path


def test_a_launch_is_recorded_before_it_is_paid_for_and_ends_at_a_deadline(laptop, service, b2):
    service.fail(1, 503, matching="PUT /api/v0/asks/")
    assert laptop.run("launch").returncode == 1  # the answer was lost, and there is no such instance
    records = [name for name in b2.files() if "/launches/" in name]
    before = time.time()
    done = laptop.run("launch")
    assert done.returncode == 0 and "at the latest" in done.stdout
    (row,) = service.instances.values()
    name = f"blueprint/main/results/.cloud/launches/{row['label']}.json"
    assert records and name not in records
    order = Launch.from_text(b2.files()[name][0])
    assert order == Launch.from_text(dict(row["extra_env"])["BLUEPRINT_LAUNCH"])
    # A budget of 6 US dollars at 1.5 per hour: four hours, then grace, final copy and a margin.
    assert order.max_hours == pytest.approx(4.0)
    assert order.deadline_s - before == pytest.approx(4 * 3600 + 300 + order.finish_s + 900, abs=60)
    (job,) = service.scheduled
    assert job["start_time"] == order.deadline_s and job["instance_id"] == row["id"]
    assert run_of(laptop.loaded(), row["label"]) == "main"


def test_what_earlier_machines_have_spent_shortens_the_deadline(laptop, service, b2):
    laptop.write_settings(run_id="spent")
    laptop.push()
    entry = Entry("5-0a0b0c0d", 2.0, 5400.0, 3.0, 0.0, "", "")
    b2.store("blueprint/spent/results/.cloud/ledger/5-0a0b0c0d.json", json.dumps(asdict(entry)).encode())
    assert laptop.run("launch").returncode == 0
    (row,) = service.instances.values()
    assert Launch.from_text(dict(row["extra_env"])["BLUEPRINT_LAUNCH"]).max_hours == pytest.approx(2.0)


def test_without_a_reaper_nothing_is_rented_unless_that_is_meant(laptop, service, b2):
    b2.store("blueprint/reaper.json", json.dumps({"at_s": time.time() - 90_000}).encode())
    done = laptop.run("launch", reaped=True)
    assert done.returncode == 1 and "--no-reaper" in done.stdout and "25 h ago" in done.stdout
    assert not service.count("PUT /api/v0/asks/")
    assert laptop.run("reap").returncode == 0
    assert laptop.run("launch", reaped=True).returncode == 0


def test_vast_s_scheduler_may_fail(laptop, service):
    service.fail(1, 400, matching="schedule_job")
    done = laptop.run("launch")
    assert done.returncode == 0
    assert service.instances and not service.scheduled


def test_brackets_in_vast_s_words_are_shown_as_they_are(laptop, service):
    service.add_instance(9, label=label("main"), status_msg="[error] [/bold] [x")
    done = laptop.run("status")
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("[error]", "[/bold]", "[x"))  # a narrow table folds them


@pytest.mark.parametrize("example", sorted((REPOSITORY / "config/examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_can_be_launched_once_its_scans_are_there(laptop, service, example):
    shutil.copy(example, laptop.checkout / "config" / "mine.yaml")
    for facility in yaml.safe_load(example.read_text())["facilities"]:
        if not facility["scene"].startswith("resources/demo/"):
            (laptop.checkout / facility["scene"]).parent.mkdir(parents=True, exist_ok=True)
            (laptop.checkout / facility["scene"]).write_bytes(b"ply")
    laptop.push()
    done = laptop.run("launch", "--dry-run", "--configfile", "config/mine.yaml")
    assert done.returncode == 0 and "nothing was rented" in done.stdout, done.stdout
