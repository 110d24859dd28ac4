"""What the tests of fidelity share: the demo kitchen, and a way to judge a scan as the job does."""

import numpy as np
import pytest

from blueprint import demo, poses
from blueprint.axes import direction, intrinsics, level_from_world, opencv_viewmats
from blueprint.fidelity.job import assess
from blueprint.fidelity.keys import Fidelity
from blueprint.render.cpu import CpuRenderer

RENDER = {"sh_degree": 3, "background": [0, 0, 0], "near_m": 0.05, "far_m": 100, "antialiased": "auto"}
THRESHOLDS = Fidelity().model_dump(exclude_none=True)["thresholds"]


@pytest.fixture(scope="session")
def kitchen():
    return demo.build("kitchen")


@pytest.fixture
def judge_scan(tmp_path):
    """``judge_scan(scan, eyes, targets, up_axis=..., places=..., photos=...)``: what the job says of a scan or file."""

    def judged(scan, eyes, headings_deg, up_axis="z", floor_height_m=0.0, places=4, look_down_deg=10.0, **spec):
        path = scan
        if not hasattr(scan, "open"):
            path = tmp_path / "scene.ply"
            demo.write(scan, path)
        level = level_from_world(up_axis, floor_height_m)
        forwards = direction(np.radians(headings_deg), np.full(len(eyes), np.radians(look_down_deg)))
        size = 160, 120
        cameras = poses.Cameras(
            opencv_viewmats(np.array(eyes, float), forwards) @ level,
            np.tile(intrinsics(*size, fov_x_deg=75), (len(eyes), 1, 1)),
            *size,
            fps=8,
            up_axis=up_axis,
            floor_height_m=floor_height_m,
            path="given",
            spec={},
            placement={},
        )
        poses.write(tmp_path / "look" / "cameras.json", cameras)
        spec = {
            "facility": "place",
            "up_axis": up_axis,
            "floor_height_m": floor_height_m,
            "render": RENDER,
            "places": places,
            "thresholds": THRESHOLDS,
            "code": "1",
            **spec,
        }
        return assess(path, {"look": tmp_path / "look" / "cameras.json"}, spec, CpuRenderer, 1, tmp_path / "fidelity")

    return judged
