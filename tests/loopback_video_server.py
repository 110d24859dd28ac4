"""A server of vLLM-Omni's video protocol on 127.0.0.1 (as its 0.30.0 answers); its model negates the control."""

from __future__ import annotations

import email
import email.policy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2

from blueprint.engines.cosmos3.sizes import SIZES
from blueprint.video import read_video, write_video

FIELDS = {
    *("prompt", "negative_prompt", "model", "num_frames", "fps", "num_inference_steps", "guidance_scale"),
    *("flow_shift", "seed", "extra_params", "control_type"),
}
EXTRA = {
    *("resolution", "control_guidance", "num_video_frames_per_chunk", "num_conditional_frames", "max_frames"),
    *("num_first_chunk_conditional_frames", "share_vision_temporal_positions", "emphasize_control_in_prompt"),
    *("show_input", "show_control_condition", "use_duration_template", "use_resolution_template"),
    *("negative_metadata_mode", "guardrails", "video_codec_options"),
}
COMMON = {"control_path", "control_weight"}
HINTS = {
    "depth": COMMON,
    "seg": COMMON,
    "edge": COMMON | {"preset_edge_threshold"},
    "blur": COMMON | {"preset_blur_strength"},
}


@dataclass
class Server:
    """What the server runs, how it is to misbehave, and what it was asked."""

    folder: Path
    model: str = "nvidia/Cosmos3-Nano"
    loading: int = 0  # times that /health answers 503
    busy: int = 0  # times that a submission is answered 503
    stored_late: int = 0  # times that a finished video is not there yet (404)
    dies: str = ""  # "": never; "polled", "submitted", "fetched": closes everything then; "restarted": forgets its jobs
    fails: tuple[int, str] | None = None  # code and message with which each job fails
    stuck: bool = False  # jobs stay in progress
    unfetchable: bool = False  # content is answered 422 although the job is completed
    frames_lost: int = 0  # frames that are missing at the start of each video
    cropped: bool = False  # videos come in another size
    together: threading.Barrier | None = None  # a job waits in progress until as many servers have one
    port: int = 0  # any that is free
    url: str = ""
    dead: bool = False
    requests: list[str] = field(default_factory=list)
    forms: list[dict] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    jobs: dict[str, dict] = field(default_factory=dict)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Serve while the block runs."""
    server.folder.mkdir(parents=True, exist_ok=True)
    handler = type("Bound", (Handler,), {"state": server})
    listener = ThreadingHTTPServer(("127.0.0.1", server.port), handler)
    server.url = f"http://127.0.0.1:{listener.server_address[1]}"
    threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()


class Handler(BaseHTTPRequestHandler):
    """Answers as vLLM-Omni does."""

    state: Server

    def log_message(self, *_):
        pass

    def answer(self, status, content, kind="application/json"):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def gone(self, moment):
        """Whether the server is dead, or dies at this moment: the connection ends without an answer."""
        self.state.dead |= self.state.dies == moment
        if self.state.dead:
            self.close_connection = True
        return self.state.dead

    def do_GET(self):
        server = self.state
        server.requests.append(f"GET {self.path}")
        *_, last = self.path.split("/")
        if self.gone("-"):
            return
        if self.path == "/health":
            server.loading -= 1
            self.answer(503 if server.loading >= 0 else 200, b"")
        elif last == "content":
            self.content(self.path.split("/")[-2])
        elif last in server.jobs and server.dies == "restarted" and server.jobs[last]["asked"] == 1:
            server.jobs.clear()
            self.answer(404, {"detail": "Video not found"})
        elif last not in server.jobs:
            self.answer(404, {"detail": "Video not found"})
        elif server.jobs[last]["asked"] == 1 and self.gone("polled"):
            return
        else:
            self.job(server.jobs[last])

    def job(self, job):
        """Queued, then in progress, then completed or failed."""
        server = self.state
        job["asked"] += 1
        about = {"id": job["id"], "progress": 0, "status": "queued" if job["asked"] == 1 else "in_progress"}
        if job["asked"] == 2 and server.together:
            server.together.wait(20)
        if job["asked"] <= 2 or server.stuck:
            self.answer(200, about)
        elif server.fails:
            code, message = server.fails
            server.dead = server.dies == "failed"
            self.answer(code, {**about, "status": "failed", "error": {"code": code, "message": message}})
        else:
            self.answer(200, {**about, "status": "completed", "inference_time_s": 1.5, "peak_memory_mb": 61000.0})

    def content(self, name):
        server = self.state
        if self.gone("fetched"):
            return
        if server.unfetchable:
            self.answer(422, {"detail": "Video generation failed. Check job status for error details."})
        elif server.stored_late > 0:
            server.stored_late -= 1
            self.answer(404, {"detail": "Generation is still in-progress"})
        else:
            self.answer(200, server.jobs[name]["video"].read_bytes(), "video/mp4")

    def do_DELETE(self):
        if not self.gone("-"):
            self.state.deleted.append(self.path.split("/")[-1])
            self.answer(200, {"deleted": True})

    def do_POST(self):
        server = self.state
        server.requests.append(f"POST {self.path}")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.gone("submitted"):
            return
        if server.busy > 0:
            server.busy -= 1
            self.answer(503, {"error": {"message": "Video generation handler not initialized."}})
            return
        form, files = self.parse(body)
        try:
            video = self.make(form, files)
        except ValueError as error:
            self.answer(400, {"error": {"message": str(error), "code": 400}})
            return
        name = f"video_gen_{len(server.forms)}"
        server.forms.append(form)
        server.jobs[name] = {"id": name, "asked": 0, "video": video}
        self.answer(200, {"id": name, "status": "queued"})

    def parse(self, body):
        """The fields of a multipart form, and its files in a folder of their own."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        fields, files = {}, {}
        for part in email.message_from_bytes(head + body, policy=email.policy.HTTP).iter_parts():
            name = part.get_param("name", header="content-disposition")
            if part.get_filename():
                files[name] = self.state.folder / f"{name}-{len(self.state.forms)}.mp4"
                files[name].write_bytes(part.get_payload(decode=True))
            else:
                fields[name] = part.get_payload(decode=True).decode()
        return fields, files

    def make(self, form, files):
        """Refuse what vLLM-Omni refuses and, besides, what it silently ignores; then make the video."""
        server = self.state
        extra = form["extra_params"] = json.loads(form["extra_params"])
        form["files"] = files
        if form["model"] != server.model:
            raise ValueError(
                f"Model mismatch: request specifies '{form['model']}' but server is running '{server.model}'."
            )
        if unknown := (set(form) - FIELDS - {"files"}) | (set(extra) - EXTRA - set(HINTS)):
            raise ValueError(f"unknown fields {sorted(unknown)}")
        hints = {name: extra[name] for name in HINTS if name in extra}
        for name, hint in hints.items():
            if set(hint) - HINTS[name]:
                raise ValueError(
                    f"Unsupported Cosmos3 transfer hint '{name}' fields: {sorted(set(hint) - HINTS[name])}."
                )
        sources = {name: Path(hint["control_path"]) for name, hint in hints.items() if "control_path" in hint}
        if "control_reference" in files:
            sources[form["control_type"]] = files["control_reference"]
        for name in set(hints) - set(sources):
            if name not in ("edge", "blur") or "input_reference" not in files:
                raise ValueError(f"Cosmos3 transfer hint '{name}' requires a precomputed control_path")
            sources[name] = files["input_reference"]
        frames = list(read_video(next(sources[name] for name in HINTS if name in sources)))
        assert frames[0].shape[1::-1] in SIZES[extra["resolution"]], "a server would crop it"
        made = [255 - frame for frame in frames[: int(form["num_frames"])]]
        made = made[server.frames_lost :] + made[-1:] * server.frames_lost
        if server.cropped:
            made = [cv2.resize(frame, (96, 64)) for frame in made]
        target = server.folder / f"made-{len(server.forms)}.mp4"
        write_video(target, made, int(form["fps"]), crf=int(extra["video_codec_options"]["crf"]))
        return target
