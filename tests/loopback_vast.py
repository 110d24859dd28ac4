"""A loopback service that answers like Vast's API, for the real `vastai` client to talk to.

States change after a delay, keys can be refused, and every fault that the real service shows can be asked for: status
codes with or without ``Retry-After``, connections closed without an answer (before or after the request was carried
out), an outage of some seconds, stops that are accepted and never happen.
"""

import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

COMPARE = {
    "eq": lambda found, wanted: found == wanted,
    "gte": lambda found, wanted: found >= wanted,
    "lte": lambda found, wanted: found <= wanted,
    "in": lambda found, wanted: found in wanted,
}


@dataclass
class Fault:
    """What happens instead of an answer: a status code, or a dropped connection when ``status`` is None."""

    status: int | None
    retry_after: str | None = None
    after_effect: bool = False
    """Carry the request out before failing, as when only the answer is lost."""
    matching: str = ""
    """Only for requests whose `METHOD path` contains this."""


@dataclass
class Request:
    """A request that arrived, for tests to look at."""

    method: str
    path: str
    key: str
    body: dict = field(default_factory=dict)


def offer(number, **values):
    """An offer with sound values; `values` replaces some."""
    return {
        "id": number,
        "num_gpus": 1,
        "gpu_name": "H100 NVL",
        "gpu_ram": 95830,
        "dph_total": 2.0,
        "min_bid": 0.8,
        "reliability": 0.995,
        "disk_space": 900.0,
        "inet_down": 2000.0,
        "driver_vers": 580095005,
        "geolocation": "Norway, NO",
        "verified": True,
        "external": False,
        "rentable": True,
        "rented": False,
        **values,
    }


