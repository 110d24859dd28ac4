"""Sizes at which Cosmos 3 works (`VIDEO_RES_SIZE_INFO` of vLLM-Omni 0.30.0), and how a clip is brought to one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blueprint.engines.cosmos_model import chunk_starts

ASPECTS = ("16,9", "4,3", "1,1", "3,4", "9,16")
"""What the model calls the aspects of its sizes."""
# resolution -> width, height in pixels of each aspect
SIZES: dict[str, tuple[tuple[int, int], ...]] = {
    "720": ((1280, 720), (1104, 832), (960, 960), (832, 1104), (720, 1280)),
    "480": ((832, 480), (736, 544), (640, 640), (544, 736), (480, 832)),
    "256": ((320, 192), (320, 256), (256, 256), (256, 320), (192, 320)),
}
MAX_FRAMES = 5000


def model_size(width: int, height: int, resolution: str) -> tuple[int, int]:
    """Width and height in pixels of the size whose aspect is nearest to a clip's."""
    return min(SIZES[resolution], key=lambda size: abs(size[0] / size[1] - width / height))


def fit(width: int, height: int, frames: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """How a clip is brought to the model: a control of exactly one of its sizes is not cropped by the server."""
    model_width, model_height = model_size(width, height, settings["resolution"])
    length = settings["num_video_frames_per_chunk"]
    starts = chunk_starts(frames, length, settings["num_conditional_frames"])
    return {
        "model_width": model_width,
        "model_height": model_height,
        "stretched": round(model_width / model_height / (width / height), 4),  # 1: the clip has the model's aspect
        "chunks": len(starts),
        "model_frames": starts[-1] + length,
        "padding": "reflected",
        "undone": "cut to length, resized back",
    }
