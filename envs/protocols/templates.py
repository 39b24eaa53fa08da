"""Where zoomed clips stand in LOVE-R1's prompts: behind the fast view, or in place of the frames they show."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from videozoom.envs.messages import VideoPart
from videozoom.envs.observation import VideoClip
from videozoom.envs.tasks import Span


class Template(StrEnum):
    """Source: LOVE-R1, Fig. 2 and Table 2a; only `c` has released code.

    Departs from the paper in `a`, which it calls one single video: a video has one frame size, slow frames have
    another. Here the clips stand side by side between one pair of video markers, and the positions of each begin behind
    those of the one before it.
    """

    A = "a"
    """In place of the fast frames they show, all in one run of video."""
    B = "b"
    """In place of the fast frames they show, as separate videos."""
    C = "c"
    """Behind the whole fast view, each after a line that names its span."""


def in_place(fast_view: VideoClip, clips: Sequence[VideoClip], template: Template) -> tuple[VideoPart, ...]:
    """Return the fast view with its frames inside of `clips` replaced by them, in order of time.

    The last frame of a piece with an odd number of frames counts twice, as everywhere.

    Args:
        fast_view: Frames of the whole video.
        clips: Sorted by start; they may overlap, and then follow each other.
        template: `A` or `B`.

    Example:
        A fast view with frames at 0, 1, ... 9 s and a clip of [4, 6) give frames 0 to 3, the clip, frames 6 to 9.
    """
    pieces: list[VideoClip] = []
    shown_s = 0.0
    for clip in clips:
        pieces += [*_piece(fast_view, Span(shown_s, clip.span_s.start_s)), clip]
        shown_s = max(shown_s, clip.span_s.end_s)
    pieces += _piece(fast_view, Span(shown_s, fast_view.span_s.end_s))
    return tuple(VideoPart(clip, goes_on=template is Template.A and index > 0) for index, clip in enumerate(pieces))


def _piece(fast_view: VideoClip, span_s: Span) -> list[VideoClip]:
    """Return the frames of a span as a clip, none if there are none; the whole fast view is itself."""
    is_last = span_s.end_s >= fast_view.span_s.end_s
    first = int(np.searchsorted(fast_view.times_s, span_s.start_s))
    end = len(fast_view.times_s) if is_last else int(np.searchsorted(fast_view.times_s, span_s.end_s))
    if first >= end:
        return []
    if end - first == len(fast_view.times_s):
        return [fast_view]
    name = f"{fast_view.key}|{first}:{end}|{span_s.start_s:g}-{span_s.end_s:g}"
    return [VideoClip(fast_view.frames[first:end], fast_view.times_s[first:end], span_s, name)]
