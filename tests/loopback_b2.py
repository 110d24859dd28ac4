"""Backblaze's own B2 simulator (from b2sdk) behind HTTP on 127.0.0.1, as rclone's b2 backend speaks to it.

In a test: ``with LoopbackB2() as b2: ...``. As a process of its own: ``python tests/loopback_b2.py --bucket NAME``
prints one JSON line with the address and a key, then for every line it reads one with the calls since the last, until
its standard input ends. Faults are switched on through `LoopbackB2.faults`.

Which behaviour of the real service each rule comes from (https://www.backblaze.com/docs/cloud-storage, pages in
brackets): tokens are those of one key and die with it, and after a day at the latest [authorize account: 24 hours];
every call, downloads too, answers 401 `expired_auth_token` or `bad_auth_token` to such a token [calling the API, error
codes]; a 503 has a Retry-After [error handling: "the client should wait the number of seconds"]; parts of large files
that were begun and never finished are kept, billed and listed [large files, b2_list_unfinished_large_files]; SHA-1 is
checked when an object comes in, and sent along when it goes out [b2_upload_file, b2_download_file_by_name]; nothing is
overwritten, a new version hides the older one [file versions].
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import json
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from b2sdk._internal.raw_simulator import BucketSimulator, RawSimulator

from loopback_b2_http import Server

READ_WRITE = ["listBuckets", "listFiles", "readFiles", "writeFiles"]  # what the README tells operators to grant


class _Bucket(BucketSimulator):
    """The simulated bucket without the small limits that suit b2sdk's unit tests."""

    MAX_SIMPLE_COPY_SIZE = 5 * 10**9

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.upload_url_counter = itertools.count()
        self.file_id_counter = itertools.count(10**12 - 1, -1)  # equal lengths, so that the newest sorts first
        self.upload_timestamp_counter = (int(time.time() * 1000) + number for number in itertools.count())

    def _simulate_chunked_post(self, stream, content_length, **_):
        return stream.read()


class _Simulator(RawSimulator):
    BUCKET_SIMULATOR_CLASS = _Bucket

    def _assert_account_auth(self, api_url, token, account_id, capability, bucket_id=None, file_name=None):
        """The simulator lets keys that are limited to one bucket do nothing but list it; Backblaze is more generous."""
        key = self.auth_token_to_key.get(token)
        if key is not None and key.buckets_or_none and bucket_id is None:
            bucket_id = key.buckets_or_none[0]["id"]
        super()._assert_account_auth(api_url, token, account_id, capability, bucket_id, file_name)


@dataclass
class Faults:
    """What goes wrong, until it is reset. Calls are counted by B2's names without ``b2_``."""

    down: bool = False
    """Every connection is dropped without an answer."""
    fail_next: int = 0
    """Answer this many further calls with status ``status``."""
    status: int = 503
    drop_uploads: int = 0
    """Drop the connection in the middle of this many uploads."""
    corrupt_uploads: int = 0
    """Flip a byte of this many uploads on the way, so that their checksums do not match."""
    hang: bool = False
    """Connections are accepted and nothing is ever answered."""
    bytes_per_s: float = 0.0
    """Speed of uploads; 0 is as fast as it goes."""
    corrupt_stored: int = 0
    """Flip a byte of this many results after the checksum was found right: the bucket holds something else."""


