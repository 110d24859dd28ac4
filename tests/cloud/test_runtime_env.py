"""`config/runtime.env` reaches the jobs that need it, and nothing else."""

import hashlib
import shutil
import subprocess
import sys

import pytest

from workflow_runs import REPOSITORY, clean_environment

WORKFLOW = """
configfile: "config/config.yaml"
include: "rules/common.smk"

rule look:
    output: "results/seen"
    log: "logs/look.log"
    shell: "( printf '%s' \\"$HF_TOKEN\\" | sha256sum; env | grep -c ^B2_ || true ) > {output} 2> {log}"
"""


@pytest.fixture
def checkout(tmp_path):
    for name in ("rules", "workflow", "envs"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / "config").mkdir()
    shutil.copy(REPOSITORY / "config" / "config.yaml", tmp_path / "config")
    (tmp_path / "config" / "runtime.env").write_text("HF_TOKEN=canary-hf\nB2_APPLICATION_KEY=canary-b2\n")
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    return tmp_path


def look(checkout, **environment):
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", "--forceall", "--verbose", "results/seen"],
        cwd=checkout,
        env={**clean_environment(), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "canary" not in done.stdout + done.stderr
    digest, keys = (checkout / "results" / "seen").read_text().split("  -\n")
    return digest, int(keys)


def test_jobs_get_the_hub_s_token_and_no_other_secret(checkout):
    assert look(checkout) == (hashlib.sha256(b"canary-hf").hexdigest(), 0)
    holding = [path for path in checkout.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]
    assert holding == [checkout / "config" / "runtime.env"]


def test_the_environment_s_token_wins(checkout):
    assert look(checkout, HF_TOKEN="other")[0] == hashlib.sha256(b"other").hexdigest()


def test_a_bad_line_is_named_without_its_text(checkout):
    (checkout / "config" / "runtime.env").write_text("canary-without-a-name\n")
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", "-n", "results/seen"],
        cwd=checkout,
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    printed = done.stdout + done.stderr
    assert "runtime.env: line 1 is not NAME=value" in printed and "canary" not in printed
