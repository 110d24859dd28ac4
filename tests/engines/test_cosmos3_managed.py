"""The servers of Cosmos 3 that the workflow starts: real processes behind a stand-in for vLLM-Omni's program."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from blueprint import config as configuration
from blueprint.cloud.host_checks import disk_needed_gb, vram_needed_gb
from blueprint.engines import engine
from blueprint.engines.base import PlannedClip
from blueprint.engines.cosmos3 import keeper
from blueprint.engines.cosmos3 import server as client
from blueprint.engines.cosmos3.memory import FIGURES
from blueprint.engines.job import enrich
from blueprint.engines.variants import clip_spec
from blueprint.errors import UserError
from rendered_clips import clip_in, write_clip
from workflow_runs import SCRIPTS, snakemake, write_config

DOUBLE = Path(__file__).parent / "doubles" / "vllm.py"
TESTS = Path(__file__).parents[1]
COMMIT = "a" * 40
PATIENCE_S = 60


def program(folder, name, text):
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """One H100, `vllm` on PATH, and a temporary folder of this test's own."""
    tools, temporary = tmp_path / "tools", tmp_path / "tmp"
    tools.mkdir()
    temporary.mkdir()
    program(tools, "nvidia-smi", "#!/bin/sh\necho '0, NVIDIA H100 80GB HBM3, 570.124.06, 81559, 500'\n")
    python = f"PYTHONPATH={TESTS}:{SCRIPTS} exec {sys.executable}"
    program(tools, "vllm", f'#!/bin/sh\n{python} {DOUBLE} "$@"\n')
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("VLLM_LOG", str(tmp_path / "vllm.log"))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(client, "POLL_S", 0.1)
    yield tmp_path
    monkeypatch.setattr("tempfile.tempdir", None)


