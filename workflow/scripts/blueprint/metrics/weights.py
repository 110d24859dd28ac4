"""Weights of the learned scores (LPIPS, DISTS): where they lie, and how they get there."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from blueprint.errors import UserError
from blueprint.metrics.catalogue import METRICS, VGG16

log = logging.getLogger(__name__)
SOURCES = {
    "lpips_weights.pt": "https://github.com/photosynthesis-team/photosynthesis.metrics/releases/download/v0.4.0/lpips_weights.pt",
    "dists_weights.pt": "https://github.com/photosynthesis-team/piq/releases/download/v0.4.1/dists_weights.pt",
    VGG16: "https://download.pytorch.org/models/vgg16-397923af.pth",
}
"""Where piq and torchvision take them from."""


def torch_home(configured: str) -> Path:
    """The torch cache: as configured, else as torch finds it (``TORCH_HOME``, ``XDG_CACHE_HOME``, ``~/.cache``)."""
    if configured:
        return Path(configured).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser()


def needed(names: Iterable[str], home: Path) -> list[Path]:
    """The files that the scores need, each once."""
    files = dict.fromkeys(file for name in names for file in METRICS[name].weights)
    return [home / "hub" / "checkpoints" / file for file in files]


def absent(names: Iterable[str], home: Path) -> list[Path]:
    """Which of them are not there."""
    return [path for path in needed(names, home) if not path.is_file()]


def require(names: Iterable[str], home: Path, source: str) -> None:
    """Refuse scores whose weights are absent.

    Args:
        names: the configured scores.
        home: the torch cache.
        source: the configuration file that the message names.

    Raises:
        UserError: a file is absent.
    """
    missing = absent(names, home)
    if missing:
        asked = ", ".join(name for name in names if METRICS[name].weights)
        raise UserError(
            f"{source}: metrics.names asks for {asked}, whose weights are absent: {', '.join(map(str, missing))}. "
            "Run `snakemake fetch_metric_weights`, set metrics.torch_home to a torch cache that holds them, or take "
            f"{asked} out of metrics.names."
        )


def fetch(names: Iterable[str], home: Path) -> list[Path]:
    """Download what is absent; files appear whole, and those whose name holds a digest are checked against it.

    Returns:
        The files that the scores need, all there.

    Raises:
        UserError: a download failed.
    """
    import torch

    files = needed(names, home)
    for path in files:
        if path.is_file():
            log.info("%s is there", path)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = path.stem.rpartition("-")[2] if "-" in path.stem else None
        log.info("fetching %s", SOURCES[path.name])
        try:
            torch.hub.download_url_to_file(SOURCES[path.name], str(path), hash_prefix=digest, progress=False)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"{SOURCES[path.name]}: cannot be fetched ({error}). Fetch it by other means and put it at {path}."
            ) from error
    return files