@dataclass
class LoopbackB2:
    """The simulator, one bucket and one application key behind an HTTP server in threads."""

    bucket: str = "results"
    capabilities: list[str] = field(default_factory=lambda: list(READ_WRITE))
    port: int = 0

    def __post_init__(self):
        self.faults = Faults()
        self.calls: Counter[str] = Counter()
        self.lock = threading.RLock()
        self.tokens: set[str] = set()
        self.dead_tokens: dict[str, str] = {}
        self.simulator = _Simulator()
        account, master = self.simulator.create_account()
        token = self.simulator.authorize_account("", account, master)["authorizationToken"]
        url = self.simulator.API_URL
        self.master = token
        self.bucket_id = self.simulator.create_bucket(url, token, account, self.bucket, "allPrivate")["bucketId"]
        self._create_key = lambda capabilities: self.simulator.create_key(
            url, token, account, capabilities, "test", None, [self.bucket_id], None
        )
        key = self.create_key(self.capabilities)
        self.key_id, self.application_key = key
        self.server = Server(self, self.port)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def create_key(self, capabilities):
        """A new application key with the given capabilities: (id, secret)."""
        key = self._create_key(capabilities)
        return key["applicationKeyId"], key["applicationKey"]

    def set_secret(self, secret):
        """Replace the secret of the first key (tests plant recognisable ones)."""
        self.simulator.key_id_to_key[self.key_id].key = secret
        self.application_key = secret
        self.expire_tokens("bad_auth_token")

    def expire_tokens(self, code="expired_auth_token"):
        """Accept none of the tokens any more that were given out."""
        with self.lock:
            self.dead_tokens |= dict.fromkeys(self.tokens, code)

    def rewrite(self, name, content):
        """Replace an object's bytes, and its checksum with them: what a mistake or a stranger would leave there."""
        with self.lock:
            file = self._newest(name)
            file.data_bytes, file.content_sha1 = content, hashlib.sha1(content).hexdigest()
            file.content_length = len(content)

    def corrupt(self, name):
        """Change a byte of an object that keeps its checksum, as a disk does that fails."""
        with self.lock:
            file = self._newest(name)
            file.data_bytes = bytes([file.data_bytes[0] ^ 1]) + file.data_bytes[1:]

    def store(self, name, content, at_s=None):
        """Put an object into the bucket, as somebody else would, now or at another time (seconds since 1970)."""
        with self.lock:
            token = self.master
            upload = self.simulator.get_upload_url(self.simulator.API_URL, token, self.bucket_id)
            digest = hashlib.sha1(content).hexdigest()
            where = (upload["uploadUrl"], upload["authorizationToken"], name, len(content), "b2/x-auto")
            self.simulator.upload_file(*where, digest, {}, io.BytesIO(content))
            if at_s is not None:
                self._newest(name).upload_timestamp = int(at_s * 1000)

    def begin_large(self, name):
        """Begin the upload of a large file, as a machine does that is then taken away."""
        with self.lock:
            self.simulator.start_large_file(self.simulator.API_URL, self.master, self.bucket_id, name, "b2/x-auto", {})

    def shift_times(self, milliseconds):
        """Leave all objects as another clock would have: their times, and those in Snakemake's records."""
        key, renamed = "src_last_modified_millis", {}
        with self.lock:
            for name in sorted(self.files()):
                file = self._newest(name)
                if key in file.file_info:
                    file.file_info[key] = str(int(file.file_info[key]) + milliseconds)
                if "/.snakemake/metadata/" in name:
                    before, record = file.data_bytes, json.loads(file.data_bytes)
                    times = [at for at in ("starttime", "endtime") if at in record]
                    content = json.dumps(record | {at: record[at] + milliseconds / 1000 for at in times}).encode()
                    renamed[hashlib.sha256(before).hexdigest()] = hashlib.sha256(content).hexdigest()
                    self.rewrite(name, content)
            for name in [name for name in self.files() if "/manifest/" in name]:
                text = self._newest(name).data_bytes.decode()
                for before, after in renamed.items():
                    text = text.replace(before, after)
                self.rewrite(name, text.encode())

    def _newest(self, name):
        files = self.simulator.bucket_id_to_bucket[self.bucket_id].file_name_and_id_to_file
        return next(files[key] for key in sorted(files) if key[0] == name)

    def unfinished(self):
        """Names of large files that were begun and not finished."""
        with self.lock:
            bucket = self.simulator.bucket_id_to_bucket[self.bucket_id]
            return [file.name for file in bucket.file_id_to_file.values() if file.action == "start"]

    def files(self):
        """Visible files of the bucket by name: (bytes, file info)."""
        with self.lock:
            bucket = self.simulator.bucket_id_to_bucket[self.bucket_id]
            newest = {}
            for key in sorted(bucket.file_name_and_id_to_file):
                newest.setdefault(key[0], bucket.file_name_and_id_to_file[key])
            return {name: (file.data_bytes, file.file_info) for name, file in newest.items() if file.is_visible()}

    def versions(self):
        """Number of versions of each file, hide markers included."""
        with self.lock:
            bucket = self.simulator.bucket_id_to_bucket[self.bucket_id]
            return Counter(name for name, _ in bucket.file_name_and_id_to_file)

    def environment(self):
        """The variables through which the workflow is given the key."""
        return {"B2_APPLICATION_KEY_ID": self.key_id, "B2_APPLICATION_KEY": self.application_key}

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.faults.hang = False
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bucket", default="results")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    with LoopbackB2(bucket=arguments.bucket, port=arguments.port) as b2:
        print(json.dumps({"endpoint": b2.endpoint, **b2.environment()}), flush=True)
        for _ in sys.stdin:
            with b2.lock:
                calls, b2.calls = b2.calls, Counter()
            print(json.dumps(calls), flush=True)


if __name__ == "__main__":
    main()
