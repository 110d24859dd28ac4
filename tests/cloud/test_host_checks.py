"""The table of host checks: all green on a sound host, and each check red alone when only its own matter is wrong."""

import copy
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.constants
import pytest

from blueprint import config as configuration
from blueprint.checks import Check
from blueprint.cloud import b2 as b2_client
from blueprint.cloud import host_checks
from blueprint.cloud import settings as cloud_settings
from blueprint.engines import ENGINES
from blueprint.errors import UserError
from blueprint.train.trainers import TRAINERS
from loopback_b2 import LoopbackB2
from loopback_vast import LoopbackVast
from workflow_runs import SCRIPTS, clean_environment

NUMBER = 42
CANARIES = ("canary-vast-key", "canary-hf-token")
SMI = '#!/bin/sh\necho "0, NVIDIA H100 NVL, {driver}, 95830, {used}"\n'


@pytest.fixture(scope="module")
def b2():
    with LoopbackB2() as running:
        yield running


@pytest.fixture
def service(monkeypatch):
    with LoopbackVast() as running:
        monkeypatch.setenv("VAST_URL", running.url)
        running.add_instance(NUMBER)
        yield running


@pytest.fixture
def hub(monkeypatch):
    """A Hugging Face hub that grants access to all but the repositories in the set it yields."""
    gated = set()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            refused = any(repository in self.path for repository in gated)
            self.send_response(403 if refused else 200)
            if refused:
                self.send_header("X-Error-Code", "GatedRepo")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield gated
    server.shutdown()
    server.server_close()


def put_gpu(folder, driver="580.95.05", used=500):
    path = folder / "bin" / "nvidia-smi"
    path.parent.mkdir(exist_ok=True)
    path.write_text(SMI.format(driver=driver, used=used))
    path.chmod(0o755)


