"""Runs with a cloud profile on loopback services: settings, checkouts of a small workflow, and how to kill them."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from base64 import urlsafe_b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import yaml

from blueprint.cloud.machine import boot_clock_s
from blueprint.cloud.settings import CloudSettings
from loopback_b2 import LoopbackB2
from loopback_vast import LoopbackVast
from workflow_runs import REPOSITORY, SCRIPTS, clean_environment

VAST_KEY = "canary-vast-key"
CANARY = "canary-b2-secret"

ALL_JOBS = {"sum", *(f"{rule}/{i}" for rule in ("make", "use") for i in range(4))}
GOOD = r"Work finished: yes. Results saved: yes, verified. Machine ended: yes"
SAVED = "Results saved: yes, verified"
NOT_DONE = r"Work finished: NO. Results saved: yes, verified. Machine ended: yes"

# Three layers of short jobs on the real handlers; every job writes its name outside the checkout, where it survives.
SMALL_WORKFLOW = """
configfile: "config/config.yaml"
include: "rules/common.smk"
include: "rules/cloud.smk"

N = range(int(os.environ.get("TEST_JOBS", 4)))
SLEEP_S = os.environ.get("TEST_SLEEP_S", "0.05")

rule all:
    default_target: True
    input:
        "results/sum.txt",
        expand("results/made/{i}.{kind}", i=N, kind=["txt", "json"]),

rule make:
    output:
        "results/made/{i}.txt",
        "results/made/{i}.json",
    params:
        spec=lambda wildcards: f"spec of {wildcards.i}",
    log:
        "logs/make/{i}.log",
    benchmark:
        "benchmarks/results/make/{i}.tsv"
    shell:
        "echo make/{wildcards.i} >> $TEST_JOURNAL; sleep {SLEEP_S};"
        " while test -e $TEST_JOURNAL.hold-{wildcards.i}; do sleep 0.05; done; {{ echo {wildcards.i} > {output[0]};"
        " echo '{{{{}}}}' > {output[1]}; }} 2> {log}; test ! -e $TEST_JOURNAL.fail-{wildcards.i}"

rule use:
    input:
        "results/made/{i}.txt",
        "results/made/{i}.json",
    output:
        "results/used/{i}.txt",
    log:
        "logs/use/{i}.log",
    shell:
        "echo use/{wildcards.i} >> $TEST_JOURNAL; sleep {SLEEP_S}; cat {input} > {output} 2> {log}"

rule sum:
    input:
        expand("results/used/{i}.txt", i=N),
    output:
        "results/sum.txt",
    log:
        "logs/sum.log",
    shell:
        "echo sum >> $TEST_JOURNAL; cat {input} > {output} 2> {log}"
"""


def cloud_settings(b2: LoopbackB2, **changes) -> CloudSettings:
    """Settings whose bucket is the loopback's, under the prefix `blueprint/test`."""
    values = {
        "bucket": b2.bucket,
        "prefix": "blueprint",
        "endpoint": b2.endpoint,
        "run_id": "test",
        "interval_s": 1.0,
        "grace_s": 1.0,
        "max_cost_usd": 0.0,
        "rate_usd_per_h": None,
        "shutdown": "stop",
        "machine": {"patience_s": 5},
        "source": "cloud.yaml",
        "instance_id": 7,
        "key_id": b2.key_id,
        "application_key": b2.application_key,
        "vast_api_key": VAST_KEY,
    }
    return CloudSettings(**{**values, **changes})


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def wait_until(condition, timeout_s=60.0):
    """Wait for something to become true; fails when it never does."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never happened: {condition}"
        time.sleep(0.02)
    return found


class Listener:
    """Hears notifications: `address` is one of apprise's."""

    def __enter__(self):
        listener = self
        self.heard = []

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                listener.heard.append(f"{message['title']}\n{message['message']}")
                self.send_response(200)
                self.end_headers()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"json://127.0.0.1:{self.server.server_port}/?cto=30&rto=30"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Job:
    """A job that a dry run lists."""

    name: str
    inputs: set[str] = field(default_factory=set)
    outputs: set[str] = field(default_factory=set)
    reason: str = ""


