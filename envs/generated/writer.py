"""Writing H.264 files with PyAV."""

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

_KEY_FRAME_EVERY = 16
# Rounding without a dead zone and no deblocking: both would shift a block's mean depending on the detail in it.
_X264 = "no-deblock=1:deadzone-inter=0:deadzone-intra=0:scenecut=0:aq-mode=0:mbtree=0"


def write_video(
    path: Path, chunks: Iterable[NDArray[np.uint8]], *, width_px: int, height_px: int, fps: float, quality: int
) -> None:
    """Encode frames to an H.264 `.mp4` that appears complete or not at all; the same frames give the same bytes.

    Args:
        path: where to write.
        chunks: arrays `[F, 3 * H / 2, W]` in planar YUV 4:2:0, consumed one at a time.
        width_px: W.
        height_px: H.
        fps: frames per second.
        quality: x264 constant rate factor.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    options = {"preset": "ultrafast", "crf": str(quality), "threads": "1", "x264-params": _X264}
    try:
        with av.open(str(temporary), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=options)
            stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
            stream.codec_context.gop_size = _KEY_FRAME_EVERY
            stream.codec_context.thread_count = 1
            number = 0
            for chunk in chunks:
                for image in chunk:
                    frame = av.VideoFrame.from_ndarray(image, format="yuv420p")
                    frame.pts = number
                    number += 1
                    container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
