"""A long clip needs no more memory than a short one."""

import json
import subprocess
import sys

import numpy as np

import synthetic_room
from blueprint.files import read_json
from workflow_runs import SCRIPTS

PIQ = ["psnr", "ssim", "ms_ssim", "gmsd", "vif", "haarpsi"]
NAMES = [*PIQ, "edge_agreement", "depth_edge_agreement", "temporal_stability"]
MEASURED = """
import resource, runpy, sys
sys.argv.pop(0)
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
SHORT, LONG = 12, 72


def peak_mb(folder, clip, count):
    """Peak memory of the program that scores ``count`` frames, in MB."""
    still = synthetic_room.Clip(
        np.broadcast_to(clip.frames, (count, *clip.frames.shape[1:])),
        np.broadcast_to(clip.depth_m, (count, *clip.depth_m.shape[1:])),
        np.broadcast_to(clip.viewmats, (count, 4, 4)),
        np.broadcast_to(clip.Ks, (count, 3, 3)),
    )
    paths = still.write(folder)
    command = [sys.executable, "-c", MEASURED, str(SCRIPTS / "metrics.py")]
    command += [paths["rgb.mp4"], "--render", paths["rgb.mp4"], "--depth-m", paths["depth.npz"], "--threads", "1"]
    command += ["--cameras", paths["cameras.json"], "--folder", folder / "scores"]
    finished = subprocess.run(
        [*command, "--scores", json.dumps([[name, ""] for name in NAMES])], capture_output=True, text=True, check=True
    )
    assert read_json(folder / "scores" / "rgb.json")["frame_count"] == count
    return int(finished.stdout.split()[-1]) / 1024


def test_memory_does_not_grow_with_the_length_of_a_clip(tmp_path):
    clip = synthetic_room.room(1, width=480, height=272)
    frame_mb = 480 * 272 * (3 + 3 + 4 + 1) / 2**20
    growth_mb = peak_mb(tmp_path / "long", clip, LONG) - peak_mb(tmp_path / "short", clip, SHORT)
    assert growth_mb < 0.4 * (LONG - SHORT) * frame_mb, "the frames are held"
