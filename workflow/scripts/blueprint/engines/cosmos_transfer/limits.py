"""Limits of NVIDIA's repository that planning and the job both check."""

MAX_FRAMES = 5000
"""NUM_MAX_FRAMES of the repository: it drops what comes after."""
DISTILLED = "edge/distilled"
DISTILLED_FRAMES = 93
"""The distilled model continues no clip."""
VRAM_GB = 65.4
"""NVIDIA's figure (docs/inference.md, one GPU, whatever the resolution)."""
