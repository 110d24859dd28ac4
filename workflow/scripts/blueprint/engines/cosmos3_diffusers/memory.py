"""Memory that the model takes on a card: NVIDIA's figures for transfer on its own server (NIM), not measured here."""

from __future__ import annotations

NANO = "nvidia/Cosmos3-Nano"
TOGETHER_GB = 68.7  # 64 GiB in bf16
OFFLOADED_GB = 37.6  # 35 GiB, layer by layer, and 64 GiB in the machine
