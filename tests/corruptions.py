"""Named ways in which a variant can be wrong, each with strengths, and ways in which it may differ and be right.

Every corruption takes a clip and the frames of a right variant and gives the frames of another variant. `wrong_from` is
the strength from which a robot would be misled; below it, nothing is claimed. Pixels are those of a frame 640 wide,
degrees those of view, so a strength means the same at every size.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from blueprint import video
from corruption import NEVER, REGISTERED, Corruption, Scene, around_middle, codes, corruption, moved, retimed

# --- Place


@corruption("degrees", (0.12, 0.25, 0.5), 0.25)
def shifted(scene, frames, degrees):
    by = degrees * scene.px_per_deg * np.array([0.8, 0.6])
    return np.stack([moved(frame, scene.grid - by) for frame in frames])


@corruption("degrees", (0.5, 1, 2), 1)
def rotated(scene, frames, degrees):
    angle = np.radians(degrees)
    return around_middle(scene, frames, np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]))


@corruption("%", (1, 2, 4), 2)
def zoomed(scene, frames, percent):
    return around_middle(scene, frames, np.eye(2) * (1 + percent / 100))


@corruption("degrees at the end", (0.25, 0.5, 1), 0.5)
def geometry_drifts(scene, frames, degrees):
    by = degrees * scene.px_per_deg * np.linspace(0, 1, scene.count)
    return np.stack([moved(frame, scene.grid - [0.8 * b, 0.6 * b]) for frame, b in zip(frames, by, strict=True)])


@corruption("degrees", (0.25, 0.5, 1), 0.5)
def locally_warped(scene, frames, degrees):
    centre, _ = scene.thing
    found = []
    for index, frame in enumerate(frames):
        at = scene.project(centre, index)[:2]
        bump = np.exp(-np.square((scene.grid - at) / (0.09 * scene.size[1])).sum(-1) / 2)[..., None]
        found.append(moved(frame, scene.grid - bump * degrees * scene.px_per_deg * np.array([0.8, 0.6])))
    return np.stack(found)


@corruption("share", (0.25, 0.5, 1), 0.5)
def parallax_flattened(scene, frames, share):
    """As if what lies off the plane of median depth moved with it, growing from the middle frame to both ends."""
    middle, found = scene.count // 2, []
    for index, frame in enumerate(frames):
        known = scene.depth_m[index] > 0
        flat = np.where(known, np.median(scene.depth_m[index][known]), 0)
        apart = _seen_from(scene, index, middle, flat) - _seen_from(scene, index, middle, scene.depth_m[index])
        apart = cv2.GaussianBlur(np.where(known[..., None], apart, 0).astype(np.float32), (0, 0), 2)
        found.append(moved(frame, scene.grid + share * apart))
    return np.stack(found)


def _seen_from(scene: Scene, index: int, other: int, depth_m: np.ndarray) -> np.ndarray:
    K, step = scene.Ks[index], scene.viewmats[other] @ np.linalg.inv(scene.viewmats[index])
    pixel = np.dstack([scene.grid + 0.5, np.ones(scene.size)])
    rays = pixel @ np.linalg.inv(K).T * depth_m[..., None]
    there = (rays @ step[:3, :3].T + step[:3, 3]) @ scene.Ks[other].T
    return there[..., :2] / np.maximum(there[..., 2:], 1e-3) - 0.5


def _refilled(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The frame with what the mask covers painted over from its surroundings."""
    return cv2.inpaint(frame, cv2.dilate(mask, np.ones((3, 3))), 3, cv2.INPAINT_TELEA)


@corruption("px", (1.5, 3, 6, 12), 6)
def object_moved(scene, frames, px):
    """Sideways; 6 px are 5 cm at 3 m in these views."""
    found = []
    for index, frame in enumerate(frames):
        mask, by = scene.thing_mask(index), scene.grid - [px * scene.unit, 0]
        over = cv2.remap(mask, by.astype(np.float32), None, cv2.INTER_LINEAR)[..., None] / 255.0
        found.append(codes(over * moved(frame, by) + (1 - over) * _refilled(frame, mask)))
    return np.stack(found)


