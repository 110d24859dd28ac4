"""Repeatable noise: a hash of integer lattice points, smoothed for textures."""

from __future__ import annotations

import numpy as np


def hashed(*keys: np.ndarray | int) -> np.ndarray:
    """Uniform numbers in 0-1 from integer keys (broadcast together): the same on every machine, in any order."""
    state = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        for key in keys:
            word = np.asarray(key).astype(np.int64).view(np.uint64)
            state = (state ^ word) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(29))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(32))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def smooth(x: np.ndarray, y: np.ndarray, key: np.ndarray | int) -> np.ndarray:
    """Value noise in 0-1 with one lattice point per unit; ``x`` and ``y`` [n]."""
    column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    u, v = x - column, y - row
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    low = hashed(column, row, key) * (1 - u) + hashed(column + 1, row, key) * u
    high = hashed(column, row + 1, key) * (1 - u) + hashed(column + 1, row + 1, key) * u
    return low * (1 - v) + high * v


def clouds(x: np.ndarray, y: np.ndarray, key: np.ndarray | int, octaves: int = 3) -> np.ndarray:
    """Fractal value noise in 0-1: each octave at twice the frequency and half the weight."""
    total = sum(smooth(x * 2**octave, y * 2**octave, key + octave) / 2**octave for octave in range(octaves))
    return total / (2 - 2.0 ** (1 - octaves))
