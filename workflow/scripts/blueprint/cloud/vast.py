"""Vast.ai through its own SDK: what an instance costs, what state it is in, how it is found, made and ended.

The SDK's command line is never imported: it copies API keys between files of the home folder. Requests that may be
repeated are, with growing pauses; making an instance may not be repeated, since each success is billed.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import requests
from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)
from vastai import VastAI

from blueprint import system
from blueprint.cloud.settings import CloudSettings
from blueprint.cloud.shutdown import PROVIDER_MODES, words_of
from blueprint.errors import UserError

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

CONSOLE = "https://cloud.vast.ai/instances/"
KEY_REMEDY = "Set VAST_API_KEY to a key from https://cloud.vast.ai/manage-keys/ (see config/runtime.env.example)."
REQUEST_TIMEOUT_S = 60.0
LONGEST_PAUSE_S = 15.0
LONGEST_WAIT_S = 60.0
"""Cap on a `Retry-After` of the server."""
COMMAND_S = 300.0
SCHEDULE_S = 7 * 86_400.0
HALTED = ("stopped", "exited")
"""Container states without GPU charges, once a stop is what was asked for."""


class Unreachable(Exception):
    """Vast's API could not be asked just now; asking again after ``after_s`` seconds may help."""

    def __init__(self, reason: str, after_s: float = 0) -> None:
        super().__init__(reason)
        self.after_s = after_s


class NotYet(Exception):
    """A state change was asked for and has not happened yet."""


@dataclass(frozen=True)
class Instance:
    """What the workflow wants to know of an instance (its environment, which holds secrets, is left out)."""

    id: int
    state: str
    """``gone``, ``provisioning``, ``loading``, ``running``, ``stopping``, ``stopped`` (on request), ``paused`` (outbid,
    or no longer running though nobody asked), or another of Vast's words."""
    label: str = ""
    gpu: str = ""
    rate_usd_per_h: float | None = None
    message: str = ""
    ssh: str = ""
    """``root@host -p port``, empty when unknown."""
    started_s: float | None = None
    """When it was rented (seconds since 1970)."""


def client(settings: CloudSettings) -> VastAI:
    """Vast's client for the settings' key, against ``VAST_URL`` when that is set.

    Raises:
        UserError: there is no key.
    """
    if not settings.vast_api_key:
        raise UserError(f"environment: VAST_API_KEY: not set. {KEY_REMEDY}")
    api = VastAI(api_key=settings.vast_api_key, server_url=os.environ.get("VAST_URL"), retry=1)
    api.client.timeout = REQUEST_TIMEOUT_S
    return api


def ask(request: Callable[[], Answer], doing: str) -> Answer:
    """One request, its failures sorted: `Unreachable` may be repeated, `UserError` not, `LookupError` is a 404."""
    try:
        return request()
    except requests.HTTPError as error:
        status = error.response.status_code
        if status == 404:
            raise LookupError(doing) from None
        if status in (401, 403):
            raise UserError(f"Vast refused the API key while {doing} (HTTP {status}). {KEY_REMEDY}") from None
        if status == 429 or status >= 500:
            after = error.response.headers.get("Retry-After", "")
            raise Unreachable(f"HTTP {status}", float(after) if after.isdecimal() else 0) from None
        raise UserError(f"Vast refused {doing} (HTTP {status}: {_explanation(error.response)}).") from None
    except requests.RequestException as error:
        raise Unreachable(type(error).__name__) from None


def _explanation(response: requests.Response) -> str:
    try:
        answer = response.json()
        return str(answer.get("msg") or answer.get("error") or answer)[:200]
    except (ValueError, AttributeError):
        return response.text[:200]


def patiently(request: Callable[[], Answer], doing: str, patience_s: float) -> Answer:
    """Repeat a request until it is answered, at most for ``patience_s``."""
    try:
        return _retrying(Unreachable, patience_s)(ask, request, doing)
    except RetryError as error:
        reason = error.last_attempt.exception()
        raise UserError(
            f"Vast's API did not answer for {patience_s:g} s while {doing} (last: {reason}). "
            f"Look at {CONSOLE} and https://status.vast.ai, then try again."
        ) from None


