"""A facility as one recording for the Rerun viewer: scene, cameras, frames and scores on the timeline ``frame``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rerun

from blueprint import depth, poses, splat, video
from blueprint.axes import eyes_of
from blueprint.files import read_json, whole_file
from blueprint.splat.decode import SH0

log = logging.getLogger(__name__)

APPLICATION = "Blueprint Validation"
TIMELINE = "frame"
MOST_POINTS = 200_000
JPEG_QUALITY = 90
MOST_UNITS_PER_M = 1000
UNITS = np.iinfo(np.uint16).max


def write_recording(target: Path, scene: Path, results: Path, spec: dict[str, Any]) -> None:
    """Write the recording of a facility; the file appears whole.

    Its entities: ``world/scene``, points of the splat; for each clip ``world/clips/<clip>``, its camera, with
    ``render``, ``depth`` and ``variants/<variant>`` below; ``scores/<clip>/<variant>/<score>``, of the frames that have
    one. A lens is left out: images are shown as a pinhole's.

    Args:
        target: ``.rrd``.
        scene: the splat.
        results: ``results/<facility>``.
        spec: ``facility``, ``up_axis``, ``metres_per_unit``, ``far_m``; names of ``clips`` and ``variants``.

    Raises:
        UserError: a file cannot be read, or the files of a clip differ in length.
    """
    with whole_file(target) as part:
        recording = rerun.RecordingStream(APPLICATION, recording_id=spec["facility"])
        recording.save(part)
        recording.set_log_time_enabled(False)
        recording.log("world", _upright(spec["up_axis"]), static=True)
        recording.log("world/scene", _points(splat.load(scene, spec["metres_per_unit"])), static=True)
        for clip in spec["clips"]:
            count = _log_clip(recording, results, clip, spec)
            for variant in spec["variants"]:
                _log_scores(recording, f"{clip}/{variant}", read_json(results / "metrics" / clip / f"{variant}.json"))
            log.info("%s: %d frames", clip, count)
        recording.flush()
        recording.disconnect()


def _upright(up_axis: str) -> rerun.ViewCoordinates:
    return getattr(rerun.ViewCoordinates, f"RIGHT_HAND_{up_axis[-1].upper()}_{'DOWN' if up_axis[0] == '-' else 'UP'}")


def _points(scene: splat.Splat) -> rerun.Points3D:
    """The centres of Gaussians, at most `MOST_POINTS`, in the colour that is the same from everywhere."""
    few = np.sort(np.random.default_rng(0).permutation(len(scene))[:MOST_POINTS])
    colours = np.rint(255 * np.clip(0.5 + SH0 * scene.sh[few, 0], 0, 1)).astype(np.uint8)
    return rerun.Points3D(scene.means[few], radii=np.median(scene.scales[few], axis=1), colors=colours)


def _log_clip(recording: rerun.RecordingStream, results: Path, clip: str, spec: dict[str, Any]) -> int:
    """Log the camera, the depth, the render and its variants frame by frame; return how many frames there are."""
    folder, camera = results / "clips" / clip, f"world/clips/{clip}"
    cameras = poses.read(folder / "cameras.json")
    videos = {"render": folder / "rgb.mp4"}
    videos |= {f"variants/{name}": results / "enriched" / clip / f"{name}.mp4" for name in spec["variants"]}
    streams = [(path, video.read_video(path)) for path in videos.values()]
    views = (folder / "cameras.json", _views(cameras))
    depths = (folder / "depth.npz", depth.iterate_depth(folder / "depth.npz", "median_m"))
    units_per_m = min(MOST_UNITS_PER_M, UNITS / spec["far_m"])
    count = 0
    for view, (depth_m, _), *images in video.in_step(views, depths, *streams):
        recording.set_time(TIMELINE, sequence=count)
        recording.log(camera, *view)
        recording.log(f"{camera}/depth", _depth_image(depth_m, units_per_m))
        for name, image in zip(videos, images, strict=True):
            recording.log(f"{camera}/{name}", _jpeg(image))
        count += 1
    return count


def _views(cameras: poses.Cameras) -> Iterator[tuple[rerun.Transform3D, rerun.Pinhole]]:
    """Pose and intrinsics of every frame."""
    for viewmat, K, eye in zip(cameras.viewmats, cameras.Ks, eyes_of(cameras.viewmats), strict=True):
        pose = rerun.Transform3D(translation=eye, mat3x3=viewmat[:3, :3].T)
        size = {"width": cameras.width, "height": cameras.height}
        yield pose, rerun.Pinhole(image_from_camera=K, camera_xyz=rerun.ViewCoordinates.RDF, **size)


def _depth_image(depth_m: np.ndarray, units_per_m: float) -> rerun.EncodedDepthImage:
    """Depth [H, W] in metres as a PNG of 16 bits, 0 where nothing is; what is farther than they reach is left out."""
    units = np.rint(depth_m * units_per_m)
    units = np.where(units <= UNITS, units, 0).astype(np.uint16)
    return rerun.EncodedDepthImage(_encoded(".png", units), media_type="image/png", meter=units_per_m)


def _jpeg(image: np.ndarray) -> rerun.EncodedImage:
    """An image [H, W, 3] uint8 as JPEG."""
    contents = _encoded(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return rerun.EncodedImage(contents=contents, media_type="image/jpeg")


def _encoded(suffix: str, image: np.ndarray, options: list[int] | None = None) -> bytes:
    return cv2.imencode(suffix, image, options or [])[1].tobytes()


def _log_scores(recording: rerun.RecordingStream, entity: str, scores: dict[str, Any]) -> None:
    """Log the value of each score at each frame that has one; scores of whole clips have none."""
    for name, values in scores["frames"].items():
        defined = {frame: value for frame, value in enumerate(values) if value is not None}
        if defined:
            recording.send_columns(
                f"scores/{entity}/{name}",
                [rerun.TimeColumn(TIMELINE, sequence=list(defined))],
                rerun.Scalars.columns(scalars=list(defined.values())),
            )
