"""The HTTP side of `loopback_b2`: B2's calls as rclone makes them, each answered by b2sdk's simulator."""

from __future__ import annotations

import base64
import io
import json
import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

from b2sdk.v2.exception import B2Error

CODES = {
    "InvalidAuthToken": (401, "bad_auth_token"),
    "Unauthorized": (401, "unauthorized"),
    "FileNotPresent": (404, "not_found"),
    "ResourceNotFound": (404, "not_found"),
    "FileSha1Mismatch": (400, "bad_request"),
    "PartSha1Mismatch": (400, "bad_request"),
    "UnsatisfiableRange": (416, "range_not_satisfiable"),
}


class Server(ThreadingHTTPServer):
    """Serves one `LoopbackB2` on 127.0.0.1."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, b2, port):
        super().__init__(("127.0.0.1", port), Handler)
        self.b2 = b2

    def handle_error(self, request, client_address):
        """Clients that were killed leave broken connections behind; that is what the tests are about."""


class _Answer(Exception):
    def __init__(self, status, code, message=""):
        self.status, self.code, self.message = status, code, message


class Handler(BaseHTTPRequestHandler):
    """Answers what rclone's b2 backend asks, out of the simulator of the server's `b2`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def b2(self):
        return self.server.b2

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
        if url.path.startswith("/upload/") and self.b2.faults.bytes_per_s:
            time.sleep(length / self.b2.faults.bytes_per_s)
        self.answer(self.rfile.read(length))

    def take(self, name):
        """Use up one of a counted fault; whether there was one left."""
        with self.b2.lock:
            left = getattr(self.b2.faults, name)
            setattr(self.b2.faults, name, max(left - 1, 0))
            return left > 0

    def drop(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def answer(self, body):
        url = urlsplit(self.path)
        call = self.call_name(url.path)
        with self.b2.lock:
            self.b2.calls[call] += 1
        while self.b2.faults.hang:
            time.sleep(0.05)
        if self.b2.faults.down:
            self.drop()
            return
        try:
            token = self.headers.get("Authorization", "")
            if token in self.b2.dead_tokens:
                raise _Answer(401, self.b2.dead_tokens[token], "a token of another day or key")
            if self.take("fail_next"):
                raise _Answer(self.b2.faults.status, "service_unavailable", "a fault of the test")
            with self.b2.lock:
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
        simulator, token = self.b2.simulator, self.headers.get("Authorization", "")
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

    def list_names(self, api, request):
        """One page of names; those below the next ``delimiter`` are folded into folders, as Backblaze does."""
        prefix = request.get("prefix") or ""
        start = request.get("startFileName") or prefix
        limit, delimiter = int(request.get("maxFileCount") or 100), request.get("delimiter")
        if not delimiter:
            answer = self.b2.simulator.list_file_names(*api, request["bucketId"], start, limit, prefix)
            files = [{**file, "size": file["contentLength"]} for file in answer["files"]]
            return {**answer, "files": files}
        whole = self.b2.simulator.list_file_names(*api, request["bucketId"], start, 10**9, prefix)
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
        answer = self.b2.simulator.authorize_account("", key_id, secret)
        self.b2.tokens.add(answer["authorizationToken"])
        storage = answer["apiInfo"]["storageApi"]
        storage.update(apiUrl=self.b2.endpoint, downloadUrl=self.b2.endpoint, s3ApiUrl=self.b2.endpoint)
        storage.update(recommendedPartSize=100_000_000, absoluteMinimumPartSize=5_000_000)
        return answer

    def ours(self, answer):
        """Replace the simulator's pretended address by the one of this server."""
        path = answer["uploadUrl"].removeprefix("https://upload.example.com/")
        self.b2.tokens.add(answer["authorizationToken"])
        return {**answer, "uploadUrl": f"{self.b2.endpoint}/upload/{path}"}

    def upload(self, call, url, token, body):
        address = "https://upload.example.com/" + url.path.removeprefix("/upload/")
        checksum = self.headers["X-Bz-Content-Sha1"]
        if self.take("corrupt_uploads"):
            body = bytes([body[0] ^ 1]) + body[1:]
        stream = io.BytesIO(body)
        if call == "upload_part":
            number = int(self.headers["X-Bz-Part-Number"])
            return self.b2.simulator.upload_part(address, token, number, len(body), checksum, stream)
        name = unquote(self.headers["X-Bz-File-Name"])
        kind = self.headers["Content-Type"]
        prefix = "x-bz-info-"
        info = {
            header.lower().removeprefix(prefix): unquote(value)
            for header, value in self.headers.items()
            if header.lower().startswith(prefix)
        }
        answer = self.b2.simulator.upload_file(address, token, name, len(body), kind, checksum, info, stream)
        if "/.cloud/" not in name and self.take("corrupt_stored"):
            bucket = self.b2.simulator.bucket_id_to_bucket[self.b2.bucket_id]
            file = bucket.file_id_to_file[answer["fileId"]]
            file.data_bytes = bytes([file.data_bytes[0] ^ 1]) + file.data_bytes[1:]
            file.content_sha1 = "0" * 40
        return answer

    def download(self, call, url, token):
        key = self.b2.simulator.auth_token_to_key.get(token)
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
        with self.b2.simulator.download_file_from_url(token, self.b2.simulator.DOWNLOAD_URL + path, range_) as found:
            headers = dict(found.headers.items())
            payload = found.data_bytes
        headers = {quote(name, safe="-"): value for name, value in headers.items()}
        return (206 if wanted else 200), {**headers, "content-length": str(len(payload))}, payload