def _retrying(reasons: type[Exception] | tuple[type[Exception], ...], patience_s: float) -> Retrying:
    longest_s = min(LONGEST_PAUSE_S, patience_s / 4)
    growing = wait_random_exponential(multiplier=longest_s / 8, min=longest_s / 16, max=longest_s)

    def pause_s(call: RetryCallState) -> float:
        return max(growing(call), min(getattr(call.outcome.exception(), "after_s", 0), LONGEST_WAIT_S))

    def say(call: RetryCallState) -> None:
        log.warning("Vast: %s; asking again in %.1f s", call.outcome.exception(), call.next_action.sleep)

    return Retrying(
        retry=retry_if_exception_type(reasons), wait=pause_s, stop=stop_after_delay(patience_s), before_sleep=say
    )


def instance_of(settings: CloudSettings) -> int:
    """The id of the instance that the settings are about.

    Raises:
        UserError: it is not known, as on a machine that is no Vast instance.
    """
    if settings.instance_id is None:
        raise UserError(
            "environment: VAST_INSTANCE_ID: not set, and this is no Vast container. Set it to the number that "
            "`python workflow/scripts/vast.py status` prints."
        )
    return settings.instance_id


def describe(settings: CloudSettings, instance_id: int | None = None) -> Instance:
    """An instance as Vast sees it now; its state is ``gone`` when it does not exist.

    Raises:
        UserError: no key, a refused key, or no answer within the settings' patience.
    """
    number = instance_of(settings) if instance_id is None else instance_id
    api = client(settings)
    patience_s = settings.machine["patience_s"]
    try:
        row = patiently(lambda: api.show_instance(number), f"asking for instance {number}", patience_s)
    except LookupError:
        row = None
    return _instance(number, row)


def _instance(number: int, row: Mapping[str, Any] | None) -> Instance:
    if not row:
        return Instance(number, "gone")
    rate = row.get("dph_total")
    host, port = row.get("ssh_host"), row.get("ssh_port")
    return Instance(
        id=number,
        state=_state(row),
        label=row.get("label") or "",
        gpu=f"{row.get('num_gpus') or 1}x {row.get('gpu_name') or '?'}",
        rate_usd_per_h=rate if isinstance(rate, int | float) and math.isfinite(rate) and rate > 0 else None,
        message=(row.get("status_msg") or "").strip(),
        ssh=f"root@{host} -p {port}" if host and port else "",
        started_s=row.get("start_date"),
    )


def _state(row: Mapping[str, Any]) -> str:
    actual, intended = row.get("actual_status"), row.get("intended_status")
    if actual in HALTED:
        return "stopped" if intended == "stopped" else "paused"
    if intended == "stopped":
        return "stopping"
    return actual or "provisioning"


def state(settings: CloudSettings) -> str:
    """The state of the settings' instance, in the words of `Instance.state`."""
    return describe(settings).state


def rate_usd_per_h(settings: CloudSettings) -> float:
    """Hourly rate in US dollars: the setting, else what Vast charges for the instance.

    Raises:
        UserError: neither is known.
    """
    if settings.rate_usd_per_h is not None:
        return settings.rate_usd_per_h
    found = describe(settings)
    if found.rate_usd_per_h is None:
        raise UserError(
            f"{settings.source}: rate_usd_per_h: null, and Vast names no price for instance {found.id} "
            f"(state {found.state}). Set rate_usd_per_h."
        )
    return found.rate_usd_per_h


def list_instances(settings: CloudSettings) -> list[Instance]:
    """All instances of the account.

    Raises:
        UserError: no key, a refused key, or no answer.
    """
    api = client(settings)
    rows = patiently(api.show_instances, "listing the instances", settings.machine["patience_s"])
    return [_instance(row["id"], row) for row in rows]


def logs(settings: CloudSettings, instance_id: int, lines: int) -> str:
    """The last lines of an instance's log.

    Raises:
        UserError: no such instance, or no answer.
    """
    api = client(settings)
    patience_s = settings.machine["patience_s"]
    try:
        text = patiently(lambda: api.logs(instance_id, tail=str(lines)), "asking for the log", patience_s)
    except (LookupError, TimeoutError):
        raise UserError(f"Vast has no log of instance {instance_id}. Look whether it exists: `status`.") from None
    if not isinstance(text, str):
        raise UserError(f"Vast has no log of instance {instance_id} yet ({text.get('msg', 'no reason given')}).")
    return text


