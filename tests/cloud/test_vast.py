"""The real `vastai` client against a service that behaves, and misbehaves, like Vast's."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from blueprint.cloud import offers, vast
from blueprint.cloud import settings as cloud_settings
from blueprint.errors import UserError
from cloud_runs import wait_until
from loopback_vast import LoopbackVast, offer

ROOT = Path(__file__).resolve().parents[2]
NUMBER = 42
TOUCH = shutil.which("touch")


@pytest.fixture
def service(monkeypatch):
    with LoopbackVast() as running:
        monkeypatch.setenv("VAST_URL", running.url)
        running.add_instance(NUMBER)
        yield running


@pytest.fixture
def settings(service, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "cloud.yaml"
    path.write_text("bucket: some-bucket\nvast: {patience_s: 3, gpu_names: [H100 NVL], max_usd_per_h: 2.5}\n")
    environ = {"VAST_API_KEY": service.key, "VAST_INSTANCE_ID": str(NUMBER)}
    return cloud_settings.load(path, environ, tmp_path / "none")


def machine(settings, **values):
    return replace(settings, machine={**settings.machine, **values})


def test_rate_comes_from_vast_unless_it_is_set(settings):
    assert vast.rate_usd_per_h(settings) == 2.0
    assert vast.rate_usd_per_h(replace(settings, rate_usd_per_h=0.5)) == 0.5


@pytest.mark.parametrize("price", [None, 0, float("inf")])
def test_no_rate_is_an_error_that_names_the_setting(service, settings, price):
    service.instances[NUMBER]["dph_total"] = price
    with pytest.raises(UserError, match="rate_usd_per_h"):
        vast.rate_usd_per_h(settings)


@pytest.mark.parametrize(
    "actual, intended, state",
    [
        (None, "running", "provisioning"),
        ("loading", "running", "loading"),
        ("running", "running", "running"),
        ("running", "stopped", "stopping"),
        ("exited", "stopped", "stopped"),
        ("stopped", "stopped", "stopped"),
        ("exited", "running", "paused"),
        ("offline", "running", "offline"),
    ],
)
def test_states(service, settings, actual, intended, state):
    service.instances[NUMBER].update(actual_status=actual, intended_status=intended)
    assert vast.state(settings) == state


def test_an_instance_that_does_not_exist_is_gone(settings):
    assert vast.state(replace(settings, instance_id=43)) == "gone"


@pytest.mark.parametrize("mode, state, left", [("stop", "stopped", "exited"), ("destroy", "gone", None)])
def test_shutdown_returns_once_the_state_has_changed(service, settings, mode, state, left):
    assert vast.shutdown(settings, mode) == state
    assert service.status_of(NUMBER) == left


def test_shutdown_does_what_the_settings_say(service, settings):
    assert vast.shutdown(replace(settings, shutdown="destroy")) == "gone"


@pytest.mark.parametrize("mode", ["stop", "destroy"])
def test_an_instance_that_was_never_seen_is_not_taken_for_ended(settings, mode):
    with pytest.raises(UserError, match="knows no instance 43") as caught:
        vast.shutdown(replace(settings, instance_id=43), mode)
    assert "COSTS MONEY" in str(caught.value)


def test_an_instance_that_goes_while_it_is_ended_is_ended(service, settings):
    service.fail(1, None, after_effect=True, matching="DELETE")
    service.change_delay_s = 0.0
    assert vast.shutdown(settings, "destroy") == "gone"


def test_vast_itself_stops_the_machine_at_its_deadline(service, settings):
    vast.schedule_stop(settings, NUMBER, 1.7e9)
    (job,) = service.scheduled
    assert (job["instance_id"], job["start_time"], job["frequency"]) == (NUMBER, 1.7e9, "HOURLY")
    service.run_scheduled(1.7e9 - 1)
    assert service.status_of(NUMBER) == "running"
    service.run_scheduled(1.7e9 + 1)
    wait_until(lambda: service.status_of(NUMBER) == "exited")


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_shutdown_survives_transient_refusals(service, settings, status):
    service.fail(3, status)
    assert vast.shutdown(settings, "stop") == "stopped"


def test_retry_after_is_honoured(service, settings, caplog):
    service.fail(1, 429, retry_after="1")  # longer than any pause that this patience would choose itself
    assert vast.state(settings) == "running"
    assert "HTTP 429; asking again in 1.0 s" in caplog.text


def test_shutdown_survives_dropped_connections(service, settings):
    service.fail(2, None)
    service.fail(2, None, after_effect=True)
    assert vast.shutdown(settings, "stop") == "stopped"


def test_shutdown_outlasts_an_outage(service, settings):
    service.down_for(1.2)  # scaled: 120 s of an outage to 300 s of patience
    assert vast.shutdown(settings, "stop") == "stopped"


def test_an_outage_longer_than_the_patience_is_reported(service, settings):
    service.down_for(60)
    with pytest.raises(UserError, match="STILL COSTS MONEY") as caught:
        vast.shutdown(machine(settings, patience_s=0.5), "stop")
    assert "accepted 0 times" in str(caught.value)


@pytest.mark.parametrize("mode, ignored", [("stop", "stopped"), ("destroy", "destroyed")])
def test_accepted_but_never_done_is_reported(service, settings, mode, ignored):
    service.ignored_states.add(ignored)
    with pytest.raises(UserError, match="state is still 'running'") as caught:
        vast.shutdown(machine(settings, patience_s=0.5), mode)
    assert "STILL COSTS MONEY" in str(caught.value) and str(NUMBER) in str(caught.value)
    assert service.count(r"(PUT|DELETE) /api/v0/instances/42/") >= 2


def test_a_stopped_instance_is_not_a_destroyed_one(service, settings):
    service.instances[NUMBER].update(actual_status="exited", intended_status="stopped")
    assert vast.shutdown(settings, "destroy") == "gone"
    assert service.status_of(NUMBER) is None


def test_a_refused_key_is_said_at_once_and_not_shown(service, settings, caplog):
    with pytest.raises(UserError, match="VAST_API_KEY") as caught:
        vast.shutdown(replace(settings, vast_api_key="canary-wrong"), "stop")
    assert "STILL COSTS MONEY" in str(caught.value)
    assert "canary" not in str(caught.value) + caplog.text
    assert service.count("") == 1


def test_a_missing_key_and_a_missing_instance_are_named(settings):
    with pytest.raises(UserError, match="VAST_API_KEY: not set"):
        vast.state(replace(settings, vast_api_key=None))
    with pytest.raises(UserError, match="VAST_INSTANCE_ID: not set"):
        vast.state(replace(settings, instance_id=None))


def test_a_shutdown_command_is_confirmed_by_the_state(service, settings, tmp_path):
    service.instances[NUMBER].update(actual_status="exited", intended_status="stopped")
    marker = tmp_path / "ended"
    assert vast.shutdown(replace(settings, shutdown=f"{TOUCH} {marker}")) == "stopped"
    assert marker.exists()


def test_a_shutdown_command_that_changes_nothing_is_reported(settings):
    with pytest.raises(UserError, match="STILL COSTS MONEY"):
        vast.shutdown(machine(replace(settings, shutdown="/bin/true"), patience_s=0.3))


def test_a_shutdown_command_on_a_machine_that_is_not_vast_s_is_unconfirmed(settings):
    assert vast.shutdown(replace(settings, shutdown="/bin/true", instance_id=None)) == "unconfirmed"
    with pytest.raises(UserError, match=r"failed \(1\).*STILL COSTS MONEY"):
        vast.shutdown(replace(settings, shutdown="/bin/false", instance_id=None))
    with pytest.raises(UserError, match=r"cannot be run.*STILL COSTS MONEY"):
        vast.shutdown(replace(settings, shutdown="/no/such/program", instance_id=None))


def test_offers_meet_every_condition_and_come_cheapest_first(service, settings):
    service.offers = [
        offer(1, dph_total=2.2),
        offer(2, dph_total=1.9),
        offer(3, dph_total=2.6),
        offer(4, gpu_name="RTX 4090"),
        offer(5, gpu_ram=48000),
        offer(6, reliability=0.9),
        offer(7, disk_space=50),
        offer(8, inet_down=10),
        offer(9, driver_vers=535086005),
        offer(10, num_gpus=2),
        offer(11, rentable=False),
        offer(12, verified=False),
    ]
    assert [found.id for found in offers.find_offers(settings)] == [2, 1]


def test_filters_that_vast_ignores_are_applied_here(service, settings, monkeypatch):
    service.offers = [offer(1), offer(2, gpu_ram=48000), offer(3, dph_total=9), offer(4, driver_vers=1)]
    monkeypatch.setattr(service, "matches", lambda row, query: True)
    assert [found.id for found in offers.find_offers(settings)] == [1]


def test_an_interruptible_offer_is_bid_for(service, settings):
    service.offers = [offer(1, min_bid=1.0), offer(2, min_bid=0.5, dph_total=9.0), offer(3, min_bid=2.4)]
    found = offers.find_offers(machine(settings, interruptible=True, bid_factor=1.2))
    assert [(entry.id, entry.rate_usd_per_h) for entry in found] == [(2, 0.6), (1, 1.2)]
    assert service.requests[-1].body["type"] == "bid"


def create(settings):
    label = "blueprint-main-00000a0b0c0d"
    number = offers.create_instance(settings, offers.find_offers(settings)[0], label, {"HF_TOKEN": "canary"}, "true")
    return number, label


def test_renting_returns_the_instance(service, settings):
    service.offers = [offer(1)]
    number, label = create(settings)
    assert service.instances[number]["label"] == label
    assert service.instances[number]["extra_env"] == [("HF_TOKEN", "canary")]


def test_renting_is_not_repeated_when_the_answer_is_lost(service, settings):
    service.offers = [offer(1)]
    service.fail(1, None, after_effect=True, matching="PUT /api/v0/asks/")
    number, label = create(settings)
    assert service.instances[number]["label"] == label
    assert service.count("PUT /api/v0/asks/") == 1 and len(service.instances) == 2


def test_renting_that_never_arrived_is_said(service, settings):
    service.offers = [offer(1)]
    service.fail(1, 502, matching="PUT /api/v0/asks/")
    with pytest.raises(UserError, match="was not rented"):
        create(settings)
    assert list(service.instances) == [NUMBER]


def test_renting_what_somebody_else_took_is_said(service, settings):
    service.offers = [offer(1)]
    chosen = offers.find_offers(settings)[0]
    service.offers = []
    with pytest.raises(UserError, match="no longer there"):
        offers.create_instance(settings, chosen, "label", {}, "true")


def test_a_rejected_request_is_explained(service, settings):
    service.offers = [offer(1)]
    service.fail(1, 400, matching="PUT /api/v0/asks/")
    with pytest.raises(UserError, match="HTTP 400"):
        create(settings)


def test_logs(service, settings):
    service.logs[NUMBER] = "line\n"
    assert vast.logs(settings, NUMBER, 10) == "line\n"
    with pytest.raises(UserError, match="no log of instance 43"):
        vast.logs(settings, 43, 10)


def test_listing_leaves_the_environment_out(service, settings):
    service.instances[NUMBER]["extra_env"] = [["HF_TOKEN", "canary"]]
    found = vast.list_instances(settings)
    assert [instance.id for instance in found] == [NUMBER]
    assert "canary" not in repr(found)


def test_the_sdk_writes_no_key_to_the_home_folder(service, settings, tmp_path):
    code = (
        "import sys; from pathlib import Path; from blueprint.cloud import settings, vast;"
        f"print(vast.state(settings.load(Path({settings.source!r}), runtime_env=Path('none'))))"
    )
    environ = {
        "HOME": str(tmp_path),
        "VAST_URL": service.url,
        "VAST_API_KEY": service.key,
        "VAST_INSTANCE_ID": str(NUMBER),
        "PYTHONPATH": str(ROOT / "workflow" / "scripts"),
    }
    done = subprocess.run([sys.executable, "-c", code], env=environ, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "running\n", done.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if service.key.encode() in path.read_bytes()]
    assert service.key not in done.stderr
