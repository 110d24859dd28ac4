"""Cosmos-Transfer2.5: where its weights are, and the sizes and lengths that it takes (`VIDEO_RES_SIZE_INFO`)."""

from __future__ import annotations

from typing import Any

TRANSFER = "nvidia/Cosmos-Transfer2.5-2B"

# resolution -> aspect (width / height) -> width, height in pixels; all multiples of 16
MODEL_SIZES: dict[str, dict[float, tuple[int, int]]] = {
    "720": {16 / 9: (1280, 704), 4 / 3: (960, 704), 1.0: (960, 960), 3 / 4: (704, 960), 9 / 16: (704, 1280)},
    "256": {16 / 9: (320, 192), 4 / 3: (320, 256), 1.0: (256, 256), 3 / 4: (256, 320), 9 / 16: (192, 320)},
    "480": {16 / 9: (768, 432), 4 / 3: (640, 480), 1.0: (480, 480), 3 / 4: (480, 640), 9 / 16: (432, 768)},
}


def model_size(width: int, height: int, resolution: str) -> tuple[int, int]:
    """Width and height in pixels at which the model works on a clip: those of the nearest aspect it knows."""
    sizes = MODEL_SIZES[resolution]
    return sizes[min(sizes, key=lambda aspect: (aspect - width / height) ** 2)]


def chunk_starts(frames: int, length: int, overlap: int) -> list[int]:
    """First frames of the chunks a clip is made in; each continues ``overlap`` frames of the one before."""
    return [0, *range(length - overlap, frames - overlap, length - overlap)]


def fit(width: int, height: int, frames: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Size in pixels and frames to which a clip is brought for the model."""
    width, height = model_size(width, height, settings["resolution"])
    length, overlap = settings["num_video_frames_per_chunk"], settings["num_conditional_frames"]
    starts = chunk_starts(frames, length, overlap)
    return {"model_width": width, "model_height": height, "chunks": len(starts), "model_frames": starts[-1] + length}