def shutdown(settings: CloudSettings, mode: str | None = None, instance_id: int | None = None) -> str:
    """End an instance, and return only when Vast says that it has ended.

    Args:
        settings: whose ``shutdown`` is carried out when ``mode`` is None.
        mode: ``stop`` (the disk stays and is billed), ``destroy``, or a shell command.
        instance_id: instead of the settings' own.

    Returns:
        The state that was read back; ``unconfirmed`` after a command on a machine that Vast does not know.

    Raises:
        UserError: Vast does not know the instance, refused, did not answer, or the state never changed: the machine may
            still cost money, and the message says how to end it by hand.
    """
    mode = settings.shutdown if mode is None else mode
    known = instance_id is not None or settings.instance_id is not None
    if mode not in PROVIDER_MODES:
        _run_command(mode)
        if not (known and settings.vast_api_key):
            return "unconfirmed"
    ending = _Ending(client(settings), instance_of(settings) if instance_id is None else instance_id, mode)
    try:
        return _retrying((Unreachable, NotYet), settings.machine["patience_s"])(ending.attempt)
    except RetryError as error:
        reason = error.last_attempt.exception()
        raise UserError(
            f"Instance {ending.number} was not ended within {settings.machine['patience_s']:g} s: {mode} was accepted "
            f"{ending.requested} times, last: {reason}. IT STILL COSTS MONEY. End it at {CONSOLE} or with "
            f"`python workflow/scripts/vast.py stop {ending.number}`."
        ) from None
    except UserError as error:
        raise UserError(
            f"{error} Instance {ending.number} was not ended. IT STILL COSTS MONEY. End it at {CONSOLE}."
        ) from None


@dataclass
class _Ending:
    """An instance that is to end, asked again until it has."""

    api: Any
    number: int
    mode: str
    requested: int = 0
    """How often Vast has accepted it."""

    def __post_init__(self) -> None:
        self.is_known = self.mode not in PROVIDER_MODES
        """Whether there is such an instance, or was: one that is gone then has ended."""

    def attempt(self) -> str:
        """The state that was read back.

        Raises:
            NotYet: it has not ended.
            Unreachable: Vast does not answer.
            UserError: Vast knows no such instance.
        """
        doing = f"ending instance {self.number} ({self.mode})"
        try:
            if self.mode in PROVIDER_MODES:
                self._request(doing)
            found = _instance(self.number, ask(lambda: self.api.show_instance(self.number), doing)).state
        except LookupError:
            if not self.is_known:
                raise UserError(f"Vast knows no instance {self.number} of this key's account.") from None
            found = "gone"
        if found == "gone" or (found == "stopped" and self.mode != "destroy"):
            return found
        raise NotYet(f"state is still {found!r}")

    def _request(self, doing: str) -> None:
        end = self.api.destroy_instance if self.mode == "destroy" else self.api.stop_instance
        try:
            answer = ask(lambda: end(self.number), doing)
        except Unreachable:
            self.is_known = True  # it may have been carried out, and the answer lost
            raise
        if answer.get("success") is False:
            raise NotYet(f"refused: {answer.get('msg') or answer.get('error') or 'no reason given'}")
        self.requested, self.is_known = self.requested + 1, True


def _run_command(command: str) -> None:
    try:
        status: int | str = system.run(words_of(command), deadline_s=COMMAND_S).returncode
    except UserError as error:
        status = str(error)
    if status:
        raise UserError(
            f"cloud.yaml: shutdown: {command!r} failed ({status}). THE MACHINE STILL COSTS MONEY. End it at {CONSOLE} "
            "and correct the command."
        )


def schedule_stop(settings: CloudSettings, number: int, at_s: float) -> None:
    """Have Vast itself stop an instance every hour from a moment on: a second layer, should no reaper look.

    Args:
        at_s: seconds since 1970.

    Raises:
        UserError: Vast refused or did not answer.
    """
    api = client(settings)
    patiently(
        lambda: api.create_scheduled_job(
            start_time=at_s,
            end_time=at_s + SCHEDULE_S,
            api_endpoint=f"/api/v0/instances/{number}/",
            request_method="PUT",
            request_body={"state": "stopped"},
            frequency="HOURLY",
            instance_id=number,
        ),
        f"scheduling the stop of instance {number}",
        settings.machine["patience_s"],
    )
