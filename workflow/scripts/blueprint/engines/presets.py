"""Named looks: what they mean physically (photometric engine) and in words (generative engines)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """A look as light, air, lens and sensor, in the order in which light meets them."""

    prompt: str
    """The look in words; ``{facility.description}`` is filled in."""
    # light: an even ambient light and one window in a wall of the scene
    ambient_ev: float = 0.0  # stops relative to the scan
    ambient_k: float = 6504.0  # colour temperature, kelvin
    green: float = 1.0  # gain of green: what a fluorescent tube adds to the Planckian locus
    window_ev: float | None = None  # stops relative to the scan, at the window; None: there is no window
    window_k: float = 6504.0
    window_radius_m: float = 1.0
    # air
    visibility_m: float | None = None  # meteorological range: contrast falls to 2 % over it; None: clear
    airlight: float = 0.6  # linear luminance of thick air under a light of 0 stops
    # lens
    glare: float = 0.0  # share of the light that is scattered over the image
    vignette_ev: float = 0.0  # stops lost in the corners
    # sensor
    white_balance_k: float = 6504.0
    exposure_ev: float = 0.0
    contrast: float = 1.0  # exponent about mid-grey
    saturation: float = 1.0
    black: float = 0.0  # linear level of black
    pattern: float = 0.0  # standard deviation of the pixels' fixed gains


PRESETS: dict[str, Look] = {
    "warm_evening": Look(
        prompt="{facility.description}, in the evening, lit by warm low sun from a window and soft tungsten lamps, "
        "long gentle shadows, photorealistic",
        ambient_ev=-1.4,
        ambient_k=3600,
        window_ev=0.5,
        window_k=2700,
        window_radius_m=1.6,
        glare=0.03,
        white_balance_k=4300,
        exposure_ev=0.3,
        contrast=1.05,
    ),
    "cold_fluorescent": Look(
        prompt="{facility.description}, lit evenly by cold fluorescent ceiling tubes with a slight green cast, "
        "flat shadows, photorealistic",
        ambient_ev=0.15,
        ambient_k=11000,
        green=1.08,
        saturation=0.75,
        contrast=0.95,
    ),
    "dim": Look(
        prompt="{facility.description}, at night with almost all lights off, dim bluish light, deep shadows, "
        "photorealistic",
        ambient_ev=-2.6,
        ambient_k=8000,
        window_ev=-1.2,
        window_k=9000,
        window_radius_m=1.0,
        saturation=0.7,
        vignette_ev=0.3,
    ),
    "haze": Look(
        prompt="{facility.description}, filled with thin grey smoke and steam that hides what is far away, "
        "photorealistic",
        visibility_m=22,
        airlight=0.5,
        glare=0.05,
        saturation=0.95,
    ),
    "overexposed_window": Look(
        prompt="{facility.description}, hard midday sunlight through a large window, overexposed highlights near the "
        "window and lens glare, photorealistic",
        ambient_ev=-1.4,
        window_ev=3.8,
        window_k=6000,
        window_radius_m=1.0,
        glare=0.2,
        contrast=0.8,  # film's soft highlights; scaled up as they are, they would flicker more than the render's
        saturation=0.9,
    ),
    "cctv": Look(
        prompt="{facility.description}, seen by a cheap surveillance camera, washed-out colours, low contrast, "
        "dark corners, photorealistic",
        ambient_ev=-0.4,
        ambient_k=5200,
        green=1.04,
        glare=0.08,
        vignette_ev=0.7,
        contrast=0.9,
        saturation=0.25,
        black=0.012,
        pattern=0.006,
    ),
}

PRESET_SETS: dict[str, tuple[str, ...]] = {
    "lighting": ("warm_evening", "cold_fluorescent", "dim", "overexposed_window"),
    "all": tuple(PRESETS),
}
