"""A rented machine from its first second to its last: the real scripts in a folder of the test's own, loopback Vast."""

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import psutil
import pytest
import yaml

from blueprint import system
from blueprint.cloud.launched import GIVEN, VARIABLE, Launch
from blueprint.cloud.machine import boot_clock_s
from cloud_runs import SMALL_WORKFLOW, wait_until
from installers import install_conda, orchestration_in
from loopback_b2 import LoopbackB2
from loopback_vast import LoopbackVast
from workflow_runs import REPOSITORY, clean_environment

NUMBER = 42
FAKE_CONDA = """#!/usr/bin/env bash
echo "conda $*" >> {log}
exit 1
"""


@pytest.fixture
def service():
    with LoopbackVast() as running:
        running.add_instance(NUMBER)
        yield running


def git(folder, *arguments):
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def origin(tmp_path):
    """A repository with this working tree as its one commit."""
    folder = tmp_path / "origin"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file() and not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "-m", "one")
    return folder


@pytest.fixture
def machine(tmp_path, origin, service):
    """The environment of a container."""
    return {
        **clean_environment(),
        "HOME": str(tmp_path),
        "BLUEPRINT_HOME": str(tmp_path / "machine"),
        "BLUEPRINT_REPOSITORY": str(origin),
        "BLUEPRINT_COMMIT": git(origin, "rev-parse", "HEAD"),
        "VAST_URL": service.url,
        "CONTAINER_ID": str(NUMBER),
        "CONTAINER_API_KEY": service.key,
        "RETRY_PAUSE_S": "0",
        "STOP_PAUSE_S": "0.2",
        "STOP_ATTEMPTS": "2",
        "LOG_SETTLE_S": "0",
        "BLUEPRINT_STARTED_S": str(boot_clock_s()),
    }


@pytest.fixture(scope="module")
def b2():
    """One bucket for all tests here, each of which has a run of its own in it."""
    with LoopbackB2() as running:
        running.set_secret("canary-b2-key")
        yield running


def launched(machine, b2, run_id, **changes):
    """The container of a machine that `launch` ordered."""
    order = Launch(
        label=f"blueprint-{run_id}-0123456789ab",
        run_id=run_id,
        bucket=b2.bucket,
        prefix="blueprint",
        endpoint=b2.endpoint,
        launched_s=time.time(),
        deadline_s=time.time() + 3600,
        rate_usd_per_h=2.0,
        max_hours=1.0,
        setup_s=600.0,
        finish_s=60.0,
        guard_silent_s=3.0,
        interval_s=1.0,
    )
    return {**machine, **b2.environment(), VARIABLE: replace(order, **changes).to_text()}


def accounts(b2, run_id):
    """Accounts of a run in the bucket."""
    prefix = f"blueprint/{run_id}/results/.cloud/ledger/"
    return [json.loads(content) for name, (content, _) in b2.files().items() if name.startswith(prefix)]


