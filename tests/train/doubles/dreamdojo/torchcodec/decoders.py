"""Its decoder, as far as DreamDojo uses it."""

from types import SimpleNamespace

import av
import numpy as np


class VideoDecoder:
    def __init__(self, path, dimension_order, seek_mode, num_ffmpeg_threads=1):
        assert (dimension_order, seek_mode) == ("NHWC", "exact")
        with av.open(str(path)) as container:
            self.frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]

    def __len__(self):
        return len(self.frames)

    def get_frames_in_range(self, start, stop):
        if not 0 <= start < stop <= len(self):
            raise IndexError(f"{start} to {stop} of {len(self)}")
        return SimpleNamespace(data=np.stack(self.frames[start:stop]))
