"""`config/runtime.env` reaches the programs that need it, and the environment of no job."""

import hashlib
import shutil
import subprocess
import sys

import pytest

from blueprint.cloud.command_line import executor_of
from workflow_runs import REPOSITORY, clean_environment

WORKFLOW = """
configfile: "config/config.yaml"
include: "rules/common.smk"
include: "rules/cloud.smk"

rule look:
    output: "results/seen"
    log: "logs/look.log"
    shell: "( env; PYTHONPATH=$BLUEPRINT_SCRIPTS python take.py ) > {output} 2> {log}"
"""
TAKE = """
import hashlib, os
from blueprint import secret
secret.take("HF_TOKEN", "B2_APPLICATION_KEY")
print("taken", hashlib.sha256(os.environ["HF_TOKEN"].encode()).hexdigest(), "B2_APPLICATION_KEY" in os.environ)
"""


@pytest.fixture
def checkout(tmp_path):
    for name in ("rules", "workflow", "envs"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / "config").mkdir()
    shutil.copy(REPOSITORY / "config" / "config.yaml", tmp_path / "config")
    (tmp_path / "config" / "runtime.env").touch(0o600)
    (tmp_path / "config" / "runtime.env").write_text("HF_TOKEN=canary-hf\nB2_APPLICATION_KEY=canary-b2\n")
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    (tmp_path / "take.py").write_text(TAKE)
    return tmp_path


def run(checkout, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", "--forceall", "--verbose", *arguments, "results/seen"],
        cwd=checkout,
        env={**clean_environment(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def look(checkout, **environment):
    done = run(checkout, **environment)
    seen = (checkout / "results" / "seen").read_text() if done.returncode == 0 else ""
    assert done.returncode == 0, done.stdout
    assert "canary" not in done.stdout + seen
    return seen.partition("taken ")[2].split()


def test_a_program_that_asks_gets_the_hub_s_token_and_no_other_secret(checkout):
    assert look(checkout) == [hashlib.sha256(b"canary-hf").hexdigest(), "False"]
    holding = [path for path in checkout.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]
    assert holding == [checkout / "config" / "runtime.env"]


def test_the_environment_s_token_wins_and_reaches_no_job_s_environment(checkout):
    secrets = {"HF_TOKEN": "canary-other", "VAST_API_KEY": "canary-vast", "NOTIFY_URLS": "json://canary"}
    assert look(checkout, **secrets)[0] == hashlib.sha256(b"canary-other").hexdigest()


@pytest.mark.parametrize("text, mode", [("canary-without-a-name\n", 0o600), ("HF_TOKEN=canary\n", 0o644)])
def test_a_bad_file_is_named_without_its_text(checkout, text, mode):
    path = checkout / "config" / "runtime.env"
    path.write_text(text)
    path.chmod(mode)
    done = run(checkout, "-n")
    assert done.returncode != 0 and "canary" not in done.stdout
    assert ("chmod 600" if mode == 0o644 else "runtime.env: line 1 is not NAME=value") in done.stdout


def test_the_executor_is_known_while_rules_are_read():
    """By it is decided whether a secret stays in memory here or goes into the environment of jobs elsewhere."""
    assert executor_of(["--cores", "2"]).local_exec
    assert executor_of(["--cores", "2", "-n", "results/report.html"]).local_exec
    assert executor_of(["--an-option-of-another-program"]).local_exec
    slurm = executor_of(["--executor", "slurm", "--jobs", "4"])
    assert not slurm.local_exec and not slurm.pass_envvar_declarations_to_cmd
