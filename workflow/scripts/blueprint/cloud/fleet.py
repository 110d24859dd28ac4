"""The instances of a run, as Vast lists them."""

from __future__ import annotations

import logging

from blueprint.cloud import vast
from blueprint.cloud.reaper import run_of
from blueprint.cloud.settings import CloudSettings
from blueprint.errors import UserError

log = logging.getLogger(__name__)


def is_ours(settings: CloudSettings, instance: vast.Instance) -> bool:
    """Whether `launch` made the instance for this run."""
    return run_of(settings, instance.label) == settings.run_id


def refuse_second(settings: CloudSettings) -> None:
    """Two machines of one run would make the same results twice, and pay twice.

    Raises:
        UserError: the run has an instance that is at work, or that Vast may start again.
    """
    for instance in vast.list_instances(settings):
        if is_ours(settings, instance) and instance.state not in ("stopping", "stopped"):
            raise UserError(
                f"run {settings.run_id}: instance {instance.id} is {instance.state}. End it first (`vast.py stop "
                f"{instance.id}`), or set another run_id in {settings.source}."
            )


def ours(settings: CloudSettings) -> list[int]:
    """The instances of this run."""
    return [instance.id for instance in vast.list_instances(settings) if is_ours(settings, instance)]


def chosen(settings: CloudSettings, number: int | None) -> int:
    """The instance that was named, or the only one of this run.

    Raises:
        UserError: none was named and there is not exactly one.
    """
    if number is not None:
        return number
    found = ours(settings)
    if len(found) != 1:
        listed = ", ".join(map(str, found)) or "none"
        raise UserError(f"run {settings.run_id}: found {len(found)} instances ({listed}). Name the one that is meant.")
    return found[0]


def schedule_stop(settings: CloudSettings, number: int, at_s: float) -> None:
    """Have Vast stop an instance at its deadline as well; that it does not is told, and stops nothing."""
    try:
        vast.schedule_stop(settings, number, at_s)
    except (UserError, LookupError) as error:
        log.warning("Vast's own scheduler will not end the machine (%s): the reaper and the machine itself will", error)
