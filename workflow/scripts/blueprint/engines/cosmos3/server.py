"""A client of vLLM-Omni's asynchronous protocol for videos (`/v1/videos`, as of 0.30.0).

A job is submitted, asked after until it ends, fetched, and deleted. What goes wrong is one of two things: the server is
gone (`Gone`), and another may make the variant; or it refused or failed the job (`UserError`), which another would too.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2

from blueprint.engines.cosmos3.hints import is_loopback
from blueprint.errors import UserError

log = logging.getLogger(__name__)
logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line per question otherwise

POLL_S = 2.0
LOST_S = 60.0
"""How long a server that has a job may give no proper answer before it is taken for dead."""
ANSWER_S = 120.0
"""Longest wait for one answer; a submission is answered when its videos are read."""
CHUNK_BYTES = 1 << 20


class Gone(Exception):
    """A server does not answer, or has lost the job: it died, or was restarted."""


class Stopped(Exception):
    """The job of this clip ends; nothing more is wanted of the servers."""


class VideoServer:
    """One server, which makes one video at a time."""

    chances = 1
    """How often it may die in the middle before it is given nothing more."""
    facts: Mapping[str, Any] = {}
    """What the record of a variant says of it."""

    def __init__(self, url: str, start_s: float, deadline_s: float, stop: threading.Event) -> None:
        """A client.

        Args:
            url: address, without a slash at its end.
            start_s: longest wait for the model to be loaded.
            deadline_s: longest wait for one video, once it is submitted.
            stop: set when nothing more is wanted.
        """
        self.url, self.start_s, self.deadline_s, self.stop = url, start_s, deadline_s, stop
        self._lock: Any = None
        self._asked = 0.0  # since when it is not ready
        # A proxy of the environment is no way to this machine.
        self._client = httpx2.Client(base_url=url, timeout=ANSWER_S, trust_env=not is_loopback(url))

    def hold(self) -> bool:
        """Take the server for one variant, unless another job of this machine has it: so its queue stays empty."""
        name = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        lock = (Path(tempfile.gettempdir()) / f"blueprint-server-{os.getuid()}-{name}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        return True

    def release(self) -> None:
        """Let others have it."""
        self._lock.close()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def ready(self) -> bool:
        """Whether its model is loaded.

        Raises:
            Gone: it is not, and has not been for as long as that may take.
            UserError: something else answers there.
        """
        self._asked = self._asked or time.monotonic()
        try:
            status = self._client.get("/health", timeout=10).status_code
        except httpx2.TransportError as error:
            found = f"no connection ({error})"
        else:
            if status == 200:
                self._asked = 0.0
                return True
            if status not in (500, 502, 503, 504):  # loading, or a proxy in front of it
                raise UserError(
                    f"{self.url}/health answers {status}: that is no server of vLLM-Omni. Correct `enrich.server_urls`."
                )
            found = f"/health answers {status}"
        if time.monotonic() - self._asked > self.start_s:
            raise Gone(f"not ready within {self.start_s / 60:g} min (`enrich.start_min`): {found}")
        return False

    def make(self, name: str, fields: Mapping[str, str], files: Mapping[str, Path], target: Path) -> dict[str, Any]:
        """Have a video made.

        Args:
            name: what messages call it.
            fields: of the form.
            files: videos to upload, by the field that takes them.
            target: where the video goes.

        Returns:
            What the server says of the finished job.

        Raises:
            UserError: the server refused or failed it, with its own words, or the deadline passed.
            Gone: the server died.
            Stopped: it is wanted no more.
        """
        job = self._submit(name, fields, files)
        try:
            done = self._wait_until_made(name, job)
            self._fetch(name, job, target)
        finally:
            with suppress(httpx2.HTTPError):  # of a server that is gone, or that has deleted it
                self._client.delete(f"/v1/videos/{job}", timeout=10)
        return done

    def _submit(self, name: str, fields: Mapping[str, str], files: Mapping[str, Path]) -> str:
        until = time.monotonic() + self.start_s
        while True:
            try:
                uploads = {field: (path.name, path.read_bytes(), "video/mp4") for field, path in files.items()}
                parts = {field: (None, value) for field, value in fields.items()}  # multipart without a file too
                answer = self._client.post("/v1/videos", files={**parts, **uploads})
            except httpx2.TransportError as error:
                raise Gone(f"it broke off when it was given {name} ({error})") from error
            if answer.status_code == 503 and time.monotonic() < until:
                self._pause()
                continue
            if answer.status_code in (502, 503, 504):
                raise Gone(f"it answers {answer.status_code} when it is given {name}: {said(answer)}")
            if answer.status_code != 200:
                raise UserError(f"{name}: {self.url} refused it ({answer.status_code}): {said(answer)}")
            job = content(answer).get("id")
            if not job:
                raise UserError(f"{name}: {self.url} answered without an id: {said(answer)}")
            return str(job)

    def _wait_until_made(self, name: str, job: str) -> dict[str, Any]:
        started = heard = time.monotonic()
        while True:
            self._pause()
            now = time.monotonic()
            if now - started > self.deadline_s:
                raise UserError(
                    f"{name}: {self.url} did not make it within {self.deadline_s / 60:g} min "
                    "(`enrich.deadline_min`). Look at the server, or raise the key."
                )
            try:
                answer = self._client.get(f"/v1/videos/{job}")
            except httpx2.TransportError as error:
                found = f"no answer while it made {name} ({error})"
            else:
                body = content(answer)
                if body.get("status") == "failed":  # whatever the code: it is the failure's own
                    self._report_failure(name, answer)
                if answer.status_code == 404:
                    raise Gone(f"it does not know {name} any more: it was restarted")
                if answer.status_code == 200:
                    heard = now
                    if body.get("status") == "completed":
                        return body
                    continue
                if answer.status_code < 500:
                    raise UserError(f"{name}: {self.url} answers {answer.status_code}: {said(answer)}")
                found = f"it answers {answer.status_code} while it makes {name}: {said(answer)}"
            if now - heard > LOST_S:
                raise Gone(found)

    def _report_failure(self, name: str, answer: httpx2.Response) -> None:
        """A failed job is the request's fault, unless the engine of the server died of something."""
        if answer.status_code >= 500:
            try:
                alive = self._client.get("/health", timeout=10).status_code == 200
            except httpx2.TransportError:
                alive = False
            if not alive:
                raise Gone(f"it died while it made {name}: {said(answer)}")
        raise UserError(f"{name}: {self.url} failed to make it ({answer.status_code}): {said(answer)}")

    def _fetch(self, name: str, job: str, target: Path) -> None:
        until = time.monotonic() + LOST_S
        while True:
            found = ""
            try:
                with self._client.stream("GET", f"/v1/videos/{job}/content") as answer:
                    if answer.status_code == 200:
                        with target.open("wb") as stream:
                            for chunk in answer.iter_bytes(CHUNK_BYTES):
                                stream.write(chunk)
                        return
                    answer.read()
                    if answer.status_code == 422:
                        raise UserError(f"{name}: {self.url} has no video of it (422): {said(answer)}")
                    found = f"its video is not to be had ({answer.status_code}): {said(answer)}"
            except httpx2.TransportError as error:
                found = f"it broke off while {name} was fetched ({error})"
            if time.monotonic() > until:  # 404 while the file is being stored
                raise Gone(found)
            self._pause()

    def _pause(self) -> None:
        if self.stop.wait(POLL_S):
            raise Stopped


def content(answer: httpx2.Response) -> dict[str, Any]:
    """The JSON object of an answer; an empty one where it is something else."""
    with suppress(json.JSONDecodeError, UnicodeDecodeError):
        body = answer.json()
        return body if isinstance(body, dict) else {}
    return {}


def said(answer: httpx2.Response) -> str:
    """What an answer says in words: `error.message`, `detail`, or its beginning."""
    body = content(answer)
    error = body.get("error")
    words = error.get("message") if isinstance(error, dict) else error or body.get("detail")
    return str(words or answer.text or "nothing")[:2000]
