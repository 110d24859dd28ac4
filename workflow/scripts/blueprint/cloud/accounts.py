"""This machine's account and those of the others, exchanged through the bucket, and the price it is counted at."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from blueprint.cloud import vast
from blueprint.cloud.b2 import Store
from blueprint.cloud.bucket import LEDGER
from blueprint.cloud.ledger import Entry, Ledger, read_entry
from blueprint.cloud.machine import container_age_s, machine_id
from blueprint.cloud.settings import CloudSettings
from blueprint.errors import UserError

log = logging.getLogger(__name__)

OLD_UPLOAD_S = 86_400.0


def store_of(settings: CloudSettings, folder: str | None = None) -> Store:
    """The run's folder in the bucket (or another one), for small objects.

    Raises:
        UserError: a credential is missing.
    """
    if not settings.key_id or not settings.application_key:
        raise UserError(
            "environment: B2_APPLICATION_KEY_ID and B2_APPLICATION_KEY are needed and at least one is empty. "
            "Set both, or write them into config/runtime.env (see config/runtime.env.example)."
        )
    place = f"{settings.prefix}/{settings.run_id}" if folder is None else folder
    return Store(settings.bucket, place, settings.key_id, settings.application_key, settings.endpoint)


def accounts_in(store: Store) -> list[Entry]:
    """The accounts of all machines of a run, as the bucket has them.

    Raises:
        UserError: the bucket cannot be read, or an account is none.
    """
    names = [found.name for found in store.list(f"{LEDGER}/") if found.name.endswith(".json")]
    return [read_entry(Path(name).stem, store.get(name) or b"") for name in names]


class Accounts:
    """The cost of the run, as far as it is known on this machine."""

    def __init__(self, settings: CloudSettings, root: Path) -> None:
        """Open this machine's account, at the settings' rate, the one it has already, or none yet."""
        self.settings = settings
        machine = machine_id(settings.instance_id)
        self.ledger = Ledger(root / LEDGER, machine, settings.rate_usd_per_h, container_age_s())
        self.store: Store | None = None
        with suppress(UserError):
            self.store = store_of(settings)
        self._lock = threading.Lock()
        self._exchanging = threading.Lock()
        self._seen: dict[str, float] = {}

    @property
    def total_usd(self) -> float:
        """Cost of the run so far over all machines."""
        return self.ledger.total_usd

    def count(self) -> float:
        """Bring this machine's account up to date, in memory; the total."""
        with self._lock:
            return self.ledger.count()

    def exchange(self) -> None:
        """Read the price again, take up the others' accounts, and put this one into the bucket and on the disk.

        Raises:
            UserError: the bucket cannot be reached; the account was written here all the same.
        """
        with self._exchanging:  # or an older account could replace a newer one
            self._exchange()

    def _exchange(self) -> None:
        self._read_price()
        with self._lock:
            self.ledger.count()
            content = json.dumps(asdict(self.ledger.entry), indent=2, sort_keys=True).encode() + b"\n"
            try:
                self.ledger.write()
            except OSError as error:
                log.warning("Could not write the account: %s", error)
        if self.store is not None:
            self.store.put(f"{LEDGER}/{self.ledger.machine}.json", content)
            self._fetch(self.store)

    def _fetch(self, store: Store) -> None:
        own = f"{LEDGER}/{self.ledger.machine}.json"
        for found in store.list(f"{LEDGER}/"):
            if found.name == own or self._seen.get(found.name) == found.at_s or not found.name.endswith(".json"):
                continue
            name = Path(found.name).stem
            self._seen[found.name] = found.at_s
            try:
                content = store.get(found.name) or b""
                read_entry(name, content)
            except UserError as error:
                log.warning("%s", error)
                continue
            with self._lock, suppress(OSError):
                self.ledger.folder.mkdir(parents=True, exist_ok=True)
                (self.ledger.folder / f"{name}.json").write_bytes(content)
        with self._lock:
            self.ledger.look_around()

    def _read_price(self) -> None:
        if self.settings.rate_usd_per_h is not None:
            return
        quick = replace(self.settings, machine={**self.settings.machine, "patience_s": 1.0})
        try:
            rate = vast.rate_usd_per_h(quick)
        except UserError as error:
            if not self.ledger.entry.rate_usd_per_h:
                log.warning("The cost is not counted, since no hourly rate is known: %s", error)
            return
        with self._lock:
            self.ledger.reprice(rate)

    def cancel_superfluous_uploads(self, names: Collection[str] = ()) -> int:
        """Give up unfinished uploads of this run which nobody will finish; how many there were.

        Args:
            names: files that are safe already. The uploads of others count when they are a day old.

        Raises:
            UserError: the bucket refused.
        """
        if self.store is None:
            return 0
        count, now = 0, time.time() + self.store.clock_offset_s
        for number, name, began_s in self.store.unfinished():
            if name in names or now - began_s > OLD_UPLOAD_S:
                self.store.cancel(number)
                count += 1
        return count
