"""The photometric engine: a clip under other light, air, lens and sensor. CPU only, no weights, deterministic.

The render is decoded to linear light; there every step is physics:

    light    ambient plus one window, a disc source whose irradiance falls off as r^2 / (r^2 + distance^2)
    air      Koschmieder's law over the distance to the camera, extinction 3.912 / visibility
    lens     veiling glare (a share of the light is scattered widely), vignetting
    sensor   white balance, exposure, contrast, saturation, black level, fixed pattern, highlight shoulder

The window stands in a wall of the scene, placed by the seed from the bounds of the clip's own depth; nothing is
estimated per frame, so light does not flicker, and no step moves a pixel, so geometry is untouched.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np

from blueprint import poses
from blueprint.axes import eyes_of, moved_back
from blueprint.depth import iterate_depth
from blueprint.engines.presets import PRESETS, Look
from blueprint.engines.task import Clip, Finish, Options, Variant
from blueprint.lens import Lens, pixel_slopes
from blueprint.poses import Cameras
from blueprint.video import read_video, write_video

log = logging.getLogger(__name__)

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # BT.709
MID_GREY = 0.18
SHOULDER = 0.8  # linear level above which highlights are compressed
ENCODE_LEVELS = 1 << 14


def identity(options: Options) -> dict[str, Any]:
    """Nothing beyond the sources themselves."""
    return {}


def make_variants(clip: Clip, variants: Sequence[Variant], options: Options, finish: Finish) -> None:
    """Relight a clip once per variant (see `blueprint.engines.task`)."""
    cameras = poses.read(clip.cameras)
    for variant in variants:
        started = time.perf_counter()
        look = PRESETS[variant.preset]
        scene = place_scene(clip, cameras, variant.seed)
        target = options.scratch / f"{variant.name}.mp4"
        write_video(target, relit_frames(clip, cameras, look, scene, variant.seed), round(clip.info.fps))
        seconds = time.perf_counter() - started
        log.info("%s: %d frames in %.1f s", variant.name, clip.info.frames, seconds)
        parameters = {key: value for key, value in asdict(look).items() if key != "prompt"}
        parameters["window_position_m"] = scene.window.tolist() if look.window_ev is not None else None
        finish(variant, target, {"model": {"name": "photometric", **parameters}, "run": {"seconds": seconds}})


@dataclass(frozen=True)
class Scene:
    """Where things are in the world: bounds of what the clip sees, and the window. Each [3], metres."""

    low: np.ndarray
    high: np.ndarray
    window: np.ndarray

    @property
    def far_m(self) -> float:
        """Distance given to pixels that show nothing: the scene's diagonal."""
        return float(np.linalg.norm(self.high - self.low))


def place_scene(clip: Clip, cameras: Cameras, seed: int) -> Scene:
    """The bounds of what a clip sees, and a window placed in them by the seed."""
    low, high = scene_bounds(clip, cameras)
    return Scene(low, high, window_position(low, high, cameras.up_axis, seed))


def relit_frames(clip: Clip, cameras: Cameras, look: Look, scene: Scene, seed: int) -> Iterator[np.ndarray]:
    """The frames of a clip under another look, each [H, W, 3] uint8."""
    pattern = fixed_pattern(cameras.height, cameras.width, look.pattern, seed)
    lenses = cameras.lenses or (None,) * len(cameras.Ks)
    seen = zip(read_video(clip.rgb), iterate_depth(clip.depth_m), cameras.viewmats, cameras.Ks, lenses, strict=True)
    for rgb, (depth_m, alpha), viewmat, K, lens in seen:
        yield relit(rgb, depth_m, alpha, viewmat, K, look, scene, pattern, lens)


def relit(
    rgb: np.ndarray,  # [H, W, 3] uint8
    depth_m: np.ndarray,  # [H, W]
    alpha: np.ndarray,  # [H, W]
    viewmat: np.ndarray,  # [4, 4] world to camera
    K: np.ndarray,  # [3, 3] pixels
    look: Look,
    scene: Scene,
    pattern: np.ndarray,  # [H, W, 1]
    lens: Lens | None = None,
) -> np.ndarray:
    """One frame [H, W, 3] uint8 under another look."""
    position, distance_m = unproject(depth_m, alpha, viewmat, K, scene.far_m, lens)
    light = decode(rgb) * irradiance(look, position, scene.window)
    light = through_air(light, look, distance_m)
    light = through_lens(light, look)
    return encode(sensor(light, look, pattern))


