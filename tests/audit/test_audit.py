"""The audit: green on a sound checkout, exactly one check red when one thing is wrong, and nothing changed by it."""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest
import yaml

from blueprint import system
from blueprint.audit import code, run
from blueprint.checks import Check
from blueprint.errors import UserError
from loopback_b2 import READ_WRITE
from small_runs import small_config
from workflow_runs import git


def break_configuration(operator):
    operator.reconfigure(lambda config: config.update(redner={}))


def break_scene(operator):
    (operator.checkout / "resources" / "kitchen.ply").write_bytes(
        (operator.checkout / "resources" / "kitchen.ply").read_bytes()[:900]
    )


def break_machine(operator):
    operator.write(max_cost_usd=0.01, vast={"disk_gb": 50, "min_vram_gb": 24})


def break_environment(operator):
    path = operator.checkout / "envs" / "metrics.in.yaml"
    path.write_text(path.read_text().replace("piq==0.8.0", "piq==0.7.0"))
    operator.push()


def break_git(operator):
    (operator.checkout / "notes.txt").write_text("to do\n")


def forget_to_push(operator):
    (operator.checkout / "notes.txt").write_text("done\n")
    git(operator.checkout, "add", "-A")
    git(operator.checkout, "commit", "-m", "not pushed")


def break_secrets(operator):
    (operator.checkout / "notes.txt").write_text("hf" + "_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567"[:34] + "\n")
    operator.push()


def break_runtime_env(operator):
    file = operator.checkout / "config" / "runtime.env"
    file.write_text("HF_TOKEN=" + "hf" + "_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567"[:34] + "\n")
    file.chmod(0o644)


def break_shutdown(operator):
    operator.write(shutdown="echo stop")


BREAKAGES = {
    "configuration": (break_configuration, {"configuration"}),
    "scenes": (break_scene, {"scenes", "DAG"}),  # a scene that is no splat is refused when jobs are planned, too
    "machine": (break_machine, {"disk", "time and cost", "VRAM"}),
    "environments": (break_environment, {"environments"}),
    "git, uncommitted": (break_git, {"git state"}),
    "git, unpushed": (forget_to_push, {"git state"}),
    "secrets": (break_secrets, {"secret scan"}),
    "runtime.env": (break_runtime_env, {"runtime secrets"}),
    "shutdown": (break_shutdown, {"shutdown", "launch"}),
}


def test_a_sound_checkout_is_green(operator):
    """Linters and quick tests included."""
    checks = run.run(operator.subject)
    assert [check for check in checks if check.result not in ("ok", "skip")] == []
    assert {"ruff check", "snakefmt", "snakemake lint", "quick tests"} <= {check.name for check in checks}


@pytest.mark.parametrize("case", BREAKAGES)
def test_exactly_what_is_broken_goes_red(operator, few_linters, case):
    few_linters()
    breakage, expected = BREAKAGES[case]
    breakage(operator)
    assert operator.red() == expected


def test_a_dag_that_cannot_be_built_goes_red(operator, few_linters):
    few_linters()
    with (operator.checkout / "rules" / "report.smk").open("a") as rules:
        rules.write("rule half_written\n")
    operator.push()
    assert operator.red() == {"DAG"}


UNCLEAN = {
    "ruff check": ("workflow/scripts/unused.py", "import os\n"),
    "ruff format": ("workflow/scripts/odd.py", "x = {  'a':1 }\n"),
    "snakefmt": ("rules/odd.smk", "rule  odd:\n  output: 'odd'\n"),
    "snakemake lint": (
        "rules/report.smk",
        '\n\nrule odd:\n    output:\n        "odd.txt",\n    shell:\n        "touch {output}"\n',
    ),
    "quick tests": ("tests/config/test_odd.py", "def test_odd():\n    assert 1 > 2\n"),
}


def test_each_linter_goes_red_for_what_is_unclean(operator, few_linters):
    few_linters(*UNCLEAN)
    for path, text in UNCLEAN.values():
        with (operator.checkout / path).open("a") as file:
            file.write(text)
    operator.push()
    assert operator.red() == set(UNCLEAN)


def test_a_gated_repository_goes_red_alone(operator, few_linters, hub):
    few_linters()
    hub.refusals["nvidia/Cosmos-Reason1-7B"] = "gated"
    assert operator.red() == {"Hugging Face: nvidia/Cosmos-Reason1-7B"}
    assert not hub.asked_for("Cosmos-Guardrail1")


