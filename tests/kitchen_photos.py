"""Photos of the demo kitchen, taken in a denser build with changing exposure and noise, and scans to judge by them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import scan_damage
from blueprint import demo
from blueprint.axes import OPENCV_FROM_OPENGL, direction, intrinsics, opencv_viewmats
from blueprint.fidelity.job import assess
from blueprint.fidelity.keys import Fidelity
from blueprint.render.cpu import CpuRenderer
from blueprint.splat import Splat

SIZE_PX = 96, 72
EYES_M = [(x, y, 1.5) for x, y in ((-1.7, -1.3), (-0.4, -1.3), (1.2, -1.3), (-1.7, -0.2), (1.5, 0.0), (1.5, 1.0))]
HEADINGS_DEG = np.arange(0, 360, 45)
HELD_OUT_EVERY = 5
SCAN, DENSER = 60_000, 110_000  # Gaussians
RENDER = {"sh_degree": 3, "background": [0, 0, 0], "near_m": 0.05, "far_m": 100, "antialiased": "auto"}


@dataclass(frozen=True)
class Damage:
    """Damage of known kind, and the figure that should tell it."""

    name: str
    told_by: str | None
    harm: Callable[[Splat], Splat] | None = None
    shift_px: float = 0.0
    """By which the cameras are turned from the photos'."""
    headings_deg: tuple[int, ...] = tuple(HEADINGS_DEG.tolist())
    """Of the cameras that are not withheld."""


def _without_wall(scan: Splat) -> Splat:
    return scan_damage.part(scan, scan.means[:, 0] < scan.means[:, 0].max() - 0.4)


def _with_floaters(scan: Splat, groups: int = 100, members: int = 25) -> Splat:
    random = np.random.default_rng(3)
    centres = random.uniform((-1.8, -1.4, 1.0), (1.6, 1.2, 2.2), (groups, 1, 3))
    means = (centres + random.normal(0, 0.012, (groups, members, 3))).reshape(-1, 3)
    some = random.integers(0, len(scan), len(means))
    added = scan_damage.part(scan, some)
    added = replace(added, means=means.astype(np.float32), scales=np.full_like(added.scales, 0.006))
    arrays = ("means", "scales", "quats", "opacities", "sh")
    return replace(scan, **{name: np.concatenate([getattr(scan, name), getattr(added, name)]) for name in arrays})


def _half_transparent(scan: Splat) -> Splat:
    region = scan.means[:, 0] < 0
    return replace(scan, opacities=np.where(region, scan.opacities / 2, scan.opacities).astype(np.float32))


DAMAGES = (
    Damage("none", None),
    Damage("a wall removed", "holes", _without_wall),
    Damage("floaters added", "floaters", _with_floaters),
    Damage("opacity halved in one half", "mush", _half_transparent),
    Damage("cameras turned by 2 px", "camera_shift", shift_px=2.0),
    Damage("half of the cameras withheld", "unseen", headings_deg=(0, 45, 315)),
)


def build() -> tuple[Splat, Splat]:
    """The scan, and the denser room that is photographed."""
    return demo.build("kitchen", gaussians=SCAN), demo.build("kitchen", gaussians=DENSER, seed=7)


def photograph(room: Splat, folder: Path, damage: Damage) -> Path:
    """Write a dataset of photos, in nerfstudio's layout; returns its folder."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    renderer, K = CpuRenderer(room, *SIZE_PX), intrinsics(*SIZE_PX, fov_x_deg=75)
    random = np.random.default_rng(5)
    turn = damage.shift_px / K[0, 0]
    off = np.eye(4)
    off[:3, :3] = [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    frames, splits = [], {"train_filenames": [], "test_filenames": []}
    for eye in EYES_M:
        for heading in damage.headings_deg:
            forward = direction(np.radians([heading]), np.radians([12.0]))
            viewmat = opencv_viewmats(np.array([eye]), forward)[0]
            name = f"images/{len(frames):03}.png"
            photo = renderer.frame(viewmat, K).rgb * random.uniform(0.8, 1.1) * random.uniform(0.95, 1.05, 3)
            photo = np.clip(photo + random.normal(0, 0.01, photo.shape), 0, 1)
            cv2.imwrite(str(folder / name), np.rint(photo[..., ::-1] * 255).astype(np.uint8))
            splits["test_filenames" if len(frames) % HELD_OUT_EVERY == 2 else "train_filenames"].append(name)
            pose = np.linalg.inv(off @ viewmat) @ OPENCV_FROM_OPENGL
            frames.append({"file_path": name, "transform_matrix": pose.tolist()})
    camera = {"fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2], "cy": K[1, 2], "w": SIZE_PX[0], "h": SIZE_PX[1]}
    text = json.dumps({"camera_model": "OPENCV", **camera, **splits, "frames": frames})
    (folder / "transforms.json").write_text(text)
    return folder


def judged(scan: Splat, room: Splat, damage: Damage, folder: Path, every: int = 6) -> dict[str, Any]:
    """What the job says of the damaged scan."""
    photos = photograph(room, folder / "photos", damage)
    demo.write(damage.harm(scan) if damage.harm else scan, folder / "scene.ply")
    spec = {
        "facility": "kitchen",
        "up_axis": "z",
        "floor_height_m": 0.0,
        "render": RENDER,
        "places": 4,
        "thresholds": Fidelity().model_dump(exclude_none=True)["thresholds"],
        "photos": {"path": str(photos), "every": every, "refine_px": 4.0},
        "code": "1",
    }
    return assess(folder / "scene.ply", {}, spec, CpuRenderer, 1, folder / "fidelity")


FIGURES = ("psnr_held_out", "camera_shift", "unseen", "holes", "mush", "scatter", "colour_noise", "floaters")


def row(damage: Damage, found: dict[str, Any]) -> str:
    """A line of the table in docs/fidelity.md: figures, those beyond a threshold in bold."""
    cells = [scan_damage.figure(found, name) for name in FIGURES]
    shown = [f"**{cell['shown']}**" if cell["verdict"] in ("warn", "fail") else cell["shown"] for cell in cells]
    return f"| {damage.name} | {' | '.join(shown)} | {found['scan']['verdict']} |"