@pytest.fixture
def run_process(machine, monkeypatch):
    """What stands for the Snakemake of a run: servers end with it."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    monkeypatch.setenv("BLUEPRINT_RUN", f"{socket.gethostname()}:{process.pid}")
    yield process
    process.kill()
    process.wait()
    wait_until(lambda: not alive(machine))


def planned(names=("rain",), **given):
    variants = [{"name": name, "prompt": f"a hall in {name}"} for name in names]
    managed = {"server": "managed", "revision": COMMIT, "resolution": "256", **given}
    whole = configuration.complete(
        {
            "facilities": [{"name": "hall", "scene": "scan.ply"}],
            "enrich": {"engine": "cosmos3", "variants": variants, **managed},
        },
        "my.yaml",
    )
    return whole, PlannedClip("orbit", whole["facilities"][0], 96, 64, 4)


def run(clip, folder, names=("rain",), **given):
    whole, about = planned(names, **given)
    facts = engine("cosmos3").machine(whole["enrich"])
    spec = clip_spec(whole["enrich"], about)
    return enrich(clip, spec, "code", folder, folder / "scratch", gpus=1, machine=facts)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return clip_in(write_clip(tmp_path_factory.mktemp("clip"), frames=4))


def started(folder):
    log = folder / "vllm.log"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def alive(folder):
    """The servers that live, as processes."""
    return [server["process"] for server in started(folder) if psutil.pid_exists(server["process"])]


def wait_until(true):
    until = time.monotonic() + PATIENCE_S
    while not true() and time.monotonic() < until:
        time.sleep(0.1)
    assert true()


def test_jobs_of_a_run_share_a_server_that_ends_with_the_run(clip, machine, run_process):
    assert run(clip, machine / "one") == ["rain"]
    assert run(clip, machine / "two", ("snow", "fog"), disable_guardrails=True) == ["snow", "fog"]
    (server,) = started(machine)
    assert alive(machine) == [server["process"]], "it outlives the jobs"
    assert (server["host"], server["gpu"], server["revision"]) == ("127.0.0.1", "0", COMMIT)
    assert server["no_guardrails"] and server["omni"] and not server["enable_layerwise_offload"]
    record = json.loads((machine / "one" / "rain.json").read_text())
    assert record["model"] == {"name": "nvidia/Cosmos3-Nano", "commit": COMMIT}
    assert record["run"]["vllm"] == "0.30.0"
    run_process.send_signal(signal.SIGKILL)
    wait_until(lambda: not alive(machine))
    wait_until(lambda: not [*(machine / "tmp").glob("blueprint-servers-*")])


def test_a_server_that_is_killed_in_a_variant_comes_back_and_makes_it(clip, machine, run_process, monkeypatch):
    monkeypatch.setenv("VLLM_MODE", "dies")
    monkeypatch.setattr(client, "LOST_S", 0.2)
    assert run(clip, machine / "out", ("rain", "snow")) == ["rain", "snow"]
    first, second = started(machine)
    assert first["process"] != second["process"]
    assert first["port"] == second["port"]


def test_a_server_that_does_not_start_is_given_up_with_the_end_of_its_log(clip, machine, run_process, monkeypatch):
    monkeypatch.setenv("VLLM_MODE", "broken")
    with pytest.raises(UserError, match=r"died 4 times.*exited with 1(.|\n)*the driver is too old for this build"):
        run(clip, machine / "out")
    assert len(started(machine)) == keeper.RESTARTS + 1
    with pytest.raises(UserError, match="died 4 times"):
        run(clip, machine / "other")
    assert len(started(machine)) == keeper.RESTARTS + 1, "later jobs of the run are told the same, at once"


@pytest.mark.slow
def test_a_server_that_is_never_ready_is_given_up(clip, machine, run_process, monkeypatch):
    monkeypatch.setenv("VLLM_MODE", "loading")
    with pytest.raises(UserError, match=r"not ready within 0\.05 min \(`enrich.start_min`\)"):
        run(clip, machine / "out", start_min=0.05)
    wait_until(lambda: not alive(machine))


@pytest.mark.slow
def test_a_killed_keeper_takes_its_server_along_and_the_next_job_starts_another(clip, machine, run_process):
    run(clip, machine / "one")
    parent = psutil.Process(alive(machine)[0]).parent()
    parent.kill()
    wait_until(lambda: not alive(machine))
    assert run(clip, machine / "two", ("snow",)) == ["snow"]
    assert len(started(machine)) == 2


@pytest.mark.parametrize(
    ("version", "said"), [("0.29.1", r"vllm is vLLM 0\.29\.1"), ("", r"names no version"), (None, r"no program vllm")]
)
def test_another_program_is_refused_before_a_model_is_loaded(clip, machine, run_process, monkeypatch, version, said):
    if version is None:
        (machine / "tools" / "vllm").unlink()
        monkeypatch.setenv("PATH", str(machine / "tools"))
    monkeypatch.setenv("VLLM_VERSION", version or "")
    with pytest.raises(UserError, match=said):
        run(clip, machine / "out")
    with pytest.raises(UserError, match=said):
        engine("cosmos3").host_checks(planned()[0]["enrich"])
    assert not started(machine)


def test_a_card_that_is_too_small_holds_layers_in_memory_or_is_refused(clip, machine, run_process):
    card = "#!/bin/sh\necho '0, NVIDIA L40S, 570.124.06, 46068, 500'\n"
    program(machine / "tools", "nvidia-smi", card)
    with pytest.raises(UserError, match=r"68\.7\d* GB needed, 47\.8 of 48\.3 GB free"):
        run(clip, machine / "out", offload="never")
    assert not started(machine)


@pytest.mark.slow
def test_layers_stay_in_memory_where_the_card_is_too_small(clip, machine, run_process):
    program(machine / "tools", "nvidia-smi", "#!/bin/sh\necho '0, NVIDIA L40S, 570.124.06, 46068, 500'\n")
    run(clip, machine / "out", quantization="fp8")
    (server,) = started(machine)
    assert server["enable_layerwise_offload"] and server["quantization"] == "fp8"


def test_rule_starts_one_server_for_two_jobs_side_by_side(machine):
    project = machine / "project"
    for name in ("orbit", "sweep"):
        write_clip(project / "results" / "hall" / "clips" / name, frames=4)
    marker = project / "results" / "preflight" / "cosmos3.json"
    marker.parent.mkdir()
    marker.write_text('{"lock": {}}')
    settings = {"server": "managed", "revision": COMMIT, "resolution": "256"}
    variants = [{"name": "rain", "prompt": "a hall in rain"}]
    config = write_config(
        project,
        {
            "facilities": [{"name": "hall", "scene": "resources/demo/kitchen.ply"}],
            "clips": [{"name": name, "path": name} for name in ("orbit", "sweep")],
            "enrich": {"engine": "cosmos3", "variants": variants, **settings},
        },
    )
    targets = [f"results/hall/enriched/{name}/rain.mp4" for name in ("orbit", "sweep")]
    environment = {name: os.environ[name] for name in ("PATH", "TMPDIR", "VLLM_LOG")}
    snakemake(project, config, "--allowed-rules", "enrich", "-F", *targets, environment=environment)
    assert len(started(machine)) == 1
    wait_until(lambda: not alive(machine))


def test_what_servers_need_is_told_before_a_gpu_is_paid_for():
    whole, about = planned(gpus=2, disable_guardrails=False)
    part, cosmos3 = whole["enrich"], engine("cosmos3")
    assert cosmos3.gpus(part) == 2
    model, *guardrails = cosmos3.repositories(part)
    assert (model.id, model.revision, len(guardrails)) == ("nvidia/Cosmos3-Nano", COMMIT, 2)
    assert vram_needed_gb(whole) == pytest.approx(35 * 2**30 / 1e9)
    assert vram_needed_gb(planned(offload="never", quantization="fp8")[0]) == pytest.approx(50 * 2**30 / 1e9)
    external = {"server": "external"}
    more = disk_needed_gb(whole, Path("nowhere")) - disk_needed_gb(planned(**external)[0], Path("nowhere"))
    assert more == pytest.approx(FIGURES[part["model"]]["weights_gb"])
    assert cosmos3.fills_gb(part) > 2 * 64
    assert cosmos3.seconds(planned(("a", "b"), gpus=2)[0]["enrich"], about)[0] == pytest.approx(
        cosmos3.seconds(planned(("a",), gpus=2)[0]["enrich"], about)[0] / 2
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"revision": None}, "needs the commit of the weights"),
        ({"server_urls": ["http://127.0.0.1:9000"]}, "starts servers of its own"),
        ({"server": "external", "gpus": 2}, "gpus: only a server that the workflow starts obeys"),
        ({"server": "external", "vllm": "vllm"}, "vllm: only a server that the workflow starts obeys"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(wrong, said):
    given = {name: value for name, value in wrong.items() if value is not None}
    with pytest.raises(UserError) as refusal:
        if "revision" in wrong:
            variants = [{"name": "v", "prompt": "x"}]
            given = {"engine": "cosmos3", "server": "managed", "variants": variants}
            configuration.complete({"facilities": [{"name": "h", "scene": "s.ply"}], "enrich": given}, "my.yaml")
        else:
            planned(**given)
    assert said in str(refusal.value)
