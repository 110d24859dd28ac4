"""A Hugging Face hub on 127.0.0.1: repositories from folders, revisions, gates; it remembers what it was asked."""

from __future__ import annotations

import hashlib
import json
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

REFUSALS = {
    "gated": (403, "GatedRepo", "Access to model is restricted"),
    "bad token": (401, "", "Invalid credentials in Authorization header"),
    "unknown": (404, "RepoNotFound", "Repository not found"),
    "broken": (500, "", "Internal error"),
}


@dataclass
class Hub:
    """What the hub holds, and the requests that came."""

    revisions: dict[str, dict[str, Path]] = field(default_factory=dict)
    """Repository -> branch, tag or commit -> folder with its files."""
    refusals: dict[str, str] = field(default_factory=dict)
    """Repository -> a key of `REFUSALS`, or "silent" for no answer."""
    uploads: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Dataset repository -> path -> content, as committed; only accounts in `writers` may write."""
    writers: dict[str, str] = field(default_factory=dict)
    """Account -> the token that may write there."""
    requests: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    endpoint: str = ""
    closing: threading.Event = field(default_factory=threading.Event)

    @staticmethod
    def commit(folder: Path) -> str:
        """The commit that a folder stands for."""
        return hashlib.sha1(str(folder).encode()).hexdigest()

    def asked_for(self, repository: str) -> bool:
        """Whether any request named the repository."""
        return any(repository in path for path in self.requests)


class Handler(BaseHTTPRequestHandler):
    """Answers what `huggingface_hub` asks."""

    protocol_version = "HTTP/1.1"

    @property
    def hub(self):
        return self.server.hub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(path)
        self.hub.tokens.append(self.headers.get("Authorization"))
        parts = path.removeprefix("/api/models").strip("/").split("/")
        repository, rest = "/".join(parts[:2]), parts[2:]
        refusal = self.hub.refusals.get(repository, None if repository in self.hub.revisions else "unknown")
        if refusal == "silent":
            self.hub.closing.wait(30)
            return
        if refusal:
            status, code, message = REFUSALS[refusal]
            self.answer(status, b"{}", {"X-Error-Code": code, "X-Error-Message": message})
        elif rest == ["auth-check"]:
            self.answer(200, b"OK")
        elif rest[:1] == ["revision"]:
            self.revision(repository, "/".join(rest[1:]))
        elif rest[:1] == ["tree"]:
            self.tree(repository, "/".join(rest[1:]))
        elif rest[:1] == ["resolve"]:
            self.file(repository, rest[1], "/".join(rest[2:]))
        else:
            self.answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})

    def do_POST(self):
        """Make a dataset repository, say how files are to come, take a commit: as `HfApi.upload_folder` asks."""
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.requests.append(path)
        parts = path.strip("/").split("/")
        if path == "/api/validate-yaml":  # of a card's front matter
            self.json({"errors": [], "warnings": []})
            return
        if path == "/api/repos/create":
            asked = json.loads(body)
            repository = f"{asked.get('organization') or next(iter(self.hub.writers))}/{asked['name']}"
        else:
            repository = "/".join(parts[2:4])
        if self.headers.get("Authorization") != f"Bearer {self.hub.writers.get(repository.split('/')[0])}":
            status, code, message = REFUSALS["bad token"]
            self.answer(status, b"{}", {"X-Error-Code": code, "X-Error-Message": message})
        elif path == "/api/repos/create":
            self.hub.uploads.setdefault(repository, {})
            self.json({"url": f"{self.hub.endpoint}/datasets/{repository}", "name": repository})
        elif parts[4:5] == ["preupload"]:
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            self.json({"files": [{**file, "shouldIgnore": False} for file in files]})
        else:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.hub.uploads[repository][line["value"]["path"]] = b64decode(line["value"]["content"])
            url = f"{self.hub.endpoint}/datasets/{repository}/commit/{'0' * 40}"
            self.json({"commitUrl": url, "commitOid": "0" * 40, "hookOutput": "", "pullRequestUrl": None})

    def json(self, value):
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def revision(self, repository, name):
        folder = self.folder(repository, name)
        if folder is None:
            self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        about = {"id": repository, "sha": self.hub.commit(folder), "siblings": [{"rfilename": name} for name in files]}
        self.answer(200, json.dumps(about).encode(), {"Content-Type": "application/json"})

    def tree(self, repository, name):
        folder = self.folder(repository, name)
        entries = [
            {"type": "file", "path": str(path.relative_to(folder)), "size": path.stat().st_size, "oid": "0" * 40}
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]
        self.answer(200, json.dumps(entries).encode(), {"Content-Type": "application/json"})

    def file(self, repository, commit, name):
        folder = self.folder(repository, commit)
        if folder is None or not (folder / name).is_file():
            self.answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})
            return
        content = (folder / name).read_bytes()
        etag = f'"{hashlib.sha1(content).hexdigest()}"'
        self.answer(200, content, {"ETag": etag, "X-Repo-Commit": self.hub.commit(folder)})

    def folder(self, repository, name):
        known = self.hub.revisions[repository]
        return known.get(name) or next((path for path in known.values() if self.hub.commit(path) == name), None)

    def answer(self, status, content, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    """Serve the hub while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.hub = hub
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        server.shutdown()
        server.server_close()
