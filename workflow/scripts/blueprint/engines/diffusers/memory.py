"""Memory that the models take on a card.

Weights in bf16, counted from the published configurations (transformer 4.83, ControlNet 0.94, VAE 0.25, text encoder
16.58 GB), and activations that are an estimate from their shapes, not measured.
"""

from __future__ import annotations

TEXT_ENCODER_GB = 16.6
DENOISER_GB = 5.8
VAE_GB = 0.3
ACTIVATION_GB_PER_MEGAPIXEL = 12.0  # at 93 frames
OVERHEAD_GB = 1.5  # CUDA context, allocator


def peak_gb(pixels: int, offload: bool) -> float:
    """Estimated peak in GB at the model's own frame size in pixels, one model after the other (offload) or together."""
    activations = ACTIVATION_GB_PER_MEGAPIXEL * pixels / 1e6
    if offload:
        return round(max(TEXT_ENCODER_GB, DENOISER_GB + activations, VAE_GB + activations) + OVERHEAD_GB, 1)
    return round(max(TEXT_ENCODER_GB, DENOISER_GB + VAE_GB + activations) + OVERHEAD_GB, 1)
