"""Render a clip: colour and metric depth along a camera path, and the depth control video.

Frames stream through: while the rasterizer works on the next one, threads encode colour and compress depth, and memory
does not grow with the length of the clip. The depth control video is encoded last, since its range is that of the whole
clip. The three files appear together, or none does.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Full, Queue
from typing import Any

import numpy as np

from blueprint import cameras, cli, depth, splat, video
from blueprint.depth_control import DepthControl
from blueprint.files import whole_file
from blueprint.render import Frame, choose_backend

log = logging.getLogger(__name__)

QUEUED_FRAMES = 4
PROGRESS_INTERVAL_S = 5.0


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


def render(
    scene: Path, path: cameras.Cameras, spec: dict[str, Any], backend: str, threads: int, targets: dict[str, Path]
) -> None:
    """Render a clip into ``targets`` (``rgb``, ``depth``, ``depth_m``).

    Args:
        scene: the splat file.
        path: the cameras.
        spec: ``sh_degree``, ``background``, ``near_m``, ``far_m``.
        backend: ``auto``, ``cpu`` or ``gsplat``.
        threads: CPU threads of the rasterizer.
        targets: the files to write.

    Raises:
        UserError: the scene is not usable, or the backend cannot run here.
    """
    make_renderer = choose_backend(backend)
    renderer = make_renderer(splat.load(scene), path.width, path.height, threads=threads, **spec)
    count = len(path.viewmats)
    log.info("%d frames of %dx%d, %d Gaussians", count, path.width, path.height, len(renderer.splat))
    with ExitStack() as files:
        rgb, control, metric = (files.enter_context(whole_file(targets[name])) for name in ("rgb", "depth", "depth_m"))
        grey = DepthControl(files.enter_context(tempfile.TemporaryFile(dir=control.parent)))
        with (
            in_background(lambda frames: video.write_video(rgb, map(as_bytes, frames), path.fps)) as put_colour,
            in_background(lambda frames: depth.write_depth(metric, map(depth_and_alpha, frames), count)) as put_depth,
            in_background(lambda frames: grey.add_all(map(depth_and_alpha, frames))) as put_control,
        ):
            for frame in progress(renderer.frames(path.viewmats, path.Ks), count):
                put_colour(frame)
                put_depth(frame)
                put_control(frame)
        log.info("depth control video: white at %.2f m, black at %.2f m", *grey.range_m())
        video.write_video(control, grey.images(), path.fps)


def as_bytes(frame: Frame) -> np.ndarray:
    """Colour as uint8 [H, W, 3]."""
    return np.rint(frame.rgb * 255).astype(np.uint8)


def depth_and_alpha(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Depth and alpha, [H, W] each."""
    return frame.depth_m, frame.alpha


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", type=Path, required=True)
    parser.add_argument("--cameras", type=Path, required=True)
    parser.add_argument("--spec", type=cli.json_argument, required=True, help="sh_degree, background, near_m, far_m")
    parser.add_argument("--backend", choices=["auto", "cpu", "gsplat"], default="auto")
    parser.add_argument("--threads", type=int, default=1)
    for name, text in (("rgb", "colour video"), ("depth", "depth control video"), ("depth-m", "metric depth archive")):
        parser.add_argument(f"--{name}", type=Path, required=True, help=text)
    arguments = parser.parse_args()
    targets = {"rgb": arguments.rgb, "depth": arguments.depth, "depth_m": arguments.depth_m}
    start = time.monotonic()
    path = cameras.read(arguments.cameras)
    render(arguments.scene, path, arguments.spec, arguments.backend, arguments.threads, targets)
    log.info("done in %.1f s", time.monotonic() - start)


if __name__ == "__main__":
    cli.run(main)