@pytest.fixture
def host(tmp_path, monkeypatch, b2, service, hub):
    """A sound host: settings, configuration and folder that pass every check."""
    put_gpu(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(host_checks, "CGROUP_LIMIT", tmp_path / "memory.max")
    for name in ENGINES:
        monkeypatch.setattr(ENGINES[name], "ram_gb", 0.1)
        monkeypatch.setattr(ENGINES[name], "weights_gb", 0.0)
    monkeypatch.setattr(host_checks, "environments_of", lambda _: set())
    path = tmp_path / "cloud.yaml"
    path.write_text(f"{{bucket: {b2.bucket}, endpoint: '{b2.endpoint}', max_cost_usd: 5, vast: {{patience_s: 1}}}}")
    environ = {
        "B2_APPLICATION_KEY_ID": b2.key_id,
        "B2_APPLICATION_KEY": b2.application_key,
        "VAST_API_KEY": service.key,
        "HF_TOKEN": "canary-hf-token",
        "VAST_INSTANCE_ID": str(NUMBER),
    }
    settings = cloud_settings.load(path, environ, tmp_path / "none")
    config = configuration.complete(
        {
            "facilities": [{"name": "kitchen", "scene": "resources/demo/kitchen.ply"}],
            "enrich": {
                "engine": "cosmos-transfer2.5",
                "variants": [{"name": "evening", "prompt": "a kitchen at dusk"}],
            },
        },
        "test",
    )
    return settings, config, tmp_path / "results"


def failures(checks):
    return [check.name for check in checks if check.result == "fail"]


def test_a_sound_host_passes(host, b2, capsys):
    checks = host_checks.run(*host)
    assert failures(checks) == []
    assert {check.name.partition(":")[0] for check in checks} == {
        *(
            "GPU",
            "driver",
            "GPU memory",
            "disk",
            "RAM",
            "Hugging Face",
            "B2",
            "clock",
            "Vast",
            "hourly rate",
            "shutdown",
        ),
    }
    host_checks.refuse_failures(checks)
    assert not any(canary in capsys.readouterr().err for canary in CANARIES)
    assert not b2.files(), "the probe is still there"


def test_no_gpu(host, tmp_path):
    (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    assert failures(host_checks.run(*host)) == ["GPU"]


def test_old_driver(host, tmp_path):
    put_gpu(tmp_path, driver="570.124.06")
    assert failures(host_checks.run(*host)) == ["driver"]


def test_full_gpu(host, tmp_path):
    put_gpu(tmp_path, used=60000)
    assert failures(host_checks.run(*host)) == ["GPU memory"]


def test_small_disk(host):
    settings, config, root = host
    config = copy.deepcopy(config)
    config["render"]["frames"] = 10**12
    assert failures(host_checks.run(settings, config, root)) == ["disk"]


def test_little_memory(host, tmp_path):
    (tmp_path / "memory.max").write_text("1000000\n")
    assert failures(host_checks.run(*host)) == ["RAM"]


def test_unlimited_cgroup(host, tmp_path):
    (tmp_path / "memory.max").write_text("max\n")
    assert failures(host_checks.run(*host)) == []


def test_licence_not_accepted(host, hub):
    hub.add("nvidia/Cosmos-Transfer2.5-2B")
    checks = host_checks.run(*host)
    assert failures(checks) == ["Hugging Face: nvidia/Cosmos-Transfer2.5-2B"]


@pytest.mark.parametrize("change", [{"key_id": None}, {"application_key": "canary-vast-key"}, {"bucket": "not-there"}])
def test_bucket_that_cannot_be_written(host, change):
    settings, config, root = host
    checks = host_checks.run(replace(settings, **change), config, root)
    assert failures(checks) == ["B2"]
    assert not any(canary in check.evidence + check.remedy for check in checks for canary in CANARIES)


def test_key_that_may_only_read(host, b2):
    settings, config, root = host
    key_id, key = b2.create_key(["listBuckets", "listFiles", "readFiles"])
    assert failures(host_checks.run(replace(settings, key_id=key_id, application_key=key), config, root)) == ["B2"]


def test_key_that_may_not_delete_is_enough(host, b2):
    settings, config, root = host
    key_id, key = b2.create_key(["listBuckets", "listFiles", "readFiles", "writeFiles"])
    assert failures(host_checks.run(replace(settings, key_id=key_id, application_key=key), config, root)) == []


@pytest.mark.parametrize("change", [{"instance_id": 43}, {"vast_api_key": "wrong"}, {"instance_id": None}])
def test_instance_that_nobody_could_end(host, change):
    settings, config, root = host
    settings = replace(settings, rate_usd_per_h=2.0, **change)
    assert failures(host_checks.run(settings, config, root)) == ["Vast"]


def test_budget_without_a_rate(host, service):
    service.instances[NUMBER]["dph_total"] = None
    assert failures(host_checks.run(*host)) == ["hourly rate"]


@pytest.mark.parametrize("amount", [0, -1])
def test_no_budget_needs_no_rate(host, service, amount):
    settings, config, root = host
    service.instances[NUMBER]["dph_total"] = None
    assert failures(host_checks.run(replace(settings, max_cost_usd=amount), config, root)) == []


def test_placeholder_shutdown(host):
    settings, config, root = host
    assert failures(host_checks.run(replace(settings, shutdown="echo stop"), config, root)) == ["shutdown"]


def test_all_failures_are_in_one_table(host, tmp_path, capsys):
    settings, config, root = host
    put_gpu(tmp_path, driver="470.1", used=90000)
    settings = replace(settings, shutdown="true", key_id=None, vast_api_key=None)
    checks = host_checks.run(settings, config, root)
    assert set(failures(checks)) == {"driver", "GPU memory", "B2", "Vast", "hourly rate", "shutdown"}
    assert all(check.remedy for check in checks if check.result != "ok")
    with pytest.raises(UserError, match="6 of"):
        host_checks.refuse_failures(checks)
    printed = capsys.readouterr().err
    assert all(name in printed for name in failures(checks))


def test_the_photometric_engine_needs_neither_gpu_nor_token(host, tmp_path):
    settings, config, root = host
    (tmp_path / "bin" / "nvidia-smi").unlink()
    config = configuration.complete({"facilities": config["facilities"]}, "test")
    checks = host_checks.run(replace(settings, hf_token=None), config, root)
    assert failures(checks) == []
    assert [check.result for check in checks if check.name in ("GPU", "Hugging Face")] == ["skip", "skip"]


def test_a_training_is_checked_like_an_engine(host, hub, tmp_path, monkeypatch):
    """Its card, memory, weights and licences, though the clips need none."""
    settings, config, root = host
    config = {"facilities": config["facilities"], "train": {"engine": "dreamdojo"}}
    config = configuration.complete(config, "test")
    trained = TRAINERS["dreamdojo"]
    assert host_checks.disk_needed_gb(config, root) > trained.weights_gb
    hub.add(trained.repositories[0].id)
    put_gpu(tmp_path, used=95830 - 70 * 1024)
    monkeypatch.setitem(TRAINERS, "dreamdojo", replace(trained, ram_gb=1e6, weights_gb=0.0))
    checks = host_checks.run(settings, config, root)
    assert failures(checks) == ["GPU memory", "RAM", f"Hugging Face: {trained.repositories[0].id}"]
    assert "dreamdojo needs 1000000.0 GB" in next(check.evidence for check in checks if check.name == "RAM")


def test_products_that_are_there_need_no_room(host):
    _, config, root = host
    before = host_checks.disk_needed_gb(config, root)
    for name in ("clips/orbit/rgb.mp4", "clips/orbit/depth.mp4", "clips/orbit/depth.npz", "enriched/orbit/evening.mp4"):
        path = root / "kitchen" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    pixels = 640 * 480 * 93
    assert before - host_checks.disk_needed_gb(config, root) == pytest.approx(pixels * (5 + 3 * 0.5) / 1e9)


ENVIRONMENTS_OF = host_checks.environments_of


def test_environments_need_room_until_they_are_there(host, tmp_path, monkeypatch):
    _, config, root = host
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(host_checks, "environments_of", ENVIRONMENTS_OF)
    before = host_checks.disk_needed_gb(config, root)
    (tmp_path / "bin" / "conda").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "conda").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert host_checks.disk_needed_gb(config, root) == pytest.approx(before + 40)
    Path(".snakemake/conda").mkdir(parents=True)
    for name in ("a_", "b_", "c_"):
        Path(f".snakemake/conda/{name}.env_setup_done").touch()
    assert host_checks.disk_needed_gb(config, root) == pytest.approx(before)


def test_a_local_run_looks_at_the_machine_only(host):
    _, config, root = host
    names = {check.name for check in host_checks.run(None, config, root)}
    assert not names & {"B2", "Vast", "hourly rate", "shutdown"}


def test_the_program_prints_the_table_and_fails(tmp_path):
    (tmp_path / "cloud.yaml").write_text("bucket: some-bucket\n")
    config = configuration.complete({"facilities": [{"name": "k", "scene": "resources/demo/kitchen.ply"}]}, "test")
    done = subprocess.run(
        [
            *(sys.executable, SCRIPTS / "host_checks.py", "--settings", "cloud.yaml"),
            *("--results", "results", "--config", json.dumps(config)),
        ],
        cwd=tmp_path,
        env={**clean_environment(), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    for text in ("B2_APPLICATION_KEY", "VAST_API_KEY", "VAST_INSTANCE_ID", "host checks failed (B2, Vast)"):
        assert text in done.stderr
    assert list(Path(tmp_path).iterdir()) == [tmp_path / "cloud.yaml"]


@pytest.mark.parametrize("offset_s, result", [(0, "ok"), (250, "ok"), (-250, "ok"), (86_400, "fail"), (-400, "fail")])
def test_a_clock_that_is_off_is_refused_and_the_tolerance_is_stated(host, monkeypatch, offset_s, result):
    settings, *_ = host
    monkeypatch.setattr(b2_client, "time", SimpleNamespace(time=lambda: time.time() + offset_s))
    try:
        (check,) = host_checks._clock(settings)
    except UserError as error:
        check = Check("clock", "fail", str(error))
    assert check.result == result and "300 s allowed" in check.evidence
    assert offset_s == 0 or ("ahead of" if offset_s > 0 else "behind") in check.evidence