@corruption("frames", (3, 24), 3)
def object_gone(scene, frames, count):
    start = 0 if count >= 24 else scene.count // 2
    gone = range(start, scene.count if count >= 24 else start + int(count))
    return np.stack([_refilled(frame, scene.thing_mask(i)) if i in gone else frame for i, frame in enumerate(frames)])


def _with_ball(scene: Scene, frames: np.ndarray, share: float, contrast: float, when: range) -> np.ndarray:
    """A ball in the air in front of the thing, its diameter a share of the frame's width."""
    centre, _ = scene.thing
    eye = np.linalg.inv(scene.viewmats[scene.count // 2])[:3, 3]
    ball = eye + 0.72 * (centre - eye)
    radius_m = share / 2 * scene.size[1] / scene.Ks[0, 0, 0] * np.linalg.norm(ball - eye)
    found = frames.astype(np.float32)
    for index in when:
        x, y, z = scene.project(ball, index)
        radius = radius_m * scene.Ks[index, 0, 0] / z
        apart = np.linalg.norm(scene.grid - [x, y], axis=-1)
        cover = np.clip(radius - apart + 0.5, 0, 1)[..., None]
        light = 0.75 + 0.25 * (y - scene.grid[..., 1:]) / max(radius, 1)
        level = found[index].mean()
        colour = np.array([1.6, 0.6, 0.5]) * level * light
        found[index] += contrast * cover * (colour - found[index])
    return codes(found)


@corruption("% of the width", (4, 8, 12), 8)
def ball_invented(scene, frames, percent):
    return _with_ball(scene, frames, percent / 100, 1.0, range(scene.count))


@corruption("% of the width", (8, 12), 12)
def pale_ball_invented(scene, frames, percent):
    return _with_ball(scene, frames, percent / 100, 0.4, range(scene.count))


@corruption("frames", (1, 3, 8), 3)
def ball_of_24_px_appears(scene, frames, count):
    start = scene.count // 2
    return _with_ball(scene, frames, 24 / 640, 1.0, range(start, start + int(count)))


# --- Time


@corruption("frames", (1, 2, 4, 8), 1)
def lags(scene, frames, count):
    return retimed(scene, frames, np.arange(scene.count) - count)


@corruption("frames", (1, 2), 1)
def leads(scene, frames, count):
    return retimed(scene, frames, np.arange(scene.count) + count)


@corruption("frames", (1, 2, 4), 1)
def lags_from_the_middle(scene, frames, count):
    return retimed(scene, frames, np.arange(scene.count) - count * (np.arange(scene.count) >= scene.count // 2))


@corruption("frames", (1, 2), 1)
def frames_repeated(scene, frames, count):
    times, start = np.arange(scene.count), scene.count // 2
    times[start : start + int(count)] = start - 1
    return retimed(scene, frames, times)


@corruption("frames", (1, 2), 1)
def frames_dropped(scene, frames, count):
    return retimed(scene, frames, np.arange(scene.count) + count * (np.arange(scene.count) >= scene.count // 2))


@corruption("fold", (2, 3), 2)
def frames_doubled(scene, frames, fold):
    return retimed(scene, frames, np.arange(scene.count) // int(fold) * int(fold))


@corruption("share of the speed lost", (0.1, 0.25, 0.5), 0.25)
def camera_too_slow(scene, frames, share):
    return retimed(scene, frames, np.arange(scene.count) * (1 - share))


@corruption("last share", (0.25, 0.5), 0.25)
def ends_as_another_video(scene, frames, share):
    start = round(scene.count * (1 - share))
    return np.concatenate([frames[:start], frames[: scene.count - start, :, ::-1]])


# --- Look over time


def _brighter(frames: np.ndarray, gains: np.ndarray) -> np.ndarray:
    return codes(frames * gains[:, None, None, None])


def _hue_turned(frames: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    found = []
    for frame, turn in zip(frames, degrees, strict=True):
        hsv = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0] + turn) % 360
        found.append(codes(255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)))
    return np.stack(found)


@corruption("%", (2.5, 5, 10), 5)
def flickers(scene, frames, percent):
    return _brighter(frames, 1 + percent / 100 * (-1.0) ** np.arange(scene.count))


@corruption("%", (5, 10, 25), 10)
def one_frame_flashes(scene, frames, percent):
    return _brighter(frames, 1 + percent / 100 * (np.arange(scene.count) == scene.count // 2))


@corruption("%", (5, 10, 20), 10)
def brightness_jumps(scene, frames, percent):
    return _brighter(frames, 1 - percent / 100 * (np.arange(scene.count) >= scene.count // 2))


@corruption("degrees", (7.5, 15, 30), 15)
def hue_jumps(scene, frames, degrees):
    return _hue_turned(frames, degrees * (np.arange(scene.count) >= scene.count // 2))


@corruption("%", (10, 20, 40, 60), 20)
def brightness_drifts(scene, frames, percent):
    return _brighter(frames, 1 - percent / 100 * np.linspace(0, 1, scene.count))


@corruption("degrees", (15, 30, 90, 180), 30)
def hue_drifts(scene, frames, degrees):
    return _hue_turned(frames, degrees * np.linspace(0, 1, scene.count))


@corruption("share", (0.25, 0.5, 1), 0.5)
def object_changes_identity(scene, frames, share):
    """From the middle on the thing has another colour."""
    found = frames.astype(np.float32)
    for index in range(scene.count // 2, scene.count):
        cover = cv2.GaussianBlur(scene.thing_mask(index).astype(np.float32) / 255, (0, 0), 1)[..., None]
        found[index] += share * cover * (frames[index][..., [2, 0, 1]] * np.array([0.5, 1.1, 1.5]) - found[index])
    return codes(found)


# --- Texture and sharpness


def _grain(size: tuple[int, int], sigma: float, seed: int) -> np.ndarray:
    """Smooth noise [H, W, 1] of standard deviation 1."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=size).astype(np.float32), (0, 0), sigma)
    return (noise / noise.std())[..., None]


@corruption("%", (4, 8, 16), 8)
def boils_in_a_ninth(scene, frames, percent):
    height, width = scene.size
    found = frames.astype(np.float32)
    box = (slice(height // 3, 2 * height // 3), slice(width // 3, 2 * width // 3))
    for index in range(scene.count):
        found[index][box] *= 1 + percent / 100 * _grain(scene.size, 5 * scene.unit, index)[box]
    return codes(found)


@corruption("%", (5, 10, 20), 10)
def texture_glued_to_the_screen(scene, frames, percent):
    return codes(frames * (1 + percent / 100 * _grain(scene.size, 5 * scene.unit, 1)))


def material(scene: Scene, index: int, cell_m: float, moved_m: float = 0.0) -> np.ndarray:
    """A pattern in the world [H, W, 1], -1 to 1."""
    s = (scene.points[index] + moved_m) * (2 * np.pi / cell_m)
    return (np.sin(s[..., 0] + np.sin(0.7 * s[..., 1])) * np.sin(s[..., 1] + s[..., 2]) + np.sin(s[..., 2]))[
        ..., None
    ] / 2


def _cell_m(scene: Scene) -> float:
    """A pattern of some 50 px at 640 wide."""
    return float(np.median(scene.depth_m[scene.depth_m > 0]) * 50 * scene.unit / scene.Ks[0, 0, 0])


@corruption("px a frame", (1, 2, 4), 2)
def texture_swims(scene, frames, px):
    step_m = _cell_m(scene) * px / 50
    pattern = (material(scene, index, _cell_m(scene), index * step_m) for index in range(scene.count))
    return codes(np.stack([frame * (1 + 0.25 * each) for frame, each in zip(frames, pattern, strict=True)]))


@corruption("grey levels", (20, 40, 80), 40)
def reflection_wanders(scene, frames, levels):
    height, width = scene.size
    found = frames.astype(np.float32)
    for index in range(scene.count):
        at = np.array([width * (0.35 + 0.3 * index / scene.count), height * 0.5])
        found[index] += levels * np.exp(-np.square((scene.grid - at) / (20 * scene.unit)).sum(-1) / 2)[..., None]
    return codes(found)


@corruption("px", (0.75, 1.5, 3), 1.5)
def blurred(scene, frames, px):
    return np.stack([cv2.GaussianBlur(frame, (0, 0), px * scene.unit) for frame in frames])


@corruption("levels", (-32, -16, -8, -5), -8)
def banded(scene, frames, levels):
    step = 255 / (-levels - 1)
    return codes(np.rint(frames / step) * step)


@corruption("CRF", (28, 38, 46), 46)
def compressed(scene, frames, crf):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        video.write_video(path, frames, scene.fps, crf=int(crf))
        return np.stack(list(video.read_video(path)))


# --- Right


@corruption("", (0,), NEVER)
def right_as_it_is(scene, frames, _):
    return frames


@corruption("gain", (0.5, 1.25), NEVER)
def right_exposure(scene, frames, gain):
    return codes(frames * gain)


@corruption("exponent", (0.6, 1.6), NEVER)
def right_gamma(scene, frames, exponent):
    return codes(255 * (frames / 255.0) ** exponent)


@corruption("gain", (0.15, 0.3), NEVER)
def right_low_light_with_noise(scene, frames, gain):
    noise = np.random.default_rng(1).normal(0, 3, frames.shape)
    return codes(frames * gain + noise)


@corruption("levels", (4, 8), NEVER)
def right_sensor_noise(scene, frames, sigma):
    return codes(frames + np.random.default_rng(1).normal(0, sigma, frames.shape))


@corruption("share", (0.25, 0.5), NEVER)
def right_material_in_the_world(scene, frames, share):
    pattern = (material(scene, index, _cell_m(scene)) for index in range(scene.count))
    return codes(np.stack([frame * (1 + share * each) for frame, each in zip(frames, pattern, strict=True)]))


@corruption("share", (0.5,), NEVER)
def right_shadows_in_the_world(scene, frames, share):
    cell = 6 * _cell_m(scene)
    bands = (1 / (1 + np.exp(-9 * np.sin(2 * np.pi * scene.points.sum(-1) / cell)))).astype(np.float32)
    return codes(frames * (1 - share * bands[..., None]))


@corruption("", (0,), NEVER)
def right_tint(scene, frames, _):
    return codes(frames * np.array([1.15, 0.95, 0.7]))


@corruption("", (0,), NEVER)
def right_grey(scene, frames, _):
    return np.repeat(codes(frames.mean(-1, keepdims=True)), 3, axis=-1)


@corruption("share", (0.3,), NEVER)
def right_vignette(scene, frames, share):
    middle = np.array(scene.size[::-1]) / 2
    away = np.square((scene.grid - middle) / middle).sum(-1, keepdims=True) / 2
    return codes(frames * (1 - share * away))


@corruption("range in depths", (2.0, 4.0), NEVER)
def right_fog(scene, frames, reach):
    far = reach * np.median(scene.depth_m[scene.depth_m > 0])
    left = np.exp(-np.where(scene.depth_m > 0, scene.depth_m, 50) / far)[..., None]
    return codes(frames * left + 190 * (1 - left))


@corruption("CRF", (24,), NEVER)
def right_compression(scene, frames, crf):
    return compressed(scene, frames, crf)


def all_of(scene: Scene, frames: np.ndarray) -> Iterator[tuple[Corruption, float, np.ndarray]]:
    """Every corruption at every strength."""
    for each in REGISTERED:
        for strength in each.strengths:
            yield each, strength, each.make(scene, frames, strength)
