"""A clip rendered into files: colour and metric depth along a camera path, and the depth control video.

Frames stream through: while the rasterizer works on the next one, threads encode colour and compress depth, and memory
does not grow with the length of the clip. The depth control video is encoded last, since its range is that of the whole
clip. The three files appear together, or none does.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import repeat
from pathlib import Path
from queue import Full, Queue
from typing import Any

import numpy as np

from blueprint import depth, poses, splat, video
from blueprint.depth_control import DepthControl
from blueprint.files import whole_file
from blueprint.render import Frame, choose_backend

log = logging.getLogger(__name__)

QUEUED_FRAMES = 4
PROGRESS_INTERVAL_S = 5.0
NEUTRAL = [0.5, 0.5, 0.5]


@contextmanager
def in_background(consume: Callable[[Iterator[Any]], Any]) -> Iterator[Callable[[Any], None]]:
    """Run ``consume(items)`` in a thread; yield the function that feeds it.

    A consumer that fails stops the producer at its next item; a producer that fails ends the consumer with an error,
    so that it finishes no file.
    """
    end, failed = object(), object()
    queue: Queue[Any] = Queue(QUEUED_FRAMES)

    def items() -> Iterator[Any]:
        while (item := queue.get()) is not end:
            if item is failed:
                raise RuntimeError("the rendering failed")
            yield item

    with ThreadPoolExecutor(1) as pool:
        consumer = pool.submit(consume, items())

        def put(item: Any) -> None:
            while not consumer.done():
                try:
                    return queue.put(item, timeout=0.5)
                except Full:
                    pass
            consumer.result()

        try:
            yield put
        except BaseException:
            put(failed)
            raise
        put(end)
        consumer.result()


def progress(frames: Iterator[Any], total: int) -> Iterator[Any]:
    """Pass frames on and log how many are done, at what rate, and how long the rest will take."""
    start = said = time.monotonic()
    for count, frame in enumerate(frames, start=1):
        yield frame
        now = time.monotonic()
        if now - said >= PROGRESS_INTERVAL_S or count == total:
            said = now
            rate = count / (now - start)
            log.info("frame %d of %d, %.2f frames/s, %.0f s left", count, total, rate, (total - count) / rate)


def options_for(scene: splat.Splat, spec: dict[str, Any]) -> dict[str, Any]:
    """A renderer's options from a specification, in which ``antialiased`` may be ``auto``: as the scene says."""
    antialiased = spec.get("antialiased", "auto")
    if antialiased == "auto":
        antialiased = bool(scene.antialiased)
        said = "does not say" if scene.antialiased is None else f"says {'yes' if antialiased else 'no'}"
        log.info("antialiased: %s (auto: the scene's file %s)", "yes" if antialiased else "no", said)
    return {**spec, "antialiased": antialiased}


def background_of(path: poses.Cameras) -> list[float]:
    """The background of a clip when none is configured: around an object a grey that hides neither dark nor bright."""
    return NEUTRAL if path.placement.get("side") == "outside" else [0.0, 0.0, 0.0]


def render_clip(
    scene: Path, path: poses.Cameras, spec: dict[str, Any], backend: str, threads: int, targets: dict[str, Path]
) -> dict[str, Any]:
    """Render a clip into ``targets`` (``rgb``, ``depth``, ``depth_m``).

    Args:
        scene: the splat file.
        path: the cameras.
        spec: ``sh_degree``, ``near_m``, ``far_m``, ``antialiased`` (``auto``: as the scene says) and, to be another
            than `background_of` chooses, ``background``.
        backend: ``auto``, ``cpu`` or ``gsplat``.
        threads: CPU threads of the rasterizer.
        targets: the files to write.

    Returns:
        ``rasterizer`` and ``gpus``: what rendered it.

    Raises:
        UserError: the scene is not usable, or the backend cannot run here.
    """
    make_renderer = choose_backend(backend)
    loaded = splat.load(scene, path.metres_per_unit)
    options = {"background": background_of(path), **options_for(loaded, spec)}
    renderer = make_renderer(loaded, path.width, path.height, **options, threads=threads)
    count = len(path.viewmats)
    log.info("%d frames of %dx%d, %d Gaussians", count, path.width, path.height, len(renderer.splat))
    with ExitStack() as files:
        rgb, control, metric = (files.enter_context(whole_file(targets[name])) for name in ("rgb", "depth", "depth_m"))
        grey = DepthControl(files.enter_context(tempfile.TemporaryFile(dir=control.parent)))
        with (
            in_background(lambda frames: video.write_video(rgb, map(as_bytes, frames), path.fps)) as put_colour,
            in_background(lambda frames: depth.write_depth(metric, map(depths_and_alpha, frames), count)) as put_depth,
            in_background(lambda frames: grey.add_all(map(median_and_alpha, frames))) as put_control,
        ):
            for frame in progress(renderer.frames(path.viewmats, path.Ks, path.lenses or repeat(None)), count):
                put_colour(frame)
                put_depth(frame)
                put_control(frame)
        log.info("depth control video: white at %.2f m, black at %.2f m", *grey.range_m())
        video.write_video(control, grey.images(), path.fps)
    rasterizer = make_renderer.__module__.rpartition(".")[2]
    return {"rasterizer": rasterizer, "gpus": [_gpu()] if rasterizer == "gsplat" else []}


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name()


def as_bytes(frame: Frame) -> np.ndarray:
    """Colour as uint8 [H, W, 3]."""
    return np.rint(frame.rgb * 255).astype(np.uint8)


def depths_and_alpha(frame: Frame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expected depth, median depth and alpha, [H, W] each."""
    return frame.depth_m, frame.median_m, frame.alpha


def median_and_alpha(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Median depth and alpha, [H, W] each: the first surface, nearer to the truth than the expected depth
    (benchmarks/depth.py).
    """
    return frame.median_m, frame.alpha
