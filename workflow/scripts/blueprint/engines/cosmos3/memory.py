"""Memory and downloads of Cosmos 3: NVIDIA's figures for its own server (NIM), not measured here."""

from __future__ import annotations

NANO = "nvidia/Cosmos3-Nano"
GB_PER_GIB = 2**30 / 1e9
# model -> GiB of one card, of one card with FP8, of one card and of the machine with layers offloaded; GB to download
FIGURES = {
    NANO: {"whole": 64, "fp8": 50, "offload": 35, "machine": 64, "weights_gb": 33.0},
    "nvidia/Cosmos3-Super": {"whole": 160, "fp8": 103, "offload": 50, "machine": 150, "weights_gb": 132.0},
}
"""What Super downloads is an estimate, by its parameters."""


def vram_gb(model: str, quantization: str | None, offload: bool) -> float:
    """GB (10^9) of one card's memory that the model needs, whoever runs it."""
    return FIGURES[model]["offload" if offload else quantization or "whole"] * GB_PER_GIB
