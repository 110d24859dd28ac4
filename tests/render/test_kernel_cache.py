"""Kernels are compiled once on a machine: the second process loads all of them."""

import json
import os
import subprocess
import sys

from workflow_runs import SCRIPTS

PROGRAM = """
import json
import numpy as np
from blueprint.render import kernels, rasterize
from blueprint.splat import Splat

quats = np.array([[1, 0, 0, 0]], np.float32)
ones = np.ones((1, 3), np.float32)
rasterize(Splat(5 * ones, ones, quats, ones[:, 0].copy(), ones[:, None]), np.eye(4), np.diag([20.0, 20.0, 1.0]), 40, 40)
stats = [value.stats for value in vars(kernels).values() if hasattr(value, "stats")]
totals = [sum(sum(getattr(stat, name).values()) for stat in stats) for name in ("cache_hits", "cache_misses")]
print(json.dumps([len(stats), *totals]))
"""


def test_second_process_compiles_nothing(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS), "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", PROGRAM]
    counts = [json.loads(subprocess.check_output(command, env=environment, cwd=tmp_path)) for _ in range(2)]
    (kernels, _, first_misses), (_, second_hits, second_misses) = counts
    assert first_misses >= kernels > 8
    assert second_misses == 0 and second_hits > 8
