"""Video: what is decoded is what was rendered, and damaged files are named."""

import shutil

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from blueprint import video
from blueprint.errors import UserError
from synthetic_room import room

SATURATED = [(220, 20, 20), (20, 200, 20), (20, 20, 220), (230, 210, 10), (200, 20, 200), (10, 200, 200)]


def psnr_db(a, b):
    return 10 * np.log10(255**2 / np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2))


def detailed(width=192, height=128, count=9):
    """Frames with fine grey texture, soft saturated objects that move, and a gradient."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    texture = 12 * np.sin(x / 1.7) * np.sin(y / 2.3) + rng.normal(0, 4, (height, width))
    frames = []
    for frame in range(count):
        image = np.stack([60 + x / 2, 90 + y / 2, 140 - x / 4], axis=-1)
        for index, colour in enumerate(SATURATED):
            cx, cy = 20 + 30 * index + frame, 30 + 12 * index - frame
            soft = np.exp(-((((x - cx) ** 2 + (y - cy) ** 2) / 18**2) ** 2))[..., None]
            image = image * (1 - soft) + np.array(colour) * soft
        frames.append(np.clip(np.rint(image + texture[..., None]), 0, 255).astype(np.uint8))
    return frames


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    frames = detailed()
    assert video.write_video(path, iter(frames), 12) == len(frames)
    return path, frames


def test_decoded_frames_are_those_rendered(clip):
    path, frames = clip
    decoded = list(video.read_video(path))
    assert len(decoded) == len(frames)
    assert min(psnr_db(a, b) for a, b in zip(decoded, frames, strict=True)) > 40
    assert np.abs(np.mean(np.float64(decoded) - np.float64(frames), axis=(0, 1, 2))).max() < 0.3  # no colour cast


def test_flat_saturated_colours_come_back_within_two_levels(tmp_path):
    for colour in [*SATURATED, (255, 255, 255), (0, 0, 0), (255, 0, 0)]:
        path = tmp_path / "flat.mp4"
        video.write_video(path, [np.full((32, 32, 3), colour, np.uint8)] * 2, 10)
        for image in video.read_video(path):
            assert np.abs(image.astype(int) - colour).max() <= 2, colour


def test_probe_count_rate_and_tags(clip):
    path, frames = clip
    assert video.probe(path) == video.VideoInfo(192, 128, 12.0, len(frames))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        decoded = list(container.decode(stream))
        assert [round(frame.time * 12) for frame in decoded] == list(range(len(frames)))
        assert {(frame.colorspace, frame.color_range) for frame in decoded} == {(Colorspace.ITU709, ColorRange.MPEG)}


def test_same_frames_give_the_same_bytes_whatever_lies_in_memory(tmp_path):
    rng = np.random.default_rng(0)
    pattern = rng.normal(1, 0.05, (176, 224, 1))
    frames = [(frame * pattern).clip(0, 255).astype(np.uint8) for frame in room(8, 224, 176).frames] * 3
    written = set()
    for _ in range(5):
        copies = [frame.copy() for frame in frames]
        junk = [rng.bytes(size) for size in rng.integers(1000, 2_000_000, 20)]
        del junk  # what malloc hands out next
        video.write_video(tmp_path / "clip.mp4", copies, 12)
        written.add((tmp_path / "clip.mp4").read_bytes())
    assert len(written) == 1


def test_grey_frames_are_encoded_as_three_equal_colours_are(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (3, 48, 64), dtype=np.uint8)
    video.write_video(tmp_path / "grey.mp4", frames, 24)
    video.write_video(tmp_path / "rgb.mp4", np.repeat(frames[..., None], 3, axis=-1), 24)
    assert (tmp_path / "grey.mp4").read_bytes() == (tmp_path / "rgb.mp4").read_bytes()


def test_a_video_of_another_tool_without_tags_is_read_as_bt601(tmp_path):
    """What FFmpeg writes when no matrix is named: the way imageio and diffusers save their videos."""
    path = tmp_path / "untagged.mp4"
    colour = (200, 40, 30)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), colour, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).colorspace == 2  # unspecified: the premise of this test
    assert np.abs(next(video.read_video(path)).astype(int) - colour).max() <= 2


def test_a_full_range_file_is_read_by_its_tag(tmp_path):
    path = tmp_path / "full.avi"
    image = np.full((48, 64, 3), 250, np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 8, (64, 48))
    assert writer.isOpened()
    writer.write(image)
    writer.release()
    assert np.abs(next(video.read_video(path)).astype(int) - 250).max() <= 3


def test_probe_counts_packets_where_the_file_does_not_say(clip, tmp_path):
    path, frames = clip
    target = tmp_path / "clip.mkv"
    with av.open(str(path)) as source, av.open(str(target), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    assert video.probe(target).frames == len(frames)
    assert len(list(video.read_video(target))) == len(frames)


def test_an_absent_file_is_named(tmp_path):
    for reader in (video.probe, lambda path: next(video.read_video(path))):
        with pytest.raises(UserError, match=r"absent\.mp4: there is no such video"):
            reader(tmp_path / "absent.mp4")


def test_what_is_no_video_is_refused(tmp_path):
    path = tmp_path / "text.mp4"
    path.write_text("not a video " * 100)
    for reader in (video.probe, lambda path: next(video.read_video(path))):
        with pytest.raises(UserError, match=r"text\.mp4: not a readable video"):
            reader(path)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_video_cut_short_is_refused(clip, tmp_path, share):
    data = clip[0].read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match=r"cut\.mp4: .*(frames can be read|not a readable video|damaged)"):
        list(video.read_video(path))


def test_a_video_with_damaged_bytes_is_refused(clip, tmp_path):
    path = tmp_path / "damaged.mp4"
    shutil.copy(clip[0], path)
    data = bytearray(path.read_bytes())
    # H.264 carries no checksums: a few flipped bytes decode to something, a damaged block of a disk does not.
    start, size = len(data) // 2, len(data) // 4
    data[start : start + size] = np.random.default_rng(1).bytes(size)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"damaged\.mp4"):
        list(video.read_video(path))


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    def frames():
        yield np.zeros((32, 32, 3), np.uint8)
        raise RuntimeError("the renderer died")

    with pytest.raises(RuntimeError):
        video.write_video(tmp_path / "clip.mp4", frames(), 10)
    assert list(tmp_path.iterdir()) == []


def test_odd_sizes_and_empty_clips_are_refused(tmp_path):
    with pytest.raises(UserError, match="31x32 pixels"):
        video.write_video(tmp_path / "odd.mp4", [np.zeros((32, 31, 3), np.uint8)], 10)
    with pytest.raises(UserError, match="no frames"):
        video.write_video(tmp_path / "empty.mp4", [], 10)
    assert list(tmp_path.iterdir()) == []
