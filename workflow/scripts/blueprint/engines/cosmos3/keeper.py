"""Keeps one server of Cosmos 3 running until its run ends: a process of its own (`keep_server.py`).

It holds a GPU, starts the server, asks after its health, starts it again when it dies or hangs, and gives up when it
dies too often or never gets ready. It ends when the process of the run ends, also by SIGKILL, and takes the server with
it; if it is killed itself, the kernel ends the server.
"""

from __future__ import annotations

import logging
import os
import select
import shutil
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2

from blueprint import nvidia
from blueprint.engines.cosmos3 import serving
from blueprint.engines.cosmos3.memory import vram_gb
from blueprint.engines.gpu import Gpu, check_vram, held_gpus
from blueprint.errors import UserError
from blueprint.files import write_json

log = logging.getLogger(__name__)
logging.getLogger("httpx2").setLevel(logging.WARNING)

RESTARTS = 3
"""How often a server that dies is started again in one run: each time a model is loaded, on a paid card."""
HUNG_S = 300.0
"""How long a server that was ready may be unhealthy until it is ended and started again."""
LOG_LINES = 15


class RunOver(Exception):
    """The run has ended: nobody needs the server."""


class Hung(Exception):
    """The server lives and does not answer."""


class Watch:
    """Asked about twice a second while the server runs: does the run live, and is the server healthy?"""

    def __init__(self, run: int, order: Mapping[str, Any]) -> None:
        """Of a server that is about to start; ``run`` is a pidfd."""
        self.run, self.start_s = run, order["start_s"]
        self.healthy, self.since = False, time.monotonic()
        self._client = httpx2.Client(base_url=f"http://127.0.0.1:{order['port']}", timeout=5, trust_env=False)

    def __call__(self) -> None:
        """Look.

        Raises:
            RunOver: the run has ended.
            UserError: the server is not ready in time.
            Hung: it was, and has not been healthy for long.
        """
        if select.select([self.run], [], [], 0)[0]:
            raise RunOver
        with suppress(httpx2.HTTPError):
            if self._client.get("/health").status_code == 200:
                self.healthy, self.since = True, time.monotonic()
        waited_s = time.monotonic() - self.since
        if self.healthy and waited_s > HUNG_S:
            raise Hung(f"it has not been healthy for {HUNG_S:g} s")
        if not self.healthy and waited_s > self.start_s:
            raise UserError(f"the server was not ready within {self.start_s / 60:g} min (`enrich.start_min`)")


def keep(order: Mapping[str, Any]) -> None:
    """Keep a server until the run ends; why it is given up before is written where jobs look.

    Args:
        order: what to serve and how (`blueprint.engines.cosmos3.managed`).
    """
    folder = Path(order["folder"])
    try:
        run = os.pidfd_open(order["run"])
        with held_gpus(1) as gpus:
            _serve(order, gpus, run)
    except UserError as error:
        log.error("%s", error)
        write_json(Path(order["failure"]), {"reason": f"{error}; {_end_of(Path(order['log']))}"})
        select.select([run], [], [])  # jobs that come later are told the same, until the run ends
    except (RunOver, ProcessLookupError):
        log.info("the run has ended")
    shutil.rmtree(folder, ignore_errors=True)


def _serve(order: Mapping[str, Any], gpus: list[Gpu], run: int) -> None:
    """Start the server as often as it may be.

    Raises:
        UserError: it does not fit the card, is not ready in time, or dies too often.
        RunOver: it is needed no longer.
    """
    needed_gb = vram_gb(order["model"], order["quantization"], offload=False)
    offload = order["offload"] == "always" or (order["offload"] == "auto" and gpus[0].total_gb < needed_gb)
    if offload:
        needed_gb = vram_gb(order["model"], order["quantization"], offload)
    fits = check_vram(needed_gb, gpus)
    if fits.result == "fail":
        raise UserError(f"{fits.evidence}. {fits.remedy}")
    log.info("%s; %s", fits.evidence, "layers stay in the machine's memory" if offload else "all on the card")
    command, deaths = serving.command(order, offload), 0
    while True:
        try:
            status = nvidia.run(command, Path.cwd(), gpus, {}, Watch(run, order))
            found = f"it exited with {status}"
        except Hung as hung:
            found = str(hung)
        deaths += 1
        if deaths > RESTARTS:
            raise UserError(f"the server died {deaths} times, the last time since {found}")
        log.warning("the server died (%s) and is started again", found)


def _end_of(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as lines:
        end = "".join(deque(lines, LOG_LINES))
    return f"the end of {path}:\n{end}"
