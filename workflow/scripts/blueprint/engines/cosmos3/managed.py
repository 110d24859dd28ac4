"""The servers of a run that the workflow itself starts, as a job sees them.

Each has a slot, files that all jobs of the run find, and a keeper (`blueprint.engines.cosmos3.keeper`), a process that
outlives the job that started it. Its lock says that it lives: it is taken before the keeper is started, so two jobs
never start two, and it ends with the keeper, however that ends.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blueprint
from blueprint.engines.cosmos3 import serving
from blueprint.engines.cosmos3.keeper import RESTARTS
from blueprint.engines.cosmos3.server import Gone, VideoServer
from blueprint.engines.task import Options
from blueprint.files import read_json, write_json

RUN = "BLUEPRINT_RUN"
"""``<host>:<process>`` that a run ends with; without it, or on another machine, that is this process."""
LOGS = Path(".snakemake/servers")


@dataclass(frozen=True)
class Slot:
    """Where jobs and keeper of one server meet."""

    folder: Path
    number: int

    @property
    def state(self) -> Path:
        """What the server is, written before its keeper is started: ``url``, ``log``, ``vllm``."""
        return self.folder / f"{self.number}.json"

    @property
    def failure(self) -> Path:
        """Why the keeper gave up; there is no such file until it does."""
        return self.folder / f"{self.number}.failure.json"

    @property
    def lock(self) -> Path:
        """Held by a keeper as long as it lives."""
        return self.folder / f"{self.number}.lock"

    def is_kept(self) -> bool:
        """Whether its keeper lives."""
        with self.lock.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def start(self, order: dict[str, Any], vllm: str) -> None:
        """Start a keeper, which has the lock from the beginning."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = (LOGS / f"{order['run']}-{self.number}.log").resolve()
        log.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.state, {"url": f"http://127.0.0.1:{port}", "log": str(log), "vllm": vllm})
        told = {**order, "port": port, "log": str(log), "failure": str(self.failure), "folder": str(self.folder)}
        program = Path(blueprint.__file__).parents[1] / "keep_server.py"
        with self.lock.open("a") as lock, log.open("a") as output:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            subprocess.Popen(
                [sys.executable, str(program), "--order", json.dumps(told)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # what ends a group of this run gives the keeper time to end the server
                pass_fds=[lock.fileno()],
            )


class ManagedServer(VideoServer):
    """A server that comes back when it dies, until its keeper gives up."""

    chances = RESTARTS + 1  # the last is told by the keeper, with the end of the log

    def __init__(self, slot: Slot, deadline_s: float, stop: threading.Event) -> None:
        """A client of the server of a slot; how long it may load is its keeper's to say."""
        state = read_json(slot.state)
        super().__init__(state["url"], math.inf, deadline_s, stop)
        self.slot, self.facts = slot, {"vllm": state["vllm"]}

    def ready(self) -> bool:
        """Whether its model is loaded.

        Raises:
            Gone: its keeper gave up, or was killed.
        """
        if self.slot.failure.exists():
            raise Gone(read_json(self.slot.failure)["reason"])
        if not self.slot.is_kept():
            raise Gone(f"what kept it running was killed; its log is {read_json(self.slot.state)['log']}")
        return super().ready()


def servers(options: Options, stop: threading.Event) -> list[VideoServer]:
    """The servers of this run, one for each GPU of the job; those that do not run yet are started.

    Raises:
        UserError: the program that serves is not there, or of another version.
    """
    run = _process_of_the_run()
    slots = [Slot(_meeting_place(run), number) for number in range(options.gpus)]
    with (slots[0].folder / "starting.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the second of two jobs finds what the first has started
        absent = [slot for slot in slots if not slot.failure.exists() and not slot.is_kept()]
        if absent:
            order = _order(options, run)
            vllm = serving.version_of(order["program"])
        for slot in absent:
            slot.start(order, vllm)
    return [ManagedServer(slot, options.machine["deadline_min"] * 60, stop) for slot in slots]


def _process_of_the_run() -> int:
    host, _, process = os.environ.get(RUN, "").rpartition(":")
    return int(process) if host == socket.gethostname() else os.getpid()


def _meeting_place(run: int) -> Path:
    """A folder of this machine, of this user and of this run: a process id comes again, with its start it does not."""
    started = Path(f"/proc/{run}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    folder = Path(tempfile.gettempdir()) / f"blueprint-servers-{os.getuid()}-{run}-{started}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _order(options: Options, run: int) -> dict[str, Any]:
    """What a keeper is told, but for what is its own."""
    settings, machine = options.settings, options.machine
    return {
        **{name: settings[name] for name in ("model", "revision", "disable_guardrails")},
        "quantization": settings.get("quantization"),
        "offload": machine["offload"],
        "start_s": machine["start_min"] * 60,
        "program": serving.program(machine.get("vllm")),
        "run": run,
    }