def unproject(
    depth_m: np.ndarray,  # [H, W], 0 where nothing is
    alpha: np.ndarray,  # [H, W] in 0-1
    viewmat: np.ndarray,  # [4, 4] world to camera, OpenCV
    K: np.ndarray,  # [3, 3] pixels
    far_m: float,
    lens: Lens | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """World position [H, W, 3] and distance [H, W] to the camera of what each pixel shows, metres.

    Where a pixel is partly empty, what lies behind counts as being at `far_m`.
    """
    height, width = depth_m.shape
    if lens is None:
        x = (np.arange(width, dtype=np.float32) + 0.5 - K[0, 2]) / K[0, 0]
        y = (np.arange(height, dtype=np.float32) + 0.5 - K[1, 2]) / K[1, 1]
        x, y = np.broadcast_arrays(x[None, :], y[:, None])
    else:
        x, y = pixel_slopes(K, width, height, lens)
    rays = np.stack([x, y, np.ones((height, width))], -1).astype(np.float32)
    z = depth_m * alpha + far_m * (1 - alpha)
    points = rays * z[..., None].astype(np.float32)
    return moved_back(points, viewmat), np.linalg.norm(points, axis=-1)


def scene_bounds(clip: Clip, cameras: Cameras, samples: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the box that holds what the clip sees (2nd to 98th percentile), each [3], metres."""
    wanted = set(np.linspace(0, len(cameras.viewmats) - 1, samples).round().astype(int).tolist())
    seen = [eyes_of(cameras.viewmats)]
    for index, (depth_m, alpha) in enumerate(iterate_depth(clip.depth_m)):
        if index in wanted:
            lens = cameras.lenses[index] if cameras.lenses else None
            camera = cameras.viewmats[index], cameras.Ks[index]
            position, _ = unproject(depth_m, np.ones_like(alpha), *camera, 0.0, lens)
            seen.append(position[::8, ::8][alpha[::8, ::8] > 0.5])
    low, high = np.percentile(np.concatenate(seen), (2, 98), axis=0)
    return low, high


def window_position(low: np.ndarray, high: np.ndarray, up_axis: str, seed: int) -> np.ndarray:
    """Centre [3] of the window: on a wall of the box, in the upper half, chosen by the seed; metres."""
    rng = np.random.default_rng(seed)
    up = "xyz".index(up_axis[-1])
    sides = [axis for axis in range(3) if axis != up]
    position = low + (high - low) * rng.uniform(0.3, 0.7, 3)
    wall = rng.choice(sides)
    position[wall] = rng.choice([low[wall], high[wall]])
    fraction = 0.3 if up_axis.startswith("-") else 0.7
    position[up] = low[up] + (high[up] - low[up]) * fraction
    return position


@cache
def decode_table() -> np.ndarray:
    """Linear light [256] of each code value: sRGB (IEC 61966-2-1) with the highlight shoulder undone."""
    value = np.linspace(0, 1, 256)
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    above = np.minimum((linear - SHOULDER) / (1 - SHOULDER), 0.9).clip(0)
    return np.where(linear > SHOULDER, SHOULDER - (1 - SHOULDER) * np.log1p(-above), linear).astype(np.float32)


@cache
def encode_table() -> np.ndarray:
    """Code value [ENCODE_LEVELS + 1] of linear light in 0-1 (IEC 61966-2-1)."""
    value = np.linspace(0, 1, ENCODE_LEVELS + 1)
    encoded = np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)
    return (encoded * 255).round().astype(np.uint8)


def decode(rgb: np.ndarray) -> np.ndarray:
    """Linear light, float32, of an image of code values [H, W, 3] uint8."""
    return decode_table()[rgb]


def encode(light: np.ndarray) -> np.ndarray:
    """Code values [H, W, 3] uint8 of linear light; highlights roll off smoothly instead of clipping hard."""
    rolled = SHOULDER + (1 - SHOULDER) * -np.expm1((SHOULDER - light) / (1 - SHOULDER))
    levels = np.where(light > SHOULDER, rolled, light).clip(0, 1) * ENCODE_LEVELS
    return encode_table()[levels.astype(np.uint16)]


def light_colour(temperature_k: float) -> np.ndarray:
    """Linear sRGB [3] of a Planckian radiator, luminance 1.

    The locus is the cubic approximation of Kim et al. (US patent 7,024,034), valid for 1667-25000 K.
    """
    t = 1000 / temperature_k
    if temperature_k <= 4000:
        x = -0.2661239 * t**3 - 0.2343589 * t**2 + 0.8776956 * t + 0.179910
    else:
        x = -3.0258469 * t**3 + 2.1070379 * t**2 + 0.2226347 * t + 0.240390
    if temperature_k <= 2222:
        y = -1.1063814 * x**3 - 1.34811020 * x**2 + 2.18555832 * x - 0.20219683
    elif temperature_k <= 4000:
        y = -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
    else:
        y = 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483
    xyz = np.array([x / y, 1.0, (1 - x - y) / y])
    to_srgb = np.array(
        [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
    )
    return (to_srgb @ xyz).clip(0.01).astype(np.float32)


def irradiance(look: Look, position: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Light [H, W, 3] on each point [H, W, 3] (metres), relative to the scan's own, as the sensor balances it."""
    white = light_colour(look.white_balance_k)
    light = light_colour(look.ambient_k) / white * 2**look.ambient_ev * np.array([1, look.green, 1], np.float32)
    if look.window_ev is None:
        return light
    squared_m2 = np.square(position - window.astype(np.float32)).sum(-1, keepdims=True)
    fall_off = look.window_radius_m**2 / (look.window_radius_m**2 + squared_m2)
    return light + fall_off * (light_colour(look.window_k) / white * 2**look.window_ev)


def through_air(light: np.ndarray, look: Look, distance_m: np.ndarray) -> np.ndarray:
    """Light [H, W, 3] after extinction and airlight along the way to the camera (Koschmieder 1924)."""
    if look.visibility_m is None:
        return light
    transmitted = np.exp(-3.912 / look.visibility_m * distance_m)[..., None]
    airlight = look.airlight * light_colour(look.ambient_k) / light_colour(look.white_balance_k)
    return light * transmitted + airlight * 2**look.ambient_ev * (1 - transmitted)


def through_lens(light: np.ndarray, look: Look) -> np.ndarray:
    """Light [H, W, 3] after veiling glare and vignetting."""
    height, width = light.shape[:2]
    if look.glare:
        small = cv2.resize(light, (max(width // 8, 1), max(height // 8, 1)), interpolation=cv2.INTER_AREA)
        veil = cv2.GaussianBlur(small, (0, 0), sigmaX=small.shape[1] / 12, borderType=cv2.BORDER_REFLECT)
        light = light * (1 - look.glare) + look.glare * cv2.resize(veil, (width, height))
    if look.vignette_ev:
        y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
        light = light * np.exp2(-look.vignette_ev * (x**2 + y**2) / 2)[..., None].astype(np.float32)
    return light


def fixed_pattern(height: int, width: int, deviation: float, seed: int) -> np.ndarray:
    """Gains [H, W, 1] of the sensor's pixels: they differ from pixel to pixel, not from frame to frame."""
    noise = np.random.default_rng(seed).standard_normal((height, width, 1), np.float32)
    return 1 + deviation * noise


def sensor(light: np.ndarray, look: Look, pattern: np.ndarray) -> np.ndarray:
    """What the camera makes of light [H, W, 3]: exposure, contrast, saturation, black level, fixed pattern."""
    light = light * (2**look.exposure_ev * pattern)
    luminance = (light @ LUMA)[..., None]
    if look.contrast != 1:
        gain = (np.maximum(luminance, 1e-4) / MID_GREY) ** (look.contrast - 1)
        light, luminance = light * gain, luminance * gain
    light = luminance + (light - luminance) * look.saturation
    return look.black + light * (1 - look.black)
