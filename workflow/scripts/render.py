"""Render a clip: colour and metric depth along a camera path, and the depth control video.

Frames stream through: while the rasterizer works on the next one, one thread encodes colour and another compresses
depth, so memory does not grow with the length of the clip. The three files appear together, or none does.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Full, Queue
from typing import Any

import numpy as np

from blueprint import cameras, cli, depth, splat, video
from blueprint.files import whole_file
from blueprint.render import choose_backend

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
    span = depth.InverseDepthRange()
    with ExitStack() as stack:
        rgb, control, metric = (stack.enter_context(whole_file(targets[name])) for name in ("rgb", "depth", "depth_m"))
        with (
            in_background(lambda images: video.write_video(rgb, images, path.fps)) as put_image,
            in_background(lambda pairs: depth.write_depth(metric, pairs, count)) as put_depth,
        ):
            for frame in progress(renderer.frames(path.viewmats, path.Ks), count):
                put_image(np.rint(frame.rgb * 255).astype(np.uint8))
                put_depth((frame.depth_m, frame.alpha))
                span.add(frame.depth_m, frame.alpha)
        bounds = span.bounds_per_m()
        log.info("depth control: black at %.2f m and beyond, white at %.2f m", 1 / max(bounds[0], 1e-9), 1 / bounds[1])
        images = (depth.control_image(*pair, bounds) for pair in depth.iterate_depth(metric))
        video.write_video(control, images, path.fps)


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