class LoopbackVast:
    """The service; use it as a context manager. Set ``VAST_URL`` to its ``url``."""

    def __init__(self, key="canary-vast-key", change_delay_s=0.05):
        self.key = key
        self.change_delay_s = change_delay_s
        self.instances = {}
        self.offers = []
        self.logs = {}
        self.scheduled = []
        self.billed = {}
        self.requests = []
        self.faults = []
        self.down_until = 0.0
        self.ignored_states = set()
        """Requested states (`stopped`, `destroyed`) that are accepted and never happen."""
        self.lock = threading.RLock()

    def __enter__(self):
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def answer(self):
                service.answer(self)

            do_GET = do_PUT = do_POST = do_DELETE = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    # what tests arrange and look at

    def add_instance(self, number, status="running", **values):
        """Add an instance; returns its row."""
        self.instances[number] = {
            "id": number,
            "actual_status": status,
            "intended_status": "stopped" if status == "stopped" else "running",
            "cur_state": "stopped" if status == "stopped" else "running",
            "label": None,
            "gpu_name": "H100 NVL",
            "num_gpus": 1,
            "dph_total": 2.0,
            "start_date": time.time(),
            "extra_env": [],
            "status_msg": "success",
            "ssh_host": "ssh1.vast.example",
            "ssh_port": 10600,
            **values,
        }
        row = self.instances[number]
        self.billed[number] = (row["start_date"], row["dph_total"] or 0.0, None)
        return row

    def fail(self, count, status, **values):
        """Answer the next `count` (matching) requests with a status code, or drop them when it is None."""
        self.faults += [Fault(status, **values) for _ in range(count)]

    def down_for(self, seconds):
        """Drop every connection for some seconds."""
        self.down_until = time.monotonic() + seconds

    def status_of(self, number):
        """The container's state, or None when the instance is gone."""
        return self.instances[number]["actual_status"] if number in self.instances else None

    def run_scheduled(self, now_s):
        """Carry out the scheduled jobs that are due at a time, as the service does every hour from their start on."""
        for job in self.scheduled:
            if job["start_time"] <= now_s <= job["end_time"]:
                self.route(job["request_method"], job["api_endpoint"], self.key, job["request_body"])

    def bill_usd(self, number):
        """What the service charges for an instance: from when it was rented until its state changed, or until now."""
        begun_s, rate, ended_s = self.billed[number]
        return ((ended_s or time.time()) - begun_s) / 3600 * rate

    def _ended(self, number):
        begun_s, rate, ended_s = self.billed[number]
        self.billed[number] = (begun_s, rate, ended_s or time.time())

    def count(self, pattern):
        """How many requests `METHOD path` matched a regular expression."""
        return sum(bool(re.search(pattern, f"{request.method} {request.path}")) for request in self.requests)

    # HTTP

    def answer(self, handler):
        length = int(handler.headers.get("Content-Length") or 0)
        body = json.loads(handler.rfile.read(length) or b"{}")
        path = urlsplit(handler.path).path
        key = (handler.headers.get("Authorization") or "").removeprefix("Bearer ")
        name = f"{handler.command} {path}"
        with self.lock:
            self.requests.append(Request(handler.command, path, key, body))
            fault = next((fault for fault in self.faults if fault.matching in name), None)
            if fault:
                self.faults.remove(fault)
            if time.monotonic() < self.down_until:
                fault = Fault(None)
        if fault and fault.after_effect:
            self.route(handler.command, path, key, body)
        if fault and fault.status is None:
            handler.close_connection = True
            handler.connection.close()
            return
        if fault:
            headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            self.send(handler, fault.status, "API requests too frequent", headers)
            return
        status, answer = self.route(handler.command, path, key, body)
        self.send(handler, status, answer, {})

    @staticmethod
    def send(handler, status, answer, headers):
        content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def route(self, method, path, key, body):
        if path.startswith("/log-of/"):
            return 200, self.logs[int(path.rpartition("/")[2])]
        if key != self.key:
            return 401, {"success": False, "error": "auth_error", "msg": "Invalid user key"}
        for pattern, carry_out in (
            (r"GET /api/v0/instances/(\d+)/", self.show),
            (r"PUT /api/v0/instances/(\d+)/", self.change),
            (r"DELETE /api/v0/instances/(\d+)/", self.destroy),
            (r"PUT /api/v0/instances/request_logs/(\d+)/", self.request_log),
            (r"PUT /api/v0/asks/(\d+)/", self.rent),
        ):
            if match := re.fullmatch(pattern, f"{method} {path}"):
                with self.lock:
                    return carry_out(int(match[1]), body)
        if (method, path) == ("GET", "/api/v1/instances/"):
            rows = list(self.instances.values())
            return 200, {"success": True, "instances": rows, "total_instances": len(rows), "next_token": None}
        if (method, path) == ("POST", "/api/v0/commands/schedule_job/"):
            self.scheduled.append(body)
            return 200, {"success": True}
        if (method, path) == ("POST", "/api/v0/bundles/"):
            return 200, {"offers": [row for row in self.offers if self.matches(row, body)]}
        return 404, {"success": False, "error": "not_found", "msg": f"{method} {path}"}

    def show(self, number, body):
        return 200, {"instances": self.instances.get(number)}

    def change(self, number, body):
        if number not in self.instances:
            return 404, {"success": False, "error": "no_such_instance", "msg": f"Instance {number} not found."}
        wanted = body["state"]
        if wanted not in self.ignored_states:
            self.instances[number]["intended_status"] = wanted
            self.later(lambda: self.has_become(number, wanted))
        return 200, {"success": True}

    def destroy(self, number, body):
        if number not in self.instances:
            return 404, {"success": False, "error": "no_such_instance", "msg": f"Instance {number} not found."}
        if "destroyed" not in self.ignored_states:
            self.later(lambda: self.has_become(number, "gone"))
        return 200, {"success": True}

    def has_become(self, number, state):
        with self.lock:
            self._ended(number)
            if state == "gone":
                self.instances.pop(number, None)
            elif number in self.instances:
                self.instances[number]["actual_status"] = "exited" if state == "stopped" else state

    def later(self, change):
        timer = threading.Timer(self.change_delay_s, change)
        timer.daemon = True
        timer.start()

    def request_log(self, number, body):
        if number not in self.instances:
            return 404, {"success": False, "error": "no_such_instance", "msg": f"Instance {number} not found."}
        return 200, {"success": True, "result_url": f"{self.url}/log-of/{number}"}

    def rent(self, number, body):
        if all(row["id"] != number for row in self.offers):
            return 404, {"success": False, "error": "no_such_ask", "msg": f"Offer {number} not found."}
        contract = 7000 + len(self.instances)
        row = self.add_instance(contract, status=None, label=body["label"], extra_env=list(body["env"].items()))
        self.later(lambda: row.update(actual_status="running"))
        return 200, {"success": True, "new_contract": contract}

    @staticmethod
    def matches(row, query):
        return all(
            COMPARE[operator](row[name], wanted)
            for name, conditions in query.items()
            if isinstance(conditions, dict) and name in row
            for operator, wanted in conditions.items()
        )
