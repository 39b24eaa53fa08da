"""Which frames are looked at, and how large: pure arithmetic, of two published systems.

LOVE-R1 spreads an even number of frames, because Qwen2-VL and its successors join two frames to one patch; a single
frame is shown twice, which is how these models show a still image. VideoZoomer shows frames as still images: any number
of them, in steps of equal length.
"""

import math
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.tasks import Span

PATCH_PX = 28
"""Side of the square that becomes one visual token: 2x2 patches of 14 pixels, merged."""
FRAMES_PER_PATCH = 2


class FrameSpacing(StrEnum):
    """How the frames of a view are chosen."""

    SPREAD = "spread"
    """LOVE-R1: an even number, the first and the last included."""
    STRIDE = "stride"
    """VideoZoomer: every n-th from the first on, spread where that is too many; clips have any number of frames."""


class FrameSizing(StrEnum):
    """How large frames are made."""

    BUDGET = "budget"
    """LOVE-R1: near a number of pixels, enlarged if need be."""
    BOUNDS = "bounds"
    """VideoZoomer: as they are, unless they have too many pixels or too few."""


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
    return _spread(0, num_frames - 1, min(num_frames_at(duration_s, fps), max_frames))


def strided_frame_indices(num_frames: int, duration_s: float, fps: float, max_frames: int) -> NDArray[np.int64]:
    """Return the frames of an overview: every n-th, at about `fps`, or `max_frames` spread ones where that is too many.

    Source: VideoZoomer, released code.

    Raises:
        ValueError: if the video has no frames.

    Example:
        >>> strided_frame_indices(num_frames=240, duration_s=8.0, fps=0.5, max_frames=64).tolist()
        [0, 60, 120, 180]
        >>> strided_frame_indices(num_frames=240, duration_s=8.0, fps=0.5, max_frames=3).tolist()
        [0, 119, 239]
    """
    if num_frames < 1:
        raise ValueError("it has no frames")
    indices = np.arange(0, num_frames, max(1, round(num_frames / duration_s / fps)), dtype=np.int64)
    return indices if len(indices) <= max_frames else np.linspace(0, num_frames - 1, max_frames).astype(np.int64)


def slow_frame_indices(
    times_s: NDArray[np.float64],
    span_s: Span,
    fps: float,
    max_frames: int,
    spacing: FrameSpacing = FrameSpacing.SPREAD,
) -> NDArray[np.int64]:
    """Return the frames of a slow clip: of those presented within the half-open span, evenly spread ones.

    A span between two frames shows the frame that is on screen then.

    Source: LOVE-R1, Sec. 5.1 and released code: `min(int(length * fps), max_frames)` indices of a rounded `linspace`.
    Departs from it: the frame at the span's end is left out, never more than the span holds, and an even number.
    VideoZoomer's released code takes the same number, odd ones, too, from the first frame to the one at the span's end,
    and repeats frames where the span holds fewer.

    Args:
        times_s: `[N]`, presentation times of the video's frames, ascending, the first at 0.
        span_s: what to show.
        fps: frames per second of span.
        max_frames: the most frames.
        spacing: `spread` takes an even number, `stride` any.

    Raises:
        ValueError: if the span is empty or starts before the first frame.

    Example:
        >>> slow_frame_indices(np.arange(20) / 2, Span(2.0, 5.0), fps=2.0, max_frames=4).tolist()
        [4, 6, 7, 9]
        >>> slow_frame_indices(np.arange(20) / 2, Span(2.0, 5.0), 1.0, 4, FrameSpacing.STRIDE).tolist()
        [4, 6, 9]
    """
    multiple = FRAMES_PER_PATCH if spacing is FrameSpacing.SPREAD else 1
    if not (span_s.start_s < span_s.end_s and len(times_s) and span_s.start_s >= times_s[0] - _SLACK):
        raise ValueError(f"span [{span_s.start_s:g}, {span_s.end_s:g}) is empty or starts before the video")
    # A time that is off by rounding only belongs to the span it was meant for.
    first, end = np.searchsorted(times_s, np.array(span_s) - _SLACK)
    if first == end:
        return _spread(int(first) - 1, int(first) - 1, 1, multiple)
    return _spread(int(first), int(end) - 1, min(num_frames_at(span_s.length_s, fps), max_frames), multiple)


def num_frames_at(length_s: float, fps: float) -> int:
    """Return how many frames a span takes at a rate, before any limit but a billion; negative ones for negative spans.

    Example:
        >>> num_frames_at(2.5, 2.0), num_frames_at(0.4, 2.0)
        (5, 0)
    """
    return int(min(max(-1e9, length_s * fps + _SLACK), 1e9))


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


def bounded_frame_size(height_px: int, width_px: int, min_px: int, max_px: int) -> tuple[int, int]:
    """Return the height and width a frame is resized to: multiples of 28 near its own, within bounds on its area.

    A frame of more than `max_px` pixels is scaled to that area first, its sides rounded down. Then each side is rounded
    to a multiple of 28; if the area is out of bounds after that, the frame is scaled to the bound and its sides rounded
    down, or up for the lower bound. No side is below 28.

    Source: VideoZoomer, released code, and Qwen2.5-VL's `smart_resize`.

    Example:
        >>> bounded_frame_size(720, 1280, 32 * 28 * 28, 128 * 28 * 28)
        (224, 420)
    """
    if height_px * width_px > max_px:
        scale = math.sqrt(max_px / (height_px * width_px))
        height_px, width_px = max(1, int(height_px * scale)), max(1, int(width_px * scale))
    height, width = (max(PATCH_PX, round(side / PATCH_PX) * PATCH_PX) for side in (height_px, width_px))
    if height * width > max_px:
        scale = math.sqrt(max_px / (height_px * width_px))
        height, width = (max(1, math.floor(side * scale / PATCH_PX)) * PATCH_PX for side in (height_px, width_px))
    elif height * width < min_px:
        scale = math.sqrt(min_px / (height_px * width_px))
        height, width = (max(1, math.ceil(side * scale / PATCH_PX)) * PATCH_PX for side in (height_px, width_px))
    return height, width


def num_visual_tokens(num_frames: int, height_px: int, width_px: int) -> int:
    """Return how many tokens a clip takes: one per pair of frames and square of 28 pixels.

    Example:
        >>> num_visual_tokens(768, 112, 196)
        10752
    """
    return -(-num_frames // FRAMES_PER_PATCH) * (height_px // PATCH_PX) * (width_px // PATCH_PX)


def _spread(first: int, last: int, num: int, multiple: int = FRAMES_PER_PATCH) -> NDArray[np.int64]:
    """Return a multiple of `multiple` of indices, at most `num` but at least one multiple, from `first` to `last`."""
    num = max(multiple, min(num, last - first + 1))
    num -= num % multiple
    return np.rint(np.linspace(first, last, num)).astype(np.int64)