@contextmanager
def booted(machine):
    """A machine that boots, its processes ended afterwards."""
    process = subprocess.Popen(
        ["bash", "-c", (REPOSITORY / "profiles" / "vast" / "bootstrap.sh").read_text()],
        env=machine,
        cwd=machine["HOME"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for pid in at_work(machine):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()


def at_work(machine):
    """What runs on a machine: process number -> command line."""
    home = machine["BLUEPRINT_HOME"]
    found = {}
    for process in psutil.process_iter(["cwd", "cmdline", "status"]):
        info = process.info
        if info["status"] != psutil.STATUS_ZOMBIE and (info["cwd"] or "").startswith(home):
            found[process.pid] = " ".join(info["cmdline"] or [])
    return found


@pytest.fixture
def small_run(machine, origin, b2, tmp_path):
    """The container of a run of the small workflow whose environments can be made."""
    (origin / "Snakefile").write_text(SMALL_WORKFLOW)
    profile = origin / "profiles" / "test"
    profile.mkdir()
    (profile / "config.yaml").write_text("cores: 2\nrerun-incomplete: true\nkeep-going: true\n")
    cloud = {
        "bucket": b2.bucket,
        "endpoint": b2.endpoint,
        "run_id": tmp_path.name,
        "interval_s": 1,
        "shutdown": "stop",
        "guard_silent_s": 15,
        "environment_cache": True,
        "vast": {"patience_s": 3},
    }
    (profile / "cloud.yaml").write_text(yaml.safe_dump(cloud))
    git(origin, "add", "--all")
    git(origin, "commit", "-q", "-m", "small")
    install_conda(machine, orchestration_in(machine))
    return {
        **machine,
        **b2.environment(),
        "BLUEPRINT_COMMIT": git(origin, "rev-parse", "HEAD"),
        "BLUEPRINT_SETTINGS": "profiles/test/cloud.yaml",
        "TEST_JOURNAL": str(tmp_path / "journal"),
        "TEST_JOBS": "2",
    }


def boot(machine):
    """Run what Vast runs, as Vast does: the script's text handed to a shell."""
    return subprocess.run(
        ["bash", "-c", (REPOSITORY / "profiles" / "vast" / "bootstrap.sh").read_text()],
        env=machine,
        cwd=machine["HOME"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_bootstrap_script_is_short_enough_for_vast():
    assert len((REPOSITORY / "profiles" / "vast" / "bootstrap.sh").read_text()) <= 4048


def test_an_environment_that_cannot_be_made_stops_the_machine(machine, service):
    conda = install_conda(machine, FAKE_CONDA)
    done = boot(machine)
    assert done.returncode == 1
    assert service.status_of(NUMBER) == "exited", done.stdout
    assert (conda / "calls").read_text().count("env create") == 3
    assert "there is no environment to do it with" in done.stdout
    assert service.key not in done.stdout


def test_a_repository_that_cannot_be_had_stops_the_machine(machine, service):
    done = boot({**machine, "BLUEPRINT_COMMIT": "0" * 40})
    assert done.returncode == 1
    assert service.status_of(NUMBER) == "exited", done.stdout


def test_an_installer_with_the_wrong_checksum_is_not_run(machine, service, tmp_path):
    script = (REPOSITORY / "profiles" / "vast" / "onstart.sh").read_text()
    version = script.partition("MINIFORGE_VERSION=")[2].partition("\n")[0]
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / f"Miniforge3-{version}-Linux-x86_64.sh").write_text(f"touch {tmp_path}/was-run\n")
    done = boot({**machine, "MINIFORGE_URL": mirror.as_uri()})
    assert done.returncode == 1 and "FAILED" in done.stdout
    assert not (tmp_path / "was-run").exists()
    assert service.status_of(NUMBER) == "exited"


def test_configuration_and_settings_travel_and_are_no_change_of_the_workflow(machine, service, b2, tmp_path):
    """They are laid before anything reads them; results are still known by the commit."""
    install_conda(machine, FAKE_CONDA)
    files = {"config/mine.yaml": b"facilities: []\n", "profiles/vast/cloud.yaml": b"bucket: mine\n"}
    digests = {path: sha256(content).hexdigest() for path, content in files.items()}
    for path, content in files.items():
        b2.store(f"blueprint/{tmp_path.name}/{GIVEN}/{digests[path]}", content)
    boot(launched(machine, b2, tmp_path.name, files=digests))
    checkout = Path(machine["BLUEPRINT_HOME"]) / "blueprint"
    assert {path: (checkout / path).read_bytes() for path in files} == files
    assert not system.commit_of(checkout).endswith("-dirty")


def test_stopping_is_repeated_until_vast_listens(machine, service):
    install_conda(machine, FAKE_CONDA)
    service.fail(2, 503, matching="PUT")
    boot({**machine, "STOP_ATTEMPTS": "4"})
    assert service.status_of(NUMBER) == "exited"


def test_the_key_is_on_no_command_line(machine, service, tmp_path):
    spy = tmp_path / "spy"
    spy.mkdir()
    for program in ("curl", "git"):
        real = shutil.which(program)
        (spy / program).write_text(f'#!/bin/sh\necho "$0 $*" >> {tmp_path}/arguments\nexec {real} "$@"\n')
        (spy / program).chmod(0o755)
    install_conda(machine, FAKE_CONDA)
    boot({**machine, "PATH": f"{spy}:{machine['PATH']}", "GIT_TOKEN": "canary-git-token"})
    seen = (tmp_path / "arguments").read_text()
    assert "fetch" in seen and "PUT" in seen
    assert "canary" not in seen
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]
    assert not kept


def test_a_second_onstart_leaves_the_first_alone(machine, service, tmp_path):
    conda = install_conda(machine, "#!/bin/sh\nmkdir {log}\nsleep 60\n")
    first = subprocess.Popen(
        ["bash", "-c", (REPOSITORY / "profiles" / "vast" / "bootstrap.sh").read_text()],
        env=machine,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until((conda / "calls").exists)
        second = boot(machine)
        assert second.returncode == 0 and "Another onstart.sh is at work" in second.stdout
        assert service.status_of(NUMBER) == "running"
    finally:
        os.killpg(first.pid, 9)
        first.wait()


def saved(b2, run_id):
    """Files of a run in the bucket."""
    prefix = f"blueprint/{run_id}/"
    return {name.removeprefix(prefix) for name in b2.files() if name.startswith(prefix)}


def test_a_run_from_a_bare_machine_to_one_that_has_ended(small_run, service, b2, tmp_path):
    done = boot(small_run)
    assert done.returncode == 0, done.stdout
    assert service.status_of(NUMBER) == "exited"
    assert "results/sum.txt" in saved(b2, tmp_path.name)
    assert any(name.startswith("logs/cloud/onstart-") for name in saved(b2, tmp_path.name))

    # Vast gives another machine: it restores, finds nothing to do, and ends.
    jobs = (tmp_path / "journal").read_text()
    service.add_instance(43)
    second = {**small_run, "BLUEPRINT_HOME": str(tmp_path / "second"), "CONTAINER_ID": "43"}
    install_conda(second, orchestration_in(second))
    done = boot(second)
    assert done.returncode == 0, done.stdout
    assert service.status_of(43) == "exited"
    assert (tmp_path / "journal").read_text() == jobs

    kept = [path for path in tmp_path.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]
    assert not kept


def test_a_run_that_cannot_be_planned_ends_the_machine(small_run, service, b2, tmp_path):
    done = boot({**small_run, "BLUEPRINT_CONFIGFILE": "config/none.yaml"})
    assert service.status_of(NUMBER) == "exited", done.stdout
    assert any(name.startswith("logs/cloud/onstart-") for name in saved(b2, tmp_path.name))


def test_a_job_that_fails_ends_the_machine_with_the_rest_saved(small_run, service, b2, tmp_path):
    (tmp_path / "journal.fail-1").touch()
    done = boot(small_run)
    assert service.status_of(NUMBER) == "exited", done.stdout
    assert {"results/used/0.txt"} <= saved(b2, tmp_path.name)
    assert "results/sum.txt" not in saved(b2, tmp_path.name)


def test_host_checks_that_fail_end_the_machine(small_run, service, tmp_path):
    done = boot({**small_run, "B2_APPLICATION_KEY": ""})
    assert service.status_of(NUMBER) == "exited", done.stdout
    assert not (tmp_path / "journal").exists()


HANGING_CONDA = """#!/usr/bin/env bash
env > {log}
sleep 600
"""


@pytest.mark.fault(
    "making the first environment hangs",
    "the sentry stops the machine",
    ends="by the sentry, after `setup_hours`",
    tells="sentry.log; the account in the bucket",
)
def test_an_environment_in_the_making_that_hangs_is_ended(machine, service, b2, tmp_path):
    conda = install_conda(machine, HANGING_CONDA)
    run_id = tmp_path.name
    with booted(launched({**machine, "GIT_TOKEN": "canary-git"}, b2, run_id, setup_s=8.0)):
        wait_until((conda / "calls").exists)
        wait_until(lambda: accounts(b2, run_id))  # there is an account before there is anything else
        wait_until(lambda: service.status_of(NUMBER) == "exited")
        wait_until(lambda: not [line for line in at_work(machine).values() if "sentry.py" in line])
    assert "canary" not in (conda / "calls").read_text()  # installers are given no secret
    (account,) = accounts(b2, run_id)
    assert account["cost_usd"] == pytest.approx(service.bill_usd(NUMBER), rel=0.02, abs=2 * 2.0 / 3600)


@pytest.mark.fault(
    "all processes but the sentry are killed",
    "the sentry has the results saved and the machine ended",
    ends="by the sentry, after half of `guard_silent_s`",
    tells="the last line, in sentry.log and by `notify`",
)
def test_everything_but_the_sentry_is_killed(small_run, service, b2, tmp_path):
    run_id = tmp_path.name
    machine = launched({**small_run, "TEST_SLEEP_S": "30", "TEST_JOBS": "4"}, b2, run_id)
    (tmp_path / "journal").touch()
    with booted(machine) as bootstrap:
        wait_until(lambda: (tmp_path / "journal").read_text(), 120)
        bootstrap.kill()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid, line in at_work(machine).items():
                if "sentry.py" not in line:
                    os.kill(pid, number)
        wait_until(lambda: service.status_of(NUMBER) == "exited", 200)
        said = Path(machine["BLUEPRINT_HOME"]) / "blueprint/logs/cloud/sentry.log"
        told = "Work finished: NO. Results saved: yes, verified. Machine ended: yes"
        wait_until(lambda: told in said.read_text())
    assert [name for name in saved(b2, run_id) if name.startswith("logs/cloud/onstart-")]


@pytest.mark.fault(
    "the log's `tee` is killed",
    "the run goes on; where onstart.sh dies of it, guard and sentry end the machine",
    ends="by the guard, after the run",
    tells="the last line, in guard.log and by `notify`",
)
def test_the_log_is_killed(small_run, service, b2, tmp_path):
    machine = launched({**small_run, "TEST_SLEEP_S": "2"}, b2, tmp_path.name)
    (tmp_path / "journal").touch()
    with booted(machine):
        wait_until(lambda: (tmp_path / "journal").read_text(), 120)
        for pid, line in at_work(machine).items():
            if line.startswith("tee "):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: service.status_of(NUMBER) == "exited", 120)
