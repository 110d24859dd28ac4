"""Environments that one machine has made are unpacked by the next: real Snakemake, tar and rclone, loopback B2."""

import os
import subprocess
import sys
import threading

import pytest
import yaml

from blueprint.cloud import environment_cache, settings
from blueprint.cloud.accounts import store_of
from cloud_runs import wait_until
from loopback_b2 import LoopbackB2
from workflow_runs import SCRIPTS, clean_environment

CONDA = """#!/bin/sh
case "$1 $2" in
    "info "*) echo '{{"platform": "linux-64", "conda_prefix": "/none", "root_prefix": "/none"}}';;
    "--version ") echo conda 26.1.1;;
    "clean "*) ;;
    "config "*) echo '{{"get": {{"channel_priority": "strict"}}}}';;
    "env create")
        for word; do prefix=$word; done
        mkdir -p "$prefix/bin"
        echo "#!$prefix/bin/python" > "$prefix/bin/tool"
        chmod 755 "$prefix/bin/tool"
        ln -s "$prefix/bin/tool" "$prefix/bin/absolute"
        ln "$prefix/bin/tool" "$prefix/bin/linked"
        head -c 300000 /dev/urandom > "$prefix/library.so"
        echo made >> {log};;
    *) exit 1;;
esac
"""


@pytest.fixture(scope="module")
def b2():
    with LoopbackB2() as running:
        yield running


class Machine:
    """A working directory with a workflow of one rule, which has an environment."""

    def __init__(self, folder, b2, **keys):
        self.folder, self.conda = folder, folder / "home" / "conda"
        self.log, tools = folder / "conda.log", folder / "tools"
        tools.mkdir()
        (tools / "conda").write_text(CONDA.format(log=self.log))
        (tools / "conda").chmod(0o755)
        (folder / "env.yaml").write_text("channels: [conda-forge]\ndependencies: [python=3.11]\n")
        (folder / "Snakefile").write_text(
            "rule one:\n    output: 'one'\n    conda: 'env.yaml'\n    shell: 'touch one'\n"
        )
        values = {
            "bucket": b2.bucket,
            "endpoint": b2.endpoint,
            "prefix": folder.name,
            "environment_cache": True,
            **keys,
        }
        (folder / "cloud.yaml").write_text(yaml.safe_dump(values))
        self.environment = {**clean_environment(), **b2.environment()}
        self.environment["PATH"] = f"{tools}{os.pathsep}{self.environment['PATH']}"
        self.run = [sys.executable, "-m", "snakemake", "--cores", "1", "--sdm", "conda", "--conda-prefix", self.conda]
        self.settings = settings.load(folder / "cloud.yaml", b2.environment(), folder / "none")
        self.store = store_of(self.settings, f"{folder.name}/{environment_cache.FOLDER}")

    def call(self, *command):
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def cloud(self, command):
        return self.call(sys.executable, SCRIPTS / "cloud.py", command, "--settings", "cloud.yaml", "--run", *self.run)

    def make(self):
        """Have Snakemake make its environments; how many it has made by now."""
        self.call(*self.run, "--conda-create-envs-only")
        return len(self.log.read_text().splitlines())

    def lose(self):
        """Another machine: the disk is empty."""
        subprocess.run(["rm", "-rf", self.conda], check=True)

    def files(self):
        return {
            path.relative_to(self.conda).as_posix(): str(path.readlink()) if path.is_symlink() else path.read_bytes()
            for path in self.conda.rglob("*")
            if path.is_symlink() or path.is_file()
        }


@pytest.fixture
def machine(tmp_path, b2):
    return Machine(tmp_path, b2)


def test_the_next_machine_unpacks_what_the_first_has_made(machine):
    assert machine.make() == 1
    assert "put into the bucket" in machine.cloud("keep-environments")
    before = machine.files()
    machine.lose()
    assert "unpacked in" in machine.cloud("fetch-environments")
    assert machine.files() == before
    tool, linked = (next(machine.conda.glob(f"*/bin/{name}")) for name in ("tool", "linked"))
    assert tool.stat().st_mode & 0o777 == 0o755 and tool.samefile(linked)
    assert machine.make() == 1, "Snakemake takes it as it is"

    (environment,) = machine.conda.glob("*_")
    environment_cache.mark_of(environment).unlink()
    (environment / "half").touch()
    machine.cloud("fetch-environments")
    assert machine.files() == before, "what an interrupted installation has left is replaced"
    kept = [item.at_s for item in machine.store.list("")]
    machine.cloud("keep-environments")
    assert [item.at_s for item in machine.store.list("")] == kept, "it is there already"

    machine.lose()
    smi = machine.folder / "tools" / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 8.9\n")
    smi.chmod(0o755)
    machine.cloud("fetch-environments")
    assert not machine.files(), "extensions for another GPU are not taken"


def test_an_archive_that_is_not_what_was_kept_is_said_and_the_environment_made(machine):
    machine.make()
    machine.cloud("keep-environments")
    machine.lose()
    (archive,) = [item.name for item in machine.store.list("") if item.name.endswith(".tar.zst")]
    machine.store.put(archive, b"other bytes")
    assert "SHA-256 differs" in machine.cloud("fetch-environments")
    assert not machine.files(), "nothing is left of it"
    assert machine.make() == 2


def test_an_environment_is_kept_when_it_comes_to_be_whole(machine, monkeypatch):
    monkeypatch.setattr(environment_cache, "POLL_S", 0.1)
    for name, value in machine.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(machine.folder)
    given = (machine.settings, machine.folder, list(map(str, machine.run)))
    keeping = threading.Thread(target=environment_cache.keep_needed, args=given, daemon=True)
    keeping.start()
    machine.make()
    wait_until(lambda: not keeping.is_alive())
    assert len(machine.store.list("")) == 2


def test_unless_it_is_asked_for_nothing_is_kept(tmp_path, b2):
    machine = Machine(tmp_path, b2, environment_cache=False)
    environment_cache.keep_needed(machine.settings, machine.folder, ["no such program"])
    environment_cache.fetch_needed(machine.settings, machine.folder, ["no such program"])
    assert not machine.store.list("")
