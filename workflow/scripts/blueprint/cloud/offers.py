"""Offers at Vast.ai: which machines could be rented, and renting one of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vastai.api.query import numeric_version

from blueprint.cloud.settings import CloudSettings
from blueprint.cloud.vast import CONSOLE, Unreachable, ask, client, list_instances, patiently
from blueprint.errors import UserError

log = logging.getLogger(__name__)


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
    rows = patiently(
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
    settings: CloudSettings, offer: Offer, label: str, environment: Mapping[str, str], onstart: str
) -> int:
    """Rent an offer, once.

    The request is not repeated: when the answer is lost, an instance with this unique label is looked for, so
    that none is rented twice or forgotten.

    Args:
        label: a name that no other instance has.
        environment: variables of the container, secrets among them; Vast keeps them with the instance.
        onstart: the shell commands that the container starts with (at most 4048 characters).

    Returns:
        The instance's id.

    Raises:
        UserError: the offer is taken, the request was refused, or it cannot be told whether there is an instance.
    """
    api = client(settings)
    try:
        answer = ask(
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
        return made[0].id
    if not answer.get("success") or "new_contract" not in answer:
        raise UserError(
            f"Vast did not rent offer {offer.id}: {answer.get('msg') or answer.get('error') or 'no reason'}"
        )
    return int(answer["new_contract"])
