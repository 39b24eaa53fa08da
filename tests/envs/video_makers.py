"""Small video files whose every frame is known, for tests."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIDE_PX = 64


def numbered_image(number: int) -> np.ndarray:
    """Return an image of 2x4 cells, black or white, that spell the 8 bits of `number`."""
    bits = np.array([number >> bit & 1 for bit in range(8)], np.uint8).reshape(2, 4)
    grey = (40 + 170 * bits).repeat(SIDE_PX // 2, axis=0).repeat(SIDE_PX // 4, axis=1)
    return np.repeat(grey[:, :, None], 3, axis=2)


def write_numbered_video(
    path: Path,
    times_ms: Sequence[int],
    *,
    container_format: str = "mp4",
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    image: Callable[[int], np.ndarray] = numbered_image,
    pix_fmt: str = "yuv420p",
    clock_hz: int = 1000,
) -> Path:
    """Write frames that spell their numbers, presented at these times; `image` makes them.

    Times are in units of `clock_hz`; some codecs and containers want that to be the frame rate.
    """
    with av.open(str(path), "w", format=container_format, options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options={"crf": "10", "threads": "1", **(options or {})})
        stream.height, stream.width = image(0).shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = Fraction(1, clock_hz)
        for number, time_ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(image(number), format="rgb24")
            frame.pts, frame.time_base = time_ms * clock_hz // 1000, Fraction(1, clock_hz)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def frame_numbers(frames: np.ndarray) -> list[int]:
    """Return the numbers that frames `[F, H, W, 3]` spell, whatever their size; raises if one is blurred."""
    num_frames, height, width = frames.shape[:3]
    cells = frames.mean(3).reshape(num_frames, 2, height // 2, 4, width // 4)
    inside = cells[:, :, height // 8 : -(height // 8), :, width // 16 : -(width // 16)].mean((2, 4))
    if (np.abs(inside - 125) < 60).any():
        raise ValueError("a frame is not one of the numbered ones")
    return ((inside > 125).reshape(num_frames, 8) @ (1 << np.arange(8))).tolist()
