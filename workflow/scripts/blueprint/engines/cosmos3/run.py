"""The engine `cosmos3`: NVIDIA Cosmos 3 on vLLM-Omni servers that keep the model loaded.

A server crops what has not exactly one of the model's sizes, so controls are stretched to one before and the video is
resized back after; both are recorded under ``fit``. Every field that decides pixels is sent, defaults included: those
of the server differ from NVIDIA's (guidance, steps, shift) and from one release to another.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from blueprint.engines.control_videos import refuse_other_lengths
from blueprint.engines.cosmos3 import managed, server
from blueprint.engines.cosmos3.hints import HINTS, uploads
from blueprint.engines.cosmos3.server import Gone, VideoServer
from blueprint.engines.cosmos3.sizes import fit, model_size
from blueprint.engines.task import Clip, Finish, Options, Variant
from blueprint.errors import UserError
from blueprint.files import value_digest
from blueprint.video import VideoInfo, probe, read_video, write_video

log = logging.getLogger(__name__)

Made = tuple[Path, dict[str, Any], float]
"""The video as the server made it, what the server says of it, and seconds."""
PRESETS = ("preset_edge_threshold", "preset_blur_strength")


def identity(_: Options) -> dict[str, Any]:
    """Model and revision are settings; the protocol decides how they are meant."""
    return {"protocol": "vLLM-Omni /v1/videos 0.30"}


def make_variants(clip: Clip, variants: Sequence[Variant], options: Options, finish: Finish) -> None:
    """Spread the variants over the servers; what a server that dies leaves is given to another.

    Raises:
        UserError: a server refused or failed a variant, or none is left. The variants that others were making at that
            moment are finished and kept.
    """
    refuse_other_lengths(clip, variants)
    files, stop = Files(clip, options), threading.Event()
    limits = (options.machine["start_min"] * 60, options.machine["deadline_min"] * 60)
    if options.machine["server"] == "managed":
        servers = managed.servers(options, stop)
    else:
        servers = [VideoServer(url, *limits, stop) for url in options.machine["server_urls"]]
    work = Work(deque(variants), deque(servers))
    pool = ThreadPoolExecutor(len(servers))
    try:
        while work.running or (work.pending and not work.failures):
            if not work.failures:
                _hand_out(work, pool, files)
            for future in wait(work.running, timeout=server.POLL_S, return_when=FIRST_COMPLETED).done:
                if result := _result(work, future):
                    _take_over(clip, *result, options, finish)
            if not work.running and work.pending and not work.failures:
                _wait_for_a_server(work, stop)
        if work.failures:
            raise work.failures[0]
    finally:
        stop.set()
        pool.shutdown()
        for host in servers:
            host.close()


@dataclass
class Work:
    """Who makes what."""

    pending: deque[Variant]
    idle: deque[VideoServer]
    running: dict[Future[Made], tuple[VideoServer, Variant]] = field(default_factory=dict)
    failures: list[UserError] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # servers that were given up, and why

    def give_up(self, host: VideoServer, reason: Gone) -> None:
        """Give a server nothing more."""
        log.warning("%s is given up: %s", host.url, reason)
        self.lost.append(f"{host.url}: {reason}")


def _hand_out(work: Work, pool: ThreadPoolExecutor, files: Files) -> None:
    """Give each idle server that is ready, and that no other job holds, a variant."""
    for host in [*work.idle]:
        if not work.pending or not host.hold():
            continue
        handed = False
        try:
            if host.ready():
                work.idle.remove(host)
                variant = work.pending.popleft()
                fields, uploaded = request(variant, files)
                log.info("%s: to %s", variant.name, host.url)
                target = files.folder / f"{variant.name}.made.mp4"
                work.running[pool.submit(_make, host, variant.name, fields, uploaded, target)] = host, variant
                handed = True
        except Gone as gone:
            work.idle.remove(host)
            work.give_up(host, gone)
        finally:
            if not handed:
                host.release()


def _result(work: Work, future: Future[Made]) -> tuple[Variant, Made, VideoServer] | None:
    """What came of a variant; one that a dying server leaves is the next to be handed out."""
    host, variant = work.running.pop(future)
    host.release()
    try:
        made = future.result()
    except Gone as gone:
        work.pending.appendleft(variant)
        host.chances -= 1
        if host.chances:  # it comes back
            log.warning("%s is waited for: %s", host.url, gone)
            work.idle.append(host)
        else:
            work.give_up(host, gone)
        return None
    except UserError as error:
        work.failures.append(error)
        return None
    work.idle.append(host)
    return variant, made, host


def _wait_for_a_server(work: Work, stop: threading.Event) -> None:
    """A while: they load, or other jobs of this machine hold them.

    Raises:
        UserError: none is left.
    """
    if not work.idle:
        raise UserError(
            f"{work.pending[0].name}: no server is left. {'; '.join(work.lost)}. See to them and run again; "
            "what is finished is kept."
        )
    stop.wait(server.POLL_S)


def _make(host: VideoServer, name: str, fields: dict[str, str], uploaded: dict[str, Path], target: Path) -> Made:
    since = time.perf_counter()
    done = host.make(name, fields, uploaded, target)
    return target, done, time.perf_counter() - since


class Files:
    """The control videos of a clip at the model's size, each made once."""

    def __init__(self, clip: Clip, options: Options) -> None:
        """Of a clip; they go into the scratch folder."""
        self.clip, self.settings, self.folder = clip, options.settings, options.scratch
        self.size = model_size(clip.info.width, clip.info.height, options.settings["resolution"])
        self.fps = round(clip.info.fps)

    def control(self, name: str, settings: Mapping[str, Any]) -> Path:
        """The video of a control that a server does not make."""
        path = Path(settings["control_path"]) if "control_path" in settings else self.clip.depth
        return self._fitted(path, cv2.INTER_NEAREST if name == "seg" else cv2.INTER_LINEAR)

    def colour(self) -> Path:
        """The render, of which a server makes edges and blur."""
        return self._fitted(self.clip.rgb, cv2.INTER_LINEAR)

    def _fitted(self, path: Path, interpolation: int) -> Path:
        target = self.folder / f"{value_digest([str(path), interpolation])[:16]}.mp4"
        if not target.exists():
            write_video(target, stretched(path, *self.size, interpolation), self.fps)
        return target


