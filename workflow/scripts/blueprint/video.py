"""Video files through PyAV: visually lossless H.264 that every browser plays, and a reader that trusts its tags.

RGB becomes BT.709 limited-range YCbCr with 4:2:0 chroma, and is tagged so. The matrix and the range are named at every
conversion, since libswscale on its own takes BT.601 whatever the tags say. A file depends on the frames alone: the
number of encoder threads is fixed, and x264 gives the same bytes for the same count on every machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter

from blueprint.errors import UserError
from blueprint.files import whole_file

CRF = 10
# Without mbtree: its assembly reads memory that nothing wrote, so equal frames would now and then give other bytes.
X264 = {"preset": "veryfast", "mbtree": "0"}
ENCODER_THREADS = 4
# Chroma is averaged and interpolated at full precision; the default flags shift colours by up to one level.
SCALING = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.BITEXACT
)
# Matrix by AVColorSpace. 2 is "unspecified": FFmpeg encodes with BT.601 when nobody names a matrix.
MATRIX = {
    1: Colorspace.ITU709,
    2: Colorspace.ITU601,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
}


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds."""

    width: int
    height: int
    fps: float
    frames: int


def write_video(path: Path, frames: Iterable[np.ndarray], fps: int, *, crf: int = CRF) -> int:
    """Encode frames as H.264 in MP4; the file appears whole.

    Args:
        path: target, ``.mp4``.
        frames: uint8 ``[H, W, 3]`` RGB, or ``[H, W]`` grey, all of one even size; taken one at a time.
        fps: constant frame rate in Hz.
        crf: x264's rate factor, 0 (lossless luma) to 51.

    Returns:
        The number of frames written, which is the number given.

    Raises:
        UserError: no frames, or an odd width or height.
    """
    count = 0
    convert = VideoReformatter()
    with (
        whole_file(path) as part,
        av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as container,
    ):
        stream = container.add_stream("libx264", rate=fps, options={"crf": str(crf), **X264})
        for count, image in enumerate(frames, start=1):
            if count == 1:
                _configure(stream, image, path)
            assert image.shape[:2] == (stream.height, stream.width) and image.dtype == np.uint8, (
                image.shape,
                image.dtype,
            )
            frame = _as_yuv(image, convert) if image.ndim == 3 else _grey_as_yuv(image)
            frame.pts, frame.time_base = count - 1, Fraction(1, fps)
            container.mux(stream.encode(frame))
        if count == 0:
            raise UserError(f"{path}: there are no frames to encode.")
        container.mux(stream.encode(None))
    return count


def _as_yuv(image: np.ndarray, convert: VideoReformatter) -> av.VideoFrame:
    """A frame [H, W, 3] RGB as encoders take it."""
    return convert.reformat(
        av.VideoFrame.from_ndarray(image, format="rgb24"),
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        interpolation=SCALING,
        threads=1,
    )


def _grey_as_yuv(image: np.ndarray) -> av.VideoFrame:
    """A grey frame [H, W] as `_as_yuv` makes it of three equal colours, in a fraction of the time."""
    planes = np.full((image.shape[0] * 3 // 2, image.shape[1]), 128, np.uint8)
    planes[: image.shape[0]] = _luma_of_grey()[image]
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    frame.colorspace, frame.color_range = Colorspace.ITU709, ColorRange.MPEG
    return frame


@cache
def _luma_of_grey() -> np.ndarray:
    """The luma [256] of each grey level."""
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 2, axis=1).repeat(3, axis=2)
    return _as_yuv(np.ascontiguousarray(levels), VideoReformatter()).to_ndarray()[:256, 0].copy()


def _configure(stream: av.VideoStream, image: np.ndarray, path: Path) -> None:
    height, width = image.shape[:2]
    if width % 2 or height % 2:
        raise UserError(f"{path}: {width}x{height} pixels; 4:2:0 video needs an even width and height.")
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    codec = stream.codec_context
    codec.thread_count = ENCODER_THREADS
    codec.colorspace = Colorspace.ITU709
    codec.color_range = ColorRange.MPEG
    codec.color_primaries = ColorPrimaries.BT709
    codec.color_trc = ColorTrc.BT709


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """The container and its first video stream; what FFmpeg reports becomes a `UserError`."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UserError(f"{path}: holds no video stream. Is it a video file?")
            yield container, container.streams.video[0]
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such video file.") from error
    except av.FFmpegError as error:
        raise UserError(f"{path}: not a readable video ({error.strerror}). Delete it and run again.") from error


def read_video(path: Path) -> Iterator[np.ndarray]:
    """Decode a video frame by frame.

    The file's tags choose matrix and range. Untagged files are taken as BT.601, limited range, which is what FFmpeg
    (and with it imageio, OpenCV and diffusers) encodes when no matrix is named.

    Yields:
        uint8 ``[H, W, 3]`` RGB.

    Raises:
        UserError: absent, not a video, cut short, or damaged as far as the decoder sees it (H.264 has no checksums).
    """
    convert = VideoReformatter()
    count = 0
    with _opened(path) as (container, stream):
        stream.codec_context.options = {"err_detect": "explode"}
        for frame in container.decode(stream):
            if frame.is_corrupt:
                raise UserError(f"{path}: frame {count} is damaged. Delete the file and run again.")
            full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
            rgb = convert.reformat(
                frame,
                format="rgb24",
                src_colorspace=MATRIX.get(frame.colorspace, frame.colorspace),
                src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
                dst_color_range=ColorRange.JPEG,
                interpolation=SCALING,
                threads=1,
            )
            count += 1
            yield rgb.to_ndarray()
        if count == 0 or count < stream.frames:
            raise UserError(f"{path}: {count} of {stream.frames} frames can be read. Delete the file and run again.")


def probe(path: Path) -> VideoInfo:
    """Size, rate and number of frames, without decoding.

    Raises:
        UserError: absent or not a video.
    """
    with _opened(path) as (container, stream):
        # Formats that do not store the number of frames (Matroska, WebM) are counted by their packets.
        frames = stream.frames or sum(packet.size > 0 for packet in container.demux(stream))
        return VideoInfo(stream.width, stream.height, float(stream.average_rate), frames)


def in_step(*streams: tuple[Path, Iterable[Any]]) -> Iterator[tuple[Any, ...]]:
    """The streams of a clip's files side by side, one moment after the other.

    Args:
        streams: a file and what is read of it, frame by frame; videos, depth.

    Yields:
        The frames of one moment, in the order of the streams.

    Raises:
        UserError: one file ends before the others, which it names.
    """
    end = object()
    for count, moment in enumerate(itertools.zip_longest(*(items for _, items in streams), fillvalue=end)):
        ended = [str(path) for (path, _), item in zip(streams, moment, strict=True) if item is end]
        if ended:
            longer = [str(path) for path, _ in streams if str(path) not in ended]
            raise UserError(
                f"{' and '.join(ended)}: ends after {count} frames while {', '.join(longer)} goes on. "
                "Delete what is too short and run again."
            )
        yield moment
