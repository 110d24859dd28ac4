"""Small scenes and cameras for the tests of rendering."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from blueprint.splat import Splat

SH0 = 0.28209479177387814


def make_splat(means, scales, quats=None, opacities=None, colours=None, sh=None):
    """A splat of N Gaussians; unrotated, opaque and white unless told. ``colours`` [N, 3] are of degree 0."""
    means = np.atleast_2d(means)
    count = len(means)
    if sh is None:
        sh = ((np.ones((count, 3)) if colours is None else np.atleast_2d(colours)) - 0.5)[:, None, :] / SH0
    quats = np.tile([1, 0, 0, 0], (count, 1)) if quats is None else np.atleast_2d(quats)
    scales = np.broadcast_to(np.asarray(scales, float), (count, 3))
    opacities = np.ones(count) if opacities is None else np.broadcast_to(opacities, count)
    return Splat(*(np.ascontiguousarray(a, np.float32) for a in (means, scales, quats, opacities, sh)))


def random_splat(count, seed=0, sh_degree=3, size_m=0.1, centre=(0, 0, 3), half_width_m=2.0):
    """Gaussians of random place, shape, direction, density and colour in a cube."""
    rng = np.random.default_rng(seed)
    quats = rng.normal(size=(count, 4))
    return make_splat(
        means=rng.uniform(-half_width_m, half_width_m, (count, 3)) + centre,
        scales=np.exp(rng.normal(np.log(size_m), 0.7, (count, 3))),
        quats=quats / np.linalg.norm(quats, axis=1, keepdims=True),
        opacities=rng.uniform(0, 1, count),
        sh=rng.normal(0, 0.4, (count, (sh_degree + 1) ** 2, 3)),
    )


def intrinsics(width, height, fov_deg=75.0):
    """Pixel intrinsics with the horizontal field of view given and square pixels."""
    focal = 0.5 * width / np.tan(np.radians(fov_deg) / 2)
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])


def look_at(eye, target, up=(0, 0, 1)):
    """World-to-camera matrix of an OpenCV camera at ``eye`` looking at ``target``."""
    forward = np.subtract(target, eye) / np.linalg.norm(np.subtract(target, eye))
    right = np.cross(forward, up) / np.linalg.norm(np.cross(forward, up))
    rotation = np.stack([right, np.cross(forward, right), forward])
    viewmat = np.eye(4)
    viewmat[:3, :3] = rotation
    viewmat[:3, 3] = -rotation @ eye
    return viewmat


def with_harmonics(splat, seed=0):
    """The splat with seeded bands of degree 3 where its own end, so that every degree has something to show."""
    rng = np.random.default_rng(seed)
    sh = rng.normal(0, 0.1, (len(splat), 16, 3)).astype(np.float32)
    sh[:, : splat.sh.shape[1]] = splat.sh
    return replace(splat, sh=sh)


def assert_same_picture(frame, expected):
    """The agreement that rasterizers owe each other: image, depth where solid, alpha."""
    error = np.abs(frame.rgb.astype(float) - expected.rgb)
    assert error.mean() < 1 / 255
    assert 10 * np.log10(1 / max((error**2).mean(), 1e-20)) > 45
    solid = expected.alpha > 0.99
    assert (np.abs(frame.depth_m - expected.depth_m) <= 1e-3 * expected.depth_m)[solid].all()
    assert np.abs(frame.alpha - expected.alpha).mean() < 1 / 255