@dataclass
class Machine:
    """A rented machine: an instance of the loopback Vast, a fresh checkout, the processes that were started there."""

    folder: Path
    b2: LoopbackB2
    vast: LoopbackVast
    journal: Path
    instance: int = 7
    cloud: dict = field(default_factory=dict)
    environment: dict = field(default_factory=dict)

    def __post_init__(self):
        self.started_s = boot_clock_s()
        if self.instance not in self.vast.instances:
            self.vast.add_instance(self.instance)
        self.folder.mkdir(parents=True)
        self.check_out()
        settings = {
            "bucket": self.b2.bucket,
            "endpoint": self.b2.endpoint,
            "run_id": "test",
            "interval_s": 1,
            "grace_s": 1,
            "max_cost_usd": 0,
            "shutdown": "stop",
            "call_s": 10,
            "final_copy_s": 60,
            "guard_silent_s": 15,
            "vast": {"patience_s": 4},
            **self.cloud,
        }
        profile = self.folder / "profiles/test"
        profile.mkdir(parents=True)
        (profile / "config.yaml").write_text("cores: 2\nrerun-incomplete: true\nkeep-going: true\n")
        (profile / "cloud.yaml").write_text(yaml.safe_dump(settings))

    def check_out(self):
        """The small workflow, on the repository's own rules and scripts."""
        (self.folder / "Snakefile").write_text(SMALL_WORKFLOW)
        for name in ("rules", "workflow", "envs"):
            (self.folder / name).symlink_to(REPOSITORY / name)
        (self.folder / "config").mkdir()
        shutil.copy(REPOSITORY / "config/config.yaml", self.folder / "config")

    def variables(self):
        return {
            **clean_environment(),
            **self.b2.environment(),
            "VAST_URL": self.vast.url,
            "VAST_API_KEY": VAST_KEY,
            "VAST_INSTANCE_ID": str(self.instance),
            "BLUEPRINT_STARTED_S": str(self.started_s),
            "TEST_JOURNAL": str(self.journal),
            **self.environment,
        }

    def start(self, *arguments):
        """Start Snakemake (see `begin`)."""
        return self.begin("-m", "snakemake", "--profile", "profiles/test", *arguments)

    def begin(self, *arguments):
        """Start a program of Python's on this machine; its output goes to the file `output` in the checkout."""
        with (self.folder / "output").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.folder,
                env=self.variables(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                # What a shell starts in the background ignores SIGINT, and so would all that the tests start.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def share(self, config):
        """Start this machine's part of a run that several share."""
        options = ("--settings", "profiles/test/cloud.yaml", "--configfile", config)
        return self.begin(str(SCRIPTS / "cloud.py"), "share", *options)

    def run(self, *arguments):
        """Run Snakemake to its end; the exit status."""
        return self.start(*arguments).wait(timeout=900)

    def script(self, *arguments):
        """Run `cloud.py` on this machine."""
        command = [sys.executable, str(SCRIPTS / "cloud.py"), *arguments, "--settings", "profiles/test/cloud.yaml"]
        return subprocess.run(command, cwd=self.folder, env=self.variables(), capture_output=True, text=True)

    def planned(self, *arguments):
        """Jobs that `snakemake -n` lists: (rule, value of the wildcard i, inputs, outputs) of each."""
        command = [sys.executable, "-m", "snakemake", "--profile", "profiles/test", "-n", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=self.variables(), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        jobs = []
        for line in (done.stdout + done.stderr).splitlines():
            key, _, value = line.strip().partition(": ")
            if match := re.match(r"(?:local)?rule (\w+):", line):
                jobs.append(Job(match[1]))
            elif jobs and key in ("input", "output"):
                setattr(jobs[-1], f"{key}s", set(value.split(", ")))
            elif jobs and key == "reason":
                jobs[-1].reason = value
            elif jobs and key == "wildcards":
                jobs[-1].name += f"/{value.removeprefix('i=')}"
        return [job for job in jobs if job.name != "all"]

    def output(self):
        return (self.folder / "output").read_text()

    def processes(self):
        """Everything that works in this checkout, by process number and command line."""
        found = {}
        for process in psutil.process_iter(["cwd", "cmdline", "status"]):
            info = process.info
            if info["status"] != psutil.STATUS_ZOMBIE and info["cwd"] == str(self.folder):
                found[process.pid] = info["cmdline"] or []
        return found

    def signal(self, number):
        """Send a signal to everything on this machine."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def take_away(self):
        """What the owner of the machine does: all processes die at once, the disk is gone."""
        for number in (signal.SIGSTOP, signal.SIGKILL):
            self.signal(number)
        wait_until(lambda: not self.processes())
        time.sleep(0.2)  # what was on its way to the bucket arrives or does not
        shutil.rmtree(self.folder)

    def guard_log(self):
        """What the guard has said."""
        path = self.folder / "results/.cloud/guard.log"
        return path.read_text() if path.exists() else ""

    def guard(self):
        """The guard's process number, None when there is none."""
        return next((pid for pid, command in self.processes().items() if "guard" in command), None)


def commit(origin: Path) -> None:
    """This working tree as it is now, for machines to clone."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, found):
        if (REPOSITORY / name).is_file() and not name.startswith("tests/"):
            (origin / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, origin / name)
    for rules in origin.glob("rules/*.smk"):  # a job with a message is listed without its files
        rules.write_text(re.sub(r"\n    message:\n .*", "", rules.read_text()))


@dataclass
class DemoMachine(Machine):
    """A machine with a fresh clone of this repository."""

    origin: Path | None = None

    def check_out(self):
        # Like git, this gives every file the time of now.
        shutil.copytree(self.origin, self.folder, copy_function=shutil.copy, dirs_exist_ok=True)


def names(jobs: list[Job]) -> set[str]:
    """The names of jobs."""
    return {job.name for job in jobs}


def finished_jobs(names: set[str]) -> set[str]:
    """Jobs of the small workflow of which outputs, records, and all they were made from are among the given files."""

    def is_there(output):
        return output in names and f".snakemake/metadata/{urlsafe_b64encode(output.encode()).decode()}" in names

    numbers = {match[1] for name in names if (match := re.match(r"results/made/(\d+)\.txt$", name))}
    made = {i for i in numbers if is_there(f"results/made/{i}.txt") and is_there(f"results/made/{i}.json")}
    used = {i for i in made if is_there(f"results/used/{i}.txt")}
    done = {f"make/{i}" for i in made} | {f"use/{i}" for i in used}
    return done | ({"sum"} if used == numbers and is_there("results/sum.txt") else set())


def jobs_in_bucket(b2: LoopbackB2) -> set[str]:
    """Jobs of the small workflow whose results are safe."""
    return finished_jobs({name.removeprefix("blueprint/test/") for name in b2.files()})


def seeded(seed):
    """Random numbers that a failing test can be repeated with."""
    return random.Random(f"kill {seed}")


def started(machine):
    return machine.journal.read_text().split() if machine.journal.exists() else []


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, ns=(1_700_000_000_123_456_789, 1_700_000_000_123_456_789))
    return root


def record(kind, output):
    return f".snakemake/{kind}/{urlsafe_b64encode(output.encode()).decode()}"


def is_stopped(vast, number=7):
    return vast.status_of(number) == "exited"
