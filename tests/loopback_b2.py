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
import base64
import hashlib
import io
import itertools
import json
import socket
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

from b2sdk._internal.raw_simulator import BucketSimulator, RawSimulator
from b2sdk.v2.exception import B2Error

READ_WRITE = ["listBuckets", "listFiles", "readFiles", "writeFiles"]  # what the README tells operators to grant
CODES = {
    "InvalidAuthToken": (401, "bad_auth_token"),
    "Unauthorized": (401, "unauthorized"),
    "FileNotPresent": (404, "not_found"),
    "ResourceNotFound": (404, "not_found"),
    "FileSha1Mismatch": (400, "bad_request"),
    "PartSha1Mismatch": (400, "bad_request"),
    "UnsatisfiableRange": (416, "range_not_satisfiable"),
}


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
        self.server = _Server(("127.0.0.1", self.port), _handler(self))
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


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """Clients that were killed leave broken connections behind; that is what the tests are about."""


class _Answer(Exception):
    def __init__(self, status, code, message=""):
        self.status, self.code, self.message = status, code, message


def _handler(b2: LoopbackB2):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_):
            pass

        def do_GET(self):
            self.answer(b"")

        do_HEAD = do_GET

        def do_POST(self):
            length = int(self.headers.get("Content-Length", 0))
            url = urlsplit(self.path)
            if url.path.startswith("/upload/") and self.take("drop_uploads"):
                self.rfile.read(length // 2)
                self.drop()
                return
            if url.path.startswith("/upload/") and b2.faults.bytes_per_s:
                time.sleep(length / b2.faults.bytes_per_s)
            self.answer(self.rfile.read(length))

        def take(self, name):
            """Use up one of a counted fault; whether there was one left."""
            with b2.lock:
                left = getattr(b2.faults, name)
                setattr(b2.faults, name, max(left - 1, 0))
                return left > 0

        def drop(self):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def answer(self, body):
            url = urlsplit(self.path)
            call = self.call_name(url.path)
            with b2.lock:
                b2.calls[call] += 1
            while b2.faults.hang:
                time.sleep(0.05)
            if b2.faults.down:
                self.drop()
                return
            try:
                token = self.headers.get("Authorization", "")
                if token in b2.dead_tokens:
                    raise _Answer(401, b2.dead_tokens[token], "a token of another day or key")
                if self.take("fail_next"):
                    raise _Answer(b2.faults.status, "service_unavailable", "a fault of the test")
                with b2.lock:
                    status, headers, payload = self.dispatch(call, url, body)
            except _Answer as answer:
                status, headers, payload = self.error(answer.status, answer.code, answer.message)
            except B2Error as error:
                status, code = CODES.get(type(error).__name__, (400, "bad_request"))
                status, headers, payload = self.error(status, code, str(error))
            except (KeyError, StopIteration) as error:
                status, headers, payload = self.error(404, "not_found", repr(error))
            except AssertionError as error:
                status, headers, payload = self.error(401, "bad_auth_token", str(error))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(payload)

        @staticmethod
        def call_name(path):
            if path.startswith("/upload/part/"):
                return "upload_part"
            if path.startswith("/upload/"):
                return "upload_file"
            if path.startswith("/file/"):
                return "download_file_by_name"
            return path.rsplit("/", 1)[-1].removeprefix("b2_")

        @staticmethod
        def error(status, code, message):
            status, headers, payload = Handler.json({"status": status, "code": code, "message": message}, status)
            return status, {**headers, **({"Retry-After": "1"} if status == 503 else {})}, payload

        @staticmethod
        def json(value, status=200):
            payload = json.dumps(value, default=list).encode()
            return status, {"Content-Type": "application/json", "Content-Length": str(len(payload))}, payload

        def dispatch(self, call, url, body):
            simulator, token = b2.simulator, self.headers.get("Authorization", "")
            if call == "authorize_account":
                return self.json(self.authorize(token))
            if call in ("upload_file", "upload_part"):
                return self.json(self.upload(call, url, token, body))
            if call in ("download_file_by_id", "download_file_by_name"):
                return self.download(call, url, token)
            request = json.loads(body) if body else {key: value[0] for key, value in parse_qs(url.query).items()}
            api = (simulator.API_URL, token)
            match call:
                case "list_buckets":
                    names = (request.get("bucketId"), request.get("bucketName"))
                    return self.json(simulator.list_buckets(*api, request["accountId"], *names))
                case "list_file_names":
                    return self.json(self.list_names(api, request))
                case "list_file_versions":
                    start = (request.get("startFileName"), request.get("startFileId"))
                    limits = (request.get("maxFileCount"), request.get("prefix"))
                    return self.json(simulator.list_file_versions(*api, request["bucketId"], *start, *limits))
                case "get_upload_url":
                    return self.json(self.ours(simulator.get_upload_url(*api, request["bucketId"])))
                case "get_upload_part_url":
                    return self.json(self.ours(simulator.get_upload_part_url(*api, request["fileId"])))
                case "start_large_file":
                    info = request.get("fileInfo", {})
                    arguments = (request["bucketId"], request["fileName"], request["contentType"], info)
                    return self.json(simulator.start_large_file(*api, *arguments))
                case "finish_large_file":
                    return self.json(simulator.finish_large_file(*api, request["fileId"], request["partSha1Array"]))
                case "cancel_large_file":
                    return self.json(simulator.cancel_large_file(*api, request["fileId"]))
                case "list_unfinished_large_files":
                    limits = (
                        request.get("startFileId") or "9" * 20,
                        request.get("maxFileCount"),
                        request.get("namePrefix"),
                    )
                    return self.json(simulator.list_unfinished_large_files(*api, request["bucketId"], *limits))
                case "hide_file":
                    return self.json(simulator.hide_file(*api, request["bucketId"], request["fileName"]))
                case "delete_file_version":
                    return self.json(simulator.delete_file_version(*api, request["fileId"], request["fileName"]))
                case "get_file_info":
                    return self.json(simulator.get_file_info_by_id(*api, request["fileId"]))
                case "copy_file":
                    kind = (request.get("metadataDirective"), request.get("contentType"), request.get("fileInfo"))
                    source = (request["sourceFileId"], request["fileName"], None)
                    return self.json(simulator.copy_file(*api, *source, *kind))
                case "create_bucket":
                    key = simulator.auth_token_to_key[token]
                    if "writeBuckets" not in key.capabilities:
                        raise _Answer(401, "unauthorized", "writeBuckets is needed")
                    raise _Answer(400, "duplicate_bucket_name", "Bucket name is already in use.")
            raise _Answer(400, "bad_request", f"unknown call {call}")

        @staticmethod
        def list_names(api, request):
            """One page of names; those below the next ``delimiter`` are folded into folders, as Backblaze does."""
            prefix = request.get("prefix") or ""
            start = request.get("startFileName") or prefix
            limit, delimiter = int(request.get("maxFileCount") or 100), request.get("delimiter")
            if not delimiter:
                answer = b2.simulator.list_file_names(*api, request["bucketId"], start, limit, prefix)
                files = [{**file, "size": file["contentLength"]} for file in answer["files"]]
                return {**answer, "files": files}
            whole = b2.simulator.list_file_names(*api, request["bucketId"], start, 10**9, prefix)
            entries = {}
            for file in whole["files"]:
                head, mark, _ = file["fileName"].removeprefix(prefix).partition(delimiter)
                if mark:
                    folder = prefix + head + mark
                    entries[folder] = {"fileName": folder, "action": "folder", "fileId": None, "size": 0}
                else:
                    entries[file["fileName"]] = {**file, "size": file["contentLength"]}
            names = sorted(entries)
            if not names:
                return {"files": [], "nextFileName": None}
            page = names[:limit]
            # U+0030 follows the delimiter "/": the next page starts behind the last folder.
            following = page[-1].removesuffix(delimiter) + ("0" if page[-1].endswith(delimiter) else " ")
            return {"files": [entries[name] for name in page], "nextFileName": following if names[limit:] else None}

        def authorize(self, header):
            key_id, _, secret = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
            answer = b2.simulator.authorize_account("", key_id, secret)
            b2.tokens.add(answer["authorizationToken"])
            storage = answer["apiInfo"]["storageApi"]
            storage.update(apiUrl=b2.endpoint, downloadUrl=b2.endpoint, s3ApiUrl=b2.endpoint)
            storage.update(recommendedPartSize=100_000_000, absoluteMinimumPartSize=5_000_000)
            return answer

        @staticmethod
        def ours(answer):
            """Replace the simulator's pretended address by the one of this server."""
            path = answer["uploadUrl"].removeprefix("https://upload.example.com/")
            b2.tokens.add(answer["authorizationToken"])
            return {**answer, "uploadUrl": f"{b2.endpoint}/upload/{path}"}

        def upload(self, call, url, token, body):
            address = "https://upload.example.com/" + url.path.removeprefix("/upload/")
            checksum = self.headers["X-Bz-Content-Sha1"]
            if self.take("corrupt_uploads"):
                body = bytes([body[0] ^ 1]) + body[1:]
            stream = io.BytesIO(body)
            if call == "upload_part":
                number = int(self.headers["X-Bz-Part-Number"])
                return b2.simulator.upload_part(address, token, number, len(body), checksum, stream)
            name = unquote(self.headers["X-Bz-File-Name"])
            kind = self.headers["Content-Type"]
            prefix = "x-bz-info-"
            info = {
                header.lower().removeprefix(prefix): unquote(value)
                for header, value in self.headers.items()
                if header.lower().startswith(prefix)
            }
            answer = b2.simulator.upload_file(address, token, name, len(body), kind, checksum, info, stream)
            if "/.cloud/" not in name and self.take("corrupt_stored"):
                bucket = b2.simulator.bucket_id_to_bucket[b2.bucket_id]
                file = bucket.file_id_to_file[answer["fileId"]]
                file.data_bytes = bytes([file.data_bytes[0] ^ 1]) + file.data_bytes[1:]
                file.content_sha1 = "0" * 40
            return answer

        def download(self, call, url, token):
            key = b2.simulator.auth_token_to_key.get(token)
            if key is None or "readFiles" not in key.capabilities:
                raise _Answer(401, "unauthorized", "readFiles is needed")
            if call == "download_file_by_id":
                path = f"/b2api/v1/b2_download_file_by_id?fileId={parse_qs(url.query)['fileId'][0]}"
            else:
                path = url.path
            wanted = self.headers.get("Range")
            range_ = None
            if wanted:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                range_ = (int(first), int(last) if last else 10**15)
            with b2.simulator.download_file_from_url(token, b2.simulator.DOWNLOAD_URL + path, range_) as found:
                headers = dict(found.headers.items())
                payload = found.data_bytes
            headers = {quote(name, safe="-"): value for name, value in headers.items()}
            return (206 if wanted else 200), {**headers, "content-length": str(len(payload))}, payload

    return Handler


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
