"""Backblaze B2's own API for small objects, from the standard library: accounts, launch records, reports.

rclone moves the results. What decides about money must not wait for it, must work before anything is installed, and
needs what rclone does not show: when B2 itself received an object, and what time it is there. See
https://www.backblaze.com/apidocs (version 3).
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from blueprint.errors import UserError

SERVICE = "https://api.backblazeb2.com"
CALL_S = 20.0


class StoreError(UserError):
    """B2 could not be asked just now."""


class StoreRefusal(StoreError):
    """B2 does not accept the key, or not for this."""


@dataclass(frozen=True)
class Received:
    """An object as B2 lists it."""

    name: str
    """Relative to the store's folder."""
    at_s: float
    """When B2 received it, by B2's clock (seconds since 1970)."""
    size: int


class Store:
    """A folder of a bucket."""

    def __init__(self, bucket: str, folder: str, key_id: str, key: str, endpoint: str | None = None) -> None:
        """Nothing is asked yet. ``folder`` has no slash at either end."""
        self.bucket, self.folder = bucket, folder
        self._basic = "Basic " + base64.b64encode(f"{key_id}:{key}".encode()).decode()
        self._service = endpoint or SERVICE
        self._session: dict[str, str] | None = None
        self.clock_offset_s = 0.0
        """B2's clock minus this machine's, at the last answer."""

    def put(self, name: str, content: bytes) -> None:
        """Store an object; raises `StoreError`."""
        upload = self._call("b2_get_upload_url", {"bucketId": self._open()["bucketId"]})
        headers = {
            "Authorization": upload["authorizationToken"],
            "X-Bz-File-Name": quote(f"{self.folder}/{name}"),
            "Content-Type": "application/json",
            "X-Bz-Content-Sha1": hashlib.sha1(content).hexdigest(),
        }
        self._send(Request(upload["uploadUrl"], content, headers))

    def get(self, name: str) -> bytes | None:
        """An object's content, None when there is none; raises `StoreError`."""
        try:
            return self._download(name)
        except FileNotFoundError:
            return None
        except StoreRefusal:  # the session is over
            self._session = None
            return self._download(name)

    def _download(self, name: str) -> bytes:
        session = self._open()
        address = f"{session['downloadUrl']}/file/{self.bucket}/{quote(f'{self.folder}/{name}')}"
        return self._send(Request(address, headers={"Authorization": session["token"]}))

    def list(self, prefix: str) -> list[Received]:
        """Objects whose names begin with ``prefix``; raises `StoreError`."""
        found, start = [], None
        while True:
            page = self._call(
                "b2_list_file_names",
                {
                    "bucketId": self._open()["bucketId"],
                    "prefix": f"{self.folder}/{prefix}",
                    "maxFileCount": 1000,
                    "startFileName": start,
                },
            )
            found += [
                Received(
                    file["fileName"].removeprefix(f"{self.folder}/"),
                    file["uploadTimestamp"] / 1000,
                    file["contentLength"],
                )
                for file in page["files"]
                if file.get("action", "upload") == "upload"
            ]
            start = page.get("nextFileName")
            if start is None:
                return found

    def unfinished(self) -> list[tuple[str, str, float]]:
        """Uploads of large files that were begun and not finished: (id, name, when begun); raises `StoreError`."""
        wanted = {"bucketId": self._open()["bucketId"], "namePrefix": f"{self.folder}/", "maxFileCount": 100}
        files = self._call("b2_list_unfinished_large_files", wanted)["files"]
        return [
            (file["fileId"], file["fileName"].removeprefix(f"{self.folder}/"), file["uploadTimestamp"] / 1000)
            for file in files
        ]

    def cancel(self, file_id: str) -> None:
        """Give up an unfinished upload, whose parts are billed; raises `StoreError`."""
        self._call("b2_cancel_large_file", {"fileId": file_id})

    def authorise(self) -> float:
        """Log in again, and return B2's clock minus this machine's in seconds; raises `StoreError`."""
        self._session = None
        self._open()
        return self.clock_offset_s

    def _open(self) -> dict[str, str]:
        if self._session is None:
            address = f"{self._service}/b2api/v3/b2_authorize_account"
            answer = json.loads(self._send(Request(address, headers={"Authorization": self._basic})))
            storage = answer["apiInfo"]["storageApi"]
            self._session = {
                "token": answer["authorizationToken"],
                "apiUrl": storage["apiUrl"],
                "downloadUrl": storage["downloadUrl"],
            }
            buckets = self._call("b2_list_buckets", {"accountId": answer["accountId"], "bucketName": self.bucket})
            if not buckets["buckets"]:
                self._session = None
                raise StoreRefusal(f"B2: this key sees no bucket {self.bucket}. Correct `bucket`, or take another key.")
            self._session["bucketId"] = buckets["buckets"][0]["bucketId"]
        return self._session

    def _call(self, name: str, body: dict[str, Any], again: bool = True) -> dict[str, Any]:
        session = self._open()
        content = json.dumps({key: value for key, value in body.items() if value is not None}).encode()
        address, headers = f"{session['apiUrl']}/b2api/v3/{name}", {"Authorization": session["token"]}
        try:
            return json.loads(self._send(Request(address, content, headers)))
        except StoreRefusal:
            if not again:
                raise
            self._session = None  # tokens are good for a day
            return self._call(name, body, again=False)

    def _send(self, request: Request) -> bytes:
        doing = request.full_url.rpartition("/")[2].partition("?")[0]
        try:
            with urlopen(request, timeout=CALL_S) as answer:
                if stamp := answer.headers.get("Date"):
                    self.clock_offset_s = parsedate_to_datetime(stamp).timestamp() - time.time()
                return answer.read()
        except HTTPError as error:
            if error.code == 404:
                raise FileNotFoundError(doing) from None
            kind = StoreRefusal if error.code in (401, 403) else StoreError
            raise kind(f"B2: {doing}: HTTP {error.code}") from None
        except (OSError, ValueError) as error:
            raise StoreError(f"B2: {doing}: {getattr(error, 'reason', None) or type(error).__name__}") from None