def test_a_key_that_may_not_write_goes_red_alone(operator, few_linters, b2, monkeypatch):
    few_linters()
    key = b2.create_key([capability for capability in READ_WRITE if capability != "writeFiles"])
    for name, value in zip(("B2_APPLICATION_KEY_ID", "B2_APPLICATION_KEY"), key, strict=True):
        monkeypatch.setenv(name, value)
    assert operator.red() == {"bucket"}


def test_a_wrong_vast_key_goes_red_alone(operator, few_linters, monkeypatch):
    few_linters()
    monkeypatch.setenv("VAST_API_KEY", "another-key")
    assert operator.red() == {"Vast"}


def test_a_missing_tool_is_a_failed_check_with_the_command_to_install_it(operator, few_linters, monkeypatch):
    few_linters("ruff check", "ruff format")
    monkeypatch.setattr(
        system, "find_program", lambda name: None if name == "ruff" else shutil.which(name) or sys.executable
    )
    checks = {check.name: check for check in run.run(operator.subject)}
    assert checks["ruff check"].result == "fail"
    assert "ruff is not installed" in checks["ruff check"].evidence
    assert "make" in checks["ruff check"].remedy


def test_without_network_it_says_what_it_could_not_check(operator, few_linters, monkeypatch):
    few_linters()
    operator.write(endpoint="http://127.0.0.1:9")
    monkeypatch.setenv("VAST_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    checks = run.run(operator.subject)
    assert {check.name for check in checks if check.result == "unknown"} == {"bucket", "Vast", "Hugging Face"}
    assert not [check for check in checks if check.result == "fail"]


def fingerprint(folder):
    """Digest of every file's path, bytes and mode below a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.suffix != ".pyc":
            digest.update(f"{path.relative_to(folder)} {path.stat().st_mode}".encode() + path.read_bytes())
    return digest.hexdigest()


def audit_program(operator, *, python=sys.executable, path=None):
    return subprocess.run(
        [python, "workflow/scripts/audit.py", "--configfile", "mine.yaml", "--cloud", str(operator.cloud)],
        cwd=operator.checkout,
        env={**os.environ, **({"PATH": path} if path else {})},
        capture_output=True,
        text=True,
    )


def state_of_packages(folder):
    """Size, time and mode of every file below a folder; compiled modules apart, which other tests may add."""
    return {
        path: (status.st_size, status.st_mtime_ns, status.st_mode)
        for path in folder.rglob("*")
        if path.suffix != ".pyc" and path.name != "__pycache__"
        for status in [path.lstat()]
    }


@pytest.mark.parametrize("tools", ["present", "missing"])
def test_it_changes_nothing(operator, tools, tmp_path, monkeypatch):
    """The environment it runs in, and the checkout but for results, are the same to the byte afterwards."""
    packages = Path(yaml.__file__).parents[1]
    conda = tmp_path / "conda"
    (conda / "conda-meta").mkdir(parents=True)
    (conda / "conda-meta" / "history").write_text("==> 2026-01-01 00:00:00 <==\n")
    monkeypatch.setenv("CONDA_PREFIX", str(conda))
    watched = [packages / "piq", packages / "snakemake", packages / "torch" / "nn", conda, operator.checkout]
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    for name in ("pip", "pip3", "uv", "conda", "mamba"):
        (stubs / name).write_text(f'#!/bin/sh\necho "$0 $*" >> {tmp_path}/installed.txt\nexit 1\n')
        (stubs / name).chmod(0o755)
    python, path = sys.executable, f"{stubs}:{os.environ['PATH']}"
    if tools == "missing":  # a Python that has the packages, but none of the programs that came with them
        venv.create(tmp_path / "bare", with_pip=False)
        python, path = str(tmp_path / "bare" / "bin" / "python"), f"{stubs}:/usr/bin:/bin"
        (tmp_path / "bare" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}").joinpath(
            "site-packages", "packages.pth"
        ).write_text(f"{packages}\n")
    freeze = [sys.executable, "-m", "pip", "--disable-pip-version-check", "list", "--format", "freeze"]
    before = [*map(fingerprint, watched), subprocess.check_output(freeze)]
    packages_before = state_of_packages(packages)
    finished = audit_program(operator, python=python, path=path)
    recorded = json.loads((operator.checkout / "results" / "audit.json").read_text())
    failed = {check["name"] for check in recorded["checks"] if check["result"] not in ("ok", "skip")}
    assert (finished.returncode, recorded["passed"]) == ((0, True) if tools == "present" else (1, False))
    assert failed == (set() if tools == "present" else {"DAG", "bucket", *code.LINTERS}), finished.stderr
    shutil.rmtree(operator.checkout / "results")
    shutil.rmtree(operator.checkout / ".snakemake", ignore_errors=True)  # Snakemake's own log of the dry run
    status = ["git", "--no-optional-locks", "status", "--short", "--ignored"]
    left = subprocess.check_output(status, cwd=operator.checkout, text=True)
    assert set(left.split()) <= {"!!", "resources/", "M", "profiles/vast/cloud.yaml"}
    assert [*map(fingerprint, watched), subprocess.check_output(freeze)] == before
    assert state_of_packages(packages) == packages_before
    assert not (tmp_path / "installed.txt").exists(), "no installer was called"


def test_secrets_appear_neither_in_the_table_nor_in_the_record(operator):
    finished = audit_program(operator)
    record = (operator.checkout / "results" / "audit.json").read_text()
    for secret in (os.environ[name] for name in ("VAST_API_KEY", "HF_TOKEN", "B2_APPLICATION_KEY")):
        assert secret not in finished.stdout + finished.stderr + record


def record_audit(operator, *checks):
    """The record of an audit that found nothing but ``checks``."""
    run.record(operator.subject, list(checks), operator.checkout / "results" / "audit.json")


def test_launch_needs_a_fresh_green_audit_of_the_same_commit_and_configuration(operator, few_linters):
    few_linters()
    record = operator.checkout / "results" / "audit.json"
    with pytest.raises(UserError, match="there is no audit"):
        run.require_green_audit(operator.subject, record)
    record_audit(operator)
    run.require_green_audit(operator.subject, record)

    old = json.loads(record.read_text())
    old["run"]["made_at_s"] = time.time() - 2 * run.FRESH_S
    record.write_text(json.dumps(old))
    with pytest.raises(UserError, match="48 hours old"):
        run.require_green_audit(operator.subject, record)

    record_audit(operator)
    operator.write(max_cost_usd=7)
    with pytest.raises(UserError, match="another configuration"):
        run.require_green_audit(operator.subject, record)

    record_audit(operator)
    (operator.checkout / "notes.txt").write_text("done\n")
    operator.push()
    with pytest.raises(UserError, match="not of the present one"):
        run.require_green_audit(operator.subject, record)

    record_audit(operator, Check("shutdown", "fail", "'true' ends no machine"))
    with pytest.raises(UserError, match=r"not green \(shutdown\)"):
        run.require_green_audit(operator.subject, record)


def test_runtime_secrets_must_be_ignored_by_git(operator):
    ignore = operator.checkout / ".gitignore"
    ignore.write_text(ignore.read_text().replace("/config/runtime.env\n", ""))
    check = code.check_runtime_env(operator.checkout)
    assert check.result == "fail"
    assert "does not ignore" in check.evidence


def test_a_private_runtime_secrets_file_is_fine(operator):
    file = operator.checkout / "config" / "runtime.env"
    file.write_text("")
    file.chmod(stat.S_IRUSR | stat.S_IWUSR)
    assert code.check_runtime_env(operator.checkout).result == "ok"


def test_all_that_a_launch_would_refuse_is_found_in_one_go(operator, monkeypatch):
    """The example bucket, a missing key, a scan and a configuration where no machine finds them."""
    monkeypatch.setenv("VAST_API_KEY", "")
    operator.write(bucket="change-me-results")
    (operator.checkout / "scan.ply").write_bytes((operator.checkout / "resources" / "kitchen.ply").read_bytes())
    config = yaml.safe_load((operator.checkout / "mine.yaml").read_text())
    config["facilities"][0]["scene"] = "scan.ply"
    (operator.checkout.parent / "other.yaml").write_text(yaml.safe_dump(config))
    subject = run.Subject(operator.checkout, (Path("../other.yaml"),), operator.checkout, operator.cloud)
    (check,) = run._launch(subject)
    assert check.result == "fail"
    for part in ("still the example", "VAST_API_KEY: not set", "from below resources/", "lies outside of"):
        assert part in check.evidence


def test_a_gpu_is_not_rented_for_an_engine_that_needs_none(operator):
    assert run._launch(operator.subject)[0].result == "ok"
    operator.reconfigure(lambda config: config.update(enrich=small_config()["enrich"]))
    (check,) = run._launch(operator.subject)
    assert check.result == "fail" and "photometric, which needs no GPU: run it here" in check.evidence
