"""`snakemake fetch_weights` against a hub on this machine."""

import json

from blueprint import config as configuration
from blueprint.engines.cosmos_model import TRANSFER
from blueprint.plan import repositories_needed
from loopback_hub import Hub, running
from workflow_runs import snakemake, write_config

CONFIG = {
    "facilities": [{"name": "hall", "scene": "resources/demo/kitchen.ply", "description": "a hall"}],
    "enrich": {"engine": "cosmos-transfer2.5"},
}


TRAINING = {**CONFIG, "enrich": {"engine": "photometric"}, "train": {"engine": "dreamdojo"}}


def fill(folder, config=CONFIG):
    """A hub that holds every needed file, and one that is not needed beside each."""
    revisions = {}
    for number, repository in enumerate(repositories_needed(configuration.complete(config, "my.yaml"))):
        place = folder / f"hub-{number}"
        for name in ("unneeded.bin", *(name.replace("*", "config.json") for name in repository.files)):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(f"{repository.id} {name}")
        revisions.setdefault(repository.id, {})[repository.revision] = place
    return revisions


def run(project, hub, config=CONFIG, check=True):
    environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(project / "hf"), "HF_TOKEN": "hf_test"}
    return snakemake(project, write_config(project, config), "fetch_weights", check=check, environment=environment)


def test_exactly_the_needed_files_are_fetched_at_pinned_revisions(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    with running(Hub(fill(tmp_path))) as hub:
        run(project, hub)
        asked = len(hub.requests)
        assert "Nothing to be done" in run(project, hub).stdout
        assert len(hub.requests) == asked
    fetched = json.loads((project / "resources" / "weights.json").read_text())
    assert {entry["id"]: entry["revision"][:6] for entry in fetched}[TRANSFER] == "dea773"
    names = {path.name for path in (project / "hf").rglob("*") if path.is_symlink()}
    assert "626e6618-bfcd-4d9a-a077-1409e2ce353f_ema_bf16.pt" in names
    assert "tokenizer.pth" in names
    assert not any("Guardrail" in path for path in hub.requests)
    weights = [path for path in hub.requests if "/resolve/" in path and TRANSFER in path]
    assert all(path.endswith("_ema_bf16.pt") for path in weights)


def test_the_weights_of_a_training_are_fetched_too(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    with running(Hub(fill(tmp_path, TRAINING))) as hub:
        run(project, hub, TRAINING)
    fetched = json.loads((project / "resources" / "weights.json").read_text())
    needed = repositories_needed(configuration.complete(TRAINING, "my.yaml"))
    assert [(entry["id"], entry["revision"]) for entry in fetched] == [(one.id, one.revision) for one in needed]
    assert fetched[0]["commit"] == hub.commit(tmp_path / "hub-0"), "what a branch was then"
    names = {path.name for path in (project / "hf").rglob("*") if path.is_symlink()}
    assert {"LAM_400k.ckpt", "model_ema_bf16.pt", "tokenizer.pth"} <= names and "unneeded.bin" in names


def test_nothing_is_fetched_when_one_licence_is_not_accepted(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    with running(Hub(fill(tmp_path), {TRANSFER: "gated"})) as hub:
        assert run(project, hub, check=False).returncode != 0
    log = (project / "logs" / "fetch_weights.log").read_text()
    assert f"Accept the licence at https://huggingface.co/{TRANSFER}" in log
    assert not any("/resolve/" in path for path in hub.requests)
    assert "hf_test" not in log
