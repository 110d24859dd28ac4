"""An operator whose checkout, keys and services are sound: the tests break one thing each."""

import os
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
import yaml

import loopback_hub
from blueprint import config as configuration
from blueprint.audit import code, run, secrets
from blueprint.engines import engine
from loopback_b2 import LoopbackB2
from loopback_vast import LoopbackVast
from small_runs import small_config, write_splat
from workflow_runs import REPOSITORY, clean_environment, git


def cosmos_config():
    """A production configuration that passes: one scan, Cosmos, two variants."""
    config = small_config(
        facilities=[{"name": "kitchen", "scene": "resources/kitchen.ply", "description": "a kitchen"}],
        enrich={
            "engine": "cosmos-transfer2.5",
            "variants": [{"name": "dawn", "prompt": "at dawn"}, {"name": "night", "prompt": "at night"}],
        },
    )
    config["render"] |= {"width": 1280, "height": 720, "frames": 93}
    return config


@pytest.fixture(scope="module")
def b2():
    with LoopbackB2() as service:
        yield service


@pytest.fixture(scope="module")
def hub():
    with loopback_hub.running(loopback_hub.Hub()) as service:
        enrich = configuration.complete(cosmos_config(), "mine.yaml")["enrich"]
        for repository in engine(enrich["engine"]).repositories(enrich):
            service.revisions[repository.id] = {}
        yield service


@pytest.fixture(scope="module")
def sound_checkout(tmp_path_factory):
    """A pushed clone of this repository with a scan and a configuration of its own."""
    folder = tmp_path_factory.mktemp("sound")
    git(folder, "clone", "--depth", "1", f"file://{REPOSITORY}", "checkout")
    checkout = folder / "checkout"
    (checkout / "mine.yaml").write_text(yaml.safe_dump(cosmos_config()))
    write_splat(checkout / "resources" / "kitchen.ply", 200)
    git(checkout, "add", "-A")
    git(checkout, "commit", "-m", "mine")
    git(folder, "clone", "--bare", "checkout", "remote.git")
    git(checkout, "remote", "set-url", "origin", str(folder / "remote.git"))
    git(checkout, "fetch", "origin")
    return checkout


class Operator:
    """Someone about to launch: a checkout, cloud settings, services that answer."""

    def __init__(self, checkout, b2):
        self.checkout, self.cloud = checkout, checkout / "profiles" / "vast" / "cloud.yaml"
        self.settings = {"bucket": b2.bucket, "endpoint": b2.endpoint, "vast": {"min_vram_gb": 80}}
        self.write()

    def write(self, **changes):
        """Write cloud.yaml; ``vast`` is merged."""
        vast = {**self.settings["vast"], **changes.pop("vast", {})}
        self.settings = {**self.settings, **changes, "vast": vast}
        self.cloud.write_text(yaml.safe_dump(self.settings))

    def reconfigure(self, change):
        """Change the configuration, and push it."""
        config = yaml.safe_load((self.checkout / "mine.yaml").read_text())
        change(config)
        (self.checkout / "mine.yaml").write_text(yaml.safe_dump(config))
        self.push()

    def push(self):
        git(self.checkout, "add", "-A")
        git(self.checkout, "commit", "-m", "change")
        git(self.checkout, "push", "origin", "HEAD")

    @property
    def subject(self):
        return run.Subject(self.checkout, (Path("mine.yaml"),), self.checkout, self.cloud)

    def red(self):
        """Names of the checks that are not green."""
        return {check.name for check in run.run(self.subject) if check.result not in ("ok", "skip")}


@pytest.fixture(scope="module", autouse=True)
def scanned_once():
    """Scan a file that does not change from test to test once: the scan takes most of an audit's time."""
    scanned = {}

    def scan_file(file, path):
        key = path, file.read_bytes()
        if key not in scanned:
            scanned[key] = list(original(file, path))
        return scanned[key]

    original = secrets._scan_file
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "_scan_file", scan_file)
        yield


@pytest.fixture
def operator(sound_checkout, tmp_path, b2, hub, monkeypatch):
    checkout = tmp_path / "checkout"
    shutil.copytree(sound_checkout, checkout, symlinks=True)
    shutil.copytree(sound_checkout.parent / "remote.git", tmp_path / "remote.git")
    git(checkout, "remote", "set-url", "origin", str(tmp_path / "remote.git"))
    hub.refusals.clear()
    for name in [name for name in os.environ if name not in clean_environment()]:
        monkeypatch.delenv(name)
    for name, value in {**SECRETS, **b2.environment(), "HF_ENDPOINT": hub.endpoint}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.endpoint)
    monkeypatch.chdir(checkout)
    with LoopbackVast() as service:
        monkeypatch.setenv("VAST_URL", service.url)
        yield Operator(checkout, b2)


@pytest.fixture
def few_linters(monkeypatch):
    """Leave the linters out where what is broken is not code: they take most of the time."""

    def keep(*names):
        monkeypatch.setattr(code, "LINTERS", {name: code.LINTERS[name] for name in names})

    return keep


SECRETS = {"VAST_API_KEY": "canary-vast-key", "HF_TOKEN": "canary-hf-token"}
