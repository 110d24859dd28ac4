"""The dead-man switch outside the machines: ends what is past its deadline, silent, or a disk that nobody wants.

It needs nothing of a machine but what it left in the bucket, with the time at which B2 received it: the launch record
and the accounts. A machine that never wrote one is silent since it was rented.
"""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256

from blueprint.cloud import notify, vast
from blueprint.cloud.accounts import store_of
from blueprint.cloud.b2 import Store
from blueprint.cloud.bucket import LEDGER
from blueprint.cloud.launched import LAUNCHES, Launch
from blueprint.cloud.ledger import Entry, cost_usd, read_entry
from blueprint.cloud.settings import CloudSettings
from blueprint.errors import UserError

log = logging.getLogger(__name__)

REPORT = "reaper.json"
"""In the prefix's folder: when a reaper last looked."""
FRESH_S = 86_400.0
REAPED = "-reaped.json"
"""Ends the name of the reaper's own account of an instance."""


@dataclass(frozen=True)
class Verdict:
    """What is to be done with an instance, and why."""

    action: str
    """``leave``, ``stop`` or ``destroy``."""
    reason: str = ""


def judge(
    state: str, deadline_s: float | None, sign_s: float, now_s: float, silent_s: float, keep_disk_s: float
) -> Verdict:
    """Decide about one instance.

    Args:
        state: as Vast sees it, in the words of `vast.Instance`.
        deadline_s: until when it may live (seconds since 1970); None when there is no launch record.
        sign_s: when it last showed a sign of life, which is when it was rented if it never did.
        now_s: by the same clock.
        silent_s: longest silence of a machine that costs its GPU.
        keep_disk_s: longest silence of one that costs its disk.
    """
    silence_s = now_s - sign_s
    if state in ("stopped", "paused") and silence_s > keep_disk_s:
        return Verdict("destroy", f"its disk was kept for {silence_s / 3600:.1f} h")
    if state == "stopped":
        return Verdict("leave", "stopped, its disk is billed")
    if deadline_s is not None and now_s > deadline_s:
        return Verdict("stop", f"it is {(now_s - deadline_s) / 60:.0f} min past its deadline")
    if state == "paused":
        return Verdict("leave", "paused by Vast, its disk is billed")
    if silence_s > silent_s:
        return Verdict("stop", f"it has been silent for {silence_s / 60:.0f} min")
    return Verdict("leave", f"last sign of life {silence_s:.0f} s ago")


def place_digest(settings: CloudSettings) -> str:
    """Four hexadecimal digits of where results go: two projects on one account leave each other's machines alone."""
    return sha256(f"{settings.bucket}/{settings.prefix}".encode()).hexdigest()[:4]


def run_of(settings: CloudSettings, label: str) -> str | None:
    """The run that an instance's label names; None when it is not one of this project's."""
    match = re.fullmatch(rf"blueprint-(.+)-{place_digest(settings)}[0-9a-f]{{8}}", label)
    return match[1] if match else None


@dataclass(frozen=True)
class Found:
    """An instance of this project, and what was done with it."""

    instance: vast.Instance
    run_id: str
    verdict: Verdict
    state: str
    """Afterwards; empty when it was not ended though it should have been."""
    problem: str = ""


class Reaper:
    """One look at all instances of the account."""

    def __init__(self, settings: CloudSettings) -> None:
        """Raises `UserError` without the keys."""
        self.settings = settings
        self.store = store_of(settings, settings.prefix)
        self.now_s = time.time() + self.store.authorise()

    def reap(self, dry_run: bool = False) -> list[Found]:
        """Look at every instance of this project, end what has to be ended, and report in the bucket.

        Raises:
            UserError: Vast or the bucket could not be asked.
        """
        found = []
        for instance in vast.list_instances(self.settings):
            run_id = run_of(self.settings, instance.label)
            if run_id is not None:
                found.append(self._look_at(instance, run_id, dry_run))
        if not dry_run:
            seen = {str(one.instance.id): one.verdict.action for one in found}
            self.store.put(REPORT, json.dumps({"at_s": self.now_s, "seen": seen}).encode())
        return found

    def _look_at(self, instance: vast.Instance, run_id: str, dry_run: bool) -> Found:
        store = store_of(self.settings, f"{self.settings.prefix}/{run_id}")
        launch = self._launch(store, instance.label)
        rented_s = instance.started_s or (launch.launched_s if launch else 0.0)
        own = (found for found in store.list(f"{LEDGER}/{instance.id}-") if not found.name.endswith(REAPED))
        signs = {found.name: found.at_s for found in own}
        sign_s = max([rented_s, *signs.values()])
        settings = self.settings
        verdict = judge(
            instance.state,
            launch.deadline_s if launch else None,
            sign_s,
            self.now_s,
            settings.silent_s,
            settings.keep_disk_h * 3600,
        )
        if verdict.action == "leave" or dry_run:
            return Found(instance, run_id, verdict, instance.state)
        try:
            state, problem = vast.shutdown(settings, verdict.action, instance.id), ""
        except UserError as error:
            state, problem = "", str(error)
        self._account(store, instance, signs, launch, rented_s)
        text = f"Instance {instance.id} of run {run_id}: {verdict.reason}; it is {state or 'NOT ENDED'}. {problem}"
        log.warning("%s", text)
        notify.tell(settings, "reap", text.strip())
        return Found(instance, run_id, verdict, state, problem)

    @staticmethod
    def _launch(store: Store, label: str) -> Launch | None:
        text = store.get(f"{LAUNCHES}/{label}.json")
        try:
            return Launch.from_text(text) if text else None
        except UserError as error:
            log.warning("%s: %s", label, error)
            return None

    def _account(
        self, store: Store, instance: vast.Instance, signs: dict[str, float], launch: Launch | None, rented_s: float
    ) -> None:
        """Account for the time that the machine itself has not: from its last account to its end."""
        if instance.state in ("stopped", "paused"):
            return
        rate, since_s = instance.rate_usd_per_h or (launch.rate_usd_per_h if launch else 0.0), rented_s
        for name, at_s in signs.items():
            if at_s > since_s:
                since_s = at_s
                machine = name.rpartition("/")[2].removesuffix(".json")
                try:
                    rate = read_entry(machine, store.get(name) or b"").rate_usd_per_h
                except UserError as error:
                    log.warning("%s", error)
        seconds = max(0.0, time.time() + store.clock_offset_s - since_s)
        at = datetime.fromtimestamp(since_s, UTC).isoformat(timespec="seconds")
        name = f"{instance.id}-reaped"
        entry = Entry(name, rate, seconds, cost_usd(seconds, rate), 0.0, at, at)
        store.put(f"{LEDGER}/{name}.json", json.dumps(asdict(entry)).encode())


def refuse_unwatched(settings: CloudSettings) -> None:
    """Check that a reaper has looked within a day: nobody else ends a machine that cannot end itself.

    Raises:
        UserError: none has.
    """
    store = store_of(settings, settings.prefix)
    text = store.get(REPORT)
    try:
        age_s = time.time() + store.clock_offset_s - json.loads(text)["at_s"] if text else None
    except (ValueError, KeyError, TypeError):
        age_s = None
    if age_s is None or age_s > FRESH_S:
        when = "has never reported" if age_s is None else f"reported {age_s / 3600:.0f} h ago"
        raise UserError(
            f"reaper: {when}. Run `vast.py reap` now and have it run every 10 minutes by a computer that stays on (see "
            "profiles/vast/README.md), or launch with --no-reaper and watch the machine yourself."
        )
