"""Which frames are looked at, and how large: pure arithmetic.

Frame numbers are even wherever the video allows it, because Qwen2-VL and its successors join two frames to one patch.
A single frame is shown twice, which is how these models show a still image.
"""

import math

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.tasks import Span

PATCH_PX = 28
"""Side of the square that becomes one visual token: 2x2 patches of 14 pixels, merged."""
FRAMES_PER_PATCH = 2
_MAX_OVER_BUDGET = 1.05
_SLACK = 1e-6
"""Keeps `int(length * fps)` from losing a frame to rounding, as in `int((4.1 - 0.1) * 2)`."""


def fast_frame_indices(num_frames: int, duration_s: float, fps: float, max_frames: int) -> NDArray[np.int64]:
    """Return the frames of the fast view, spread over the whole video, first and last included.

    Source: LOVE-R1, released code: `min(int(duration * fps), max_frames)` indices of a rounded `linspace`.
    Departs from it: never more than the video has, and an even number.

    Raises:
        ValueError: if the video has no frames.

    Example:
        >>> fast_frame_indices(num_frames=10, duration_s=5.0, fps=0.8, max_frames=768).tolist()
        [0, 3, 6, 9]
    """
    if num_frames < 1:
        raise ValueError("it has no frames")
    return _spread(0, num_frames - 1, min(_num_wanted(duration_s, fps), max_frames))


def slow_frame_indices(times_s: NDArray[np.float64], span_s: Span, fps: float, max_frames: int) -> NDArray[np.int64]:
    """Return the frames of a slow clip: of those presented within the half-open span, evenly spread ones.

    A span between two frames shows the frame that is on screen then.

    Source: LOVE-R1, Sec. 5.1 and released code: `min(int(length * fps), max_frames)` indices of a rounded `linspace`.
    Departs from it: the frame at the span's end is left out, never more than the span holds, and an even number.

    Args:
        times_s: `[N]`, presentation times of the video's frames, ascending, the first at 0.
        span_s: what to show.
        fps: frames per second of span.
        max_frames: the most frames.

    Raises:
        ValueError: if the span is empty or starts before the first frame.

    Example:
        >>> slow_frame_indices(np.arange(20) / 2, Span(2.0, 5.0), fps=2.0, max_frames=4).tolist()
        [4, 6, 7, 9]
    """
    if not (span_s.start_s < span_s.end_s and len(times_s) and span_s.start_s >= times_s[0] - _SLACK):
        raise ValueError(f"span [{span_s.start_s:g}, {span_s.end_s:g}) is empty or starts before the video")
    # A time that is off by rounding only belongs to the span it was meant for.
    first, end = np.searchsorted(times_s, np.array(span_s) - _SLACK)
    if first == end:
        return _spread(int(first) - 1, int(first) - 1, 1)
    return _spread(int(first), int(end) - 1, min(_num_wanted(span_s.length_s, fps), max_frames))


def frame_size(height_px: int, width_px: int, budget_px: int) -> tuple[int, int]:
    """Return the height and width a frame is resized to: multiples of 28 near `budget_px` pixels, aspect ratio kept.

    Each side is rounded to a multiple of 28. If the product exceeds `int(1.05 * budget_px)` the frame is scaled to that
    area and its sides rounded down; if it is below `budget_px`, scaled to that and rounded up. No side is below 28.

    Source: LOVE-R1, released code (`get_video_hw`), after Qwen2.5-VL's `smart_resize`.

    Example:
        >>> frame_size(720, 1280, 32 * 28 * 28)
        (112, 196)
    """
    most_px = int(_MAX_OVER_BUDGET * budget_px)
    height, width = (max(PATCH_PX, round(side / PATCH_PX) * PATCH_PX) for side in (height_px, width_px))
    if height * width > most_px:
        scale = math.sqrt(most_px / (height_px * width_px))
        height, width = (max(1, math.floor(side * scale / PATCH_PX)) * PATCH_PX for side in (height_px, width_px))
    elif height * width < budget_px:
        scale = math.sqrt(budget_px / (height_px * width_px))
        height, width = (max(1, math.ceil(side * scale / PATCH_PX)) * PATCH_PX for side in (height_px, width_px))
    return height, width


def num_visual_tokens(num_frames: int, height_px: int, width_px: int) -> int:
    """Return how many tokens a clip takes: one per pair of frames and square of 28 pixels.

    Example:
        >>> num_visual_tokens(768, 112, 196)
        10752
    """
    return -(-num_frames // FRAMES_PER_PATCH) * (height_px // PATCH_PX) * (width_px // PATCH_PX)


def _num_wanted(length_s: float, fps: float) -> int:
    return int(length_s * fps + _SLACK)


def _spread(first: int, last: int, num: int) -> NDArray[np.int64]:
    """Return an even number of indices, at most `num` but at least 2, from `first` to `last`."""
    num = max(FRAMES_PER_PATCH, min(num, last - first + 1))
    num -= num % FRAMES_PER_PATCH
    return np.rint(np.linspace(first, last, num)).astype(np.int64)
