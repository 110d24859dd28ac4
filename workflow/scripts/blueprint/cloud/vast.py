"""Vast.ai through its own SDK: what an instance costs, what state it is in, how it is found, made and ended.

The SDK's command line is never imported: it copies API keys between files of the home folder. Requests that may be
repeated are, with growing pauses; making an instance may not be repeated, since each success is billed.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import subprocess
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
from vastai.api.query import numeric_version

from blueprint.cloud.settings import PROVIDER_MODES, CloudSettings
from blueprint.errors import UserError

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

CONSOLE = "https://cloud.vast.ai/instances/"
KEY_REMEDY = "Set VAST_API_KEY to a key from https://cloud.vast.ai/manage-keys/ (see config/runtime.env.example)."
REQUEST_TIMEOUT_S = 60.0
LONGEST_PAUSE_S = 15.0
LONGEST_WAIT_S = 60.0
"""Cap on a `Retry-After` of the server."""
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


@dataclass(frozen=True)
class Offer:
    """A machine that could be rented. ``rate_usd_per_h`` is what it will cost, for an interruptible one the bid."""

    id: int
    gpu: str
    vram_gb: float
    rate_usd_per_h: float
    reliability: float
    disk_gb: float
    location: str


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


def _ask(request: Callable[[], Answer], doing: str) -> Answer:
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


def _patiently(request: Callable[[], Answer], doing: str, patience_s: float) -> Answer:
    """Repeat a request until it is answered, at most for ``patience_s``."""
    try:
        return _retrying(Unreachable, patience_s)(_ask, request, doing)
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
        row = _patiently(lambda: api.show_instance(number), f"asking for instance {number}", patience_s)
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
    rows = _patiently(api.show_instances, "listing the instances", settings.machine["patience_s"])
    return [_instance(row["id"], row) for row in rows]


def logs(settings: CloudSettings, instance_id: int, lines: int) -> str:
    """The last lines of an instance's log.

    Raises:
        UserError: no such instance, or no answer.
    """
    api = client(settings)
    patience_s = settings.machine["patience_s"]
    try:
        text = _patiently(lambda: api.logs(instance_id, tail=str(lines)), "asking for the log", patience_s)
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
        UserError: the request was refused, Vast did not answer, or the state never changed: the machine still costs
            money, and the message says how to end it by hand.
    """
    mode = settings.shutdown if mode is None else mode
    known = instance_id is not None or settings.instance_id is not None
    if mode not in PROVIDER_MODES:
        _run_command(mode)
        if not (known and settings.vast_api_key):
            return "unconfirmed"
    number = instance_of(settings) if instance_id is None else instance_id
    api = client(settings)
    requested = 0

    def attempt() -> str:
        nonlocal requested
        doing = f"ending instance {number} ({mode})"
        try:
            if mode in PROVIDER_MODES:
                end = api.destroy_instance if mode == "destroy" else api.stop_instance
                answer = _ask(lambda: end(number), doing)
                if answer.get("success") is False:
                    raise NotYet(f"refused: {answer.get('msg') or answer.get('error') or 'no reason given'}")
                requested += 1
            found = _instance(number, _ask(lambda: api.show_instance(number), doing)).state
        except LookupError:
            found = "gone"
        if found == "gone" or (found == "stopped" and mode != "destroy"):
            return found
        raise NotYet(f"state is still {found!r}")

    try:
        return _retrying((Unreachable, NotYet), settings.machine["patience_s"])(attempt)
    except RetryError as error:
        reason = error.last_attempt.exception()
        raise UserError(
            f"Instance {number} was not ended within {settings.machine['patience_s']:g} s: {mode} was accepted "
            f"{requested} times, last: {reason}. IT STILL COSTS MONEY. End it at {CONSOLE} or with "
            f"`python workflow/scripts/vast.py stop {number}`."
        ) from None
    except UserError as error:
        raise UserError(
            f"{error} Instance {number} was not ended. IT STILL COSTS MONEY. End it at {CONSOLE}."
        ) from None


def _run_command(command: str) -> None:
    done = subprocess.run(["bash", "-c", command], check=False)
    if done.returncode:
        raise UserError(
            f"cloud.yaml: shutdown: {command!r} ended with status {done.returncode}. THE MACHINE STILL COSTS MONEY. "
            f"End it at {CONSOLE} and correct the command."
        )


