"""Run by DreamDojo's Python: decode every mp4 below a folder as its loader does, or fail and say why."""

import sys
from pathlib import Path

from torchcodec.decoders import VideoDecoder


def main() -> None:
    """Read all files of the folder that the command line names."""
    paths = sorted(Path(sys.argv[1]).rglob("*.mp4"))
    for path in paths:
        decoder = VideoDecoder(str(path), dimension_order="NHWC", seek_mode="exact")
        frames = len(decoder)
        read = decoder.get_frames_in_range(0, frames - 1).data
        if len(read) != frames - 1:
            raise SystemExit(f"{path}: {len(read)} of {frames - 1} frames can be read")
    print(f"{len(paths)} windows can be read", flush=True)


if __name__ == "__main__":
    main()