def request(variant: Variant, files: Files) -> tuple[dict[str, str], dict[str, Path]]:
    """The form of a variant: its fields, and the videos to upload by field."""
    settings, frames = files.settings, files.clip.info.frames
    extra: dict[str, Any] = {
        "resolution": settings["resolution"],
        "control_guidance": settings["control_guidance"],
        "num_video_frames_per_chunk": settings["num_video_frames_per_chunk"],
        "num_conditional_frames": settings["num_conditional_frames"],
        "num_first_chunk_conditional_frames": 0,
        "share_vision_temporal_positions": True,
        "emphasize_control_in_prompt": settings["emphasize_control"],
        "max_frames": frames,
        "show_input": False,
        "show_control_condition": False,
        "use_duration_template": True,
        "use_resolution_template": True,
        "negative_metadata_mode": "same",
        "guardrails": not settings["disable_guardrails"],
        "video_codec_options": {"preset": "medium", "crf": "10"},
    }
    for name, control in variant.controls.items():
        presets = {key: control[key] for key in PRESETS if key in control}
        extra[HINTS[name]] = {"control_weight": control["control_weight"], **presets}
    fields = {
        "prompt": variant.prompt,
        "negative_prompt": variant.negative_prompt,
        "model": settings["model"],
        "num_frames": str(frames),
        "fps": str(files.fps),
        "num_inference_steps": str(settings["num_steps"]),
        "guidance_scale": str(settings["guidance"]),
        "flow_shift": str(settings["shift"]),
        "seed": str(variant.seed),
    }
    uploaded, given = {}, uploads(variant.controls)
    if len(given) == 1:
        fields["control_type"] = HINTS[given[0]]
        uploaded["control_reference"] = files.control(given[0], variant.controls[given[0]])
    else:  # a server takes one upload; planning has seen to it that it reads this machine's disk
        for name in given:
            extra[HINTS[name]]["control_path"] = str(files.control(name, variant.controls[name]))
    if len(given) < len(variant.controls):
        uploaded["input_reference"] = files.colour()
    return {**fields, "extra_params": json.dumps(extra)}, uploaded


def _take_over(clip: Clip, variant: Variant, made: Made, host: VideoServer, options: Options, finish: Finish) -> None:
    """Check what a server made, bring it back to the clip's size, hand it over."""
    video, done, seconds = made
    fitted = fit(clip.info.width, clip.info.height, clip.info.frames, options.settings)
    expected = VideoInfo(fitted["model_width"], fitted["model_height"], clip.info.fps, clip.info.frames)
    found = probe(video)
    if found != expected:
        raise UserError(f"{variant.name}: {host.url} made {found}, asked for was {expected}.")
    target = options.scratch / f"{variant.name}.mp4"
    write_video(target, stretched(video, clip.info.width, clip.info.height, cv2.INTER_LANCZOS4), round(clip.info.fps))
    video.unlink()
    revision = "commit" if options.machine["server"] == "managed" else "revision_as_configured"
    model = {"name": options.settings["model"], revision: options.settings["revision"]}
    run = {"seconds": seconds, "server": host.url, **host.facts}
    said = {"server_seconds": done.get("inference_time_s"), "server_vram_peak_mb": done.get("peak_memory_mb")}
    run |= {name: value for name, value in said.items() if value is not None}
    finish(variant, target, {"model": model, "fit": fitted, "run": run})


def stretched(path: Path, width: int, height: int, interpolation: int) -> Iterator[np.ndarray]:
    """Frames [H, W, 3] uint8 of a video at another size in pixels; what shrinks is averaged, but for nearest."""
    for frame in read_video(path):
        shrinks = width * height < frame.shape[0] * frame.shape[1] and interpolation != cv2.INTER_NEAREST
        yield cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if shrinks else interpolation)