def find_offers(settings: CloudSettings) -> list[Offer]:
    """Machines that meet the settings' section ``vast``, cheapest first.

    Vast filters; every condition is checked here again, since its API ignores filters it does not know.

    Raises:
        UserError: no key, a refused key, or no answer.
    """
    wanted = settings.machine
    driver = numeric_version(".".join([*wanted["min_driver"].split("."), "0", "0"][:3]))
    query: dict[str, Any] = {
        "num_gpus": {"eq": 1},
        "gpu_ram": {"gte": wanted["min_vram_gb"] * 1000},
        "reliability": {"gte": wanted["min_reliability"]},
        "disk_space": {"gte": wanted["disk_gb"]},
        "inet_down": {"gte": wanted["min_download_mbps"]},
        "driver_version": {"gte": driver},
    }
    if wanted["gpu_names"]:
        query["gpu_name"] = {"in": list(wanted["gpu_names"])}
    if not wanted["interruptible"]:
        query["dph_total"] = {"lte": wanted["max_usd_per_h"]}
    api = client(settings)
    rows = _patiently(
        lambda: api.search_offers(
            query=dict(query),
            type="bid" if wanted["interruptible"] else "on-demand",
            order="dph_total",
            storage=wanted["disk_gb"],
        ),
        "searching for offers",
        wanted["patience_s"],
    )
    offers = [_offer(row, wanted) for row in rows if _meets(row, wanted, driver)]
    return sorted(
        (offer for offer in offers if 0 < offer.rate_usd_per_h <= wanted["max_usd_per_h"]),
        key=lambda offer: (offer.rate_usd_per_h, -offer.reliability),
    )


def _meets(row: Mapping[str, Any], wanted: Mapping[str, Any], driver: int) -> bool:
    return (
        row.get("num_gpus") == 1
        and (not wanted["gpu_names"] or row.get("gpu_name") in wanted["gpu_names"])
        and (row.get("gpu_ram") or 0) >= wanted["min_vram_gb"] * 1000
        and (row.get("reliability") or row.get("reliability2") or 0) >= wanted["min_reliability"]
        and (row.get("disk_space") or 0) >= wanted["disk_gb"]
        and (row.get("inet_down") or 0) >= wanted["min_download_mbps"]
        and (row.get("driver_vers") or driver) >= driver
    )


def _offer(row: Mapping[str, Any], wanted: Mapping[str, Any]) -> Offer:
    price = row["min_bid"] * wanted["bid_factor"] if wanted["interruptible"] else row["dph_total"]
    return Offer(
        id=row["id"],
        gpu=row["gpu_name"],
        vram_gb=row["gpu_ram"] / 1000,
        rate_usd_per_h=round(price, 4),
        reliability=row.get("reliability") or row.get("reliability2"),
        disk_gb=row["disk_space"],
        location=row.get("geolocation") or "?",
    )


def create_instance(
    settings: CloudSettings, offer: Offer, environment: Mapping[str, str], onstart: str
) -> tuple[int, str]:
    """Rent an offer, once.

    The request is not repeated: when the answer is lost, an instance with this call's unique label is looked for, so
    that none is rented twice or forgotten.

    Args:
        environment: variables of the container, secrets among them; Vast keeps them with the instance.
        onstart: the shell commands that the container starts with (at most 4048 characters).

    Returns:
        The instance's id and label.

    Raises:
        UserError: the offer is taken, the request was refused, or it cannot be told whether there is an instance.
    """
    label = f"blueprint-{settings.run_id}-{secrets.token_hex(4)}"
    api = client(settings)
    try:
        answer = _ask(
            lambda: api.create_instance(
                offer.id,
                image=settings.machine["image"],
                disk=settings.machine["disk_gb"],
                env=dict(environment),
                price=offer.rate_usd_per_h if settings.machine["interruptible"] else None,
                label=label,
                onstart_cmd=onstart,
                ssh=True,
                direct=True,
                cancel_unavail=True,
            ),
            f"renting offer {offer.id}",
        )
    except LookupError:
        raise UserError(f"Offer {offer.id} is no longer there. Run `launch` again to take another one.") from None
    except Unreachable as reason:
        log.warning("The answer to renting offer %d was lost (%s); looking for an instance %s", offer.id, reason, label)
        try:
            made = [instance for instance in list_instances(settings) if instance.label == label]
        except UserError as error:
            raise UserError(
                f"Offer {offer.id} may have been rented or not. Look for an instance {label} at {CONSOLE}. {error}"
            ) from None
        if not made:
            raise UserError(f"Offer {offer.id} was not rented ({reason}). Nothing was made; try again.") from None
        return made[0].id, label
    if not answer.get("success") or "new_contract" not in answer:
        raise UserError(
            f"Vast did not rent offer {offer.id}: {answer.get('msg') or answer.get('error') or 'no reason'}"
        )
    return int(answer["new_contract"]), label
