"""The pieces of a zoom timeline: the frames that can be read again, film strips, rows of zooms, ticks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from videozoom.envs.episode import Zoom
from videozoom.envs.observation import FrameSource, VideoClip, VideoDecodeError
from videozoom.envs.tasks import Span, Task
from videozoom.rewards.overlap import any_overlap

FRAME_GAP_PX = 2


@dataclass(frozen=True, slots=True)
class ZoomFrames:
    """What there is to see of an episode: `None` where it cannot be read."""

    fast_view: VideoClip | None
    clips: tuple[VideoClip | None, ...]
    """One per zoom."""


def read_frames(task: Task, spans_s: Sequence[Span], frame_source: FrameSource | None) -> ZoomFrames:
    """Return the fast view and the slow clips of `spans_s`; what cannot be read is `None`, never an exception."""
    if frame_source is None:
        return ZoomFrames(None, (None,) * len(spans_s))
    try:
        fast_view: VideoClip | None = frame_source.fast_view(task.video)
    except VideoDecodeError:
        fast_view = None
    return ZoomFrames(fast_view, tuple(read_clip(task, span, frame_source) for span in spans_s))


def read_clip(task: Task, span_s: Span, frame_source: FrameSource) -> VideoClip | None:
    """Return the slow clip of `span_s`, `None` if it cannot be read."""
    try:
        return frame_source.slow_clip(task.video, span_s)
    except VideoDecodeError:
        return None


def strip_image(clip: VideoClip, window: Span, num_slots: int) -> Image.Image:
    """Return `num_slots` frames of `window` side by side, evenly chosen; frames are assumed to be evenly spaced."""
    inside = np.flatnonzero((clip.times_s >= window.start_s) & (clip.times_s < window.end_s))
    if not len(inside):
        inside = np.atleast_1d(np.abs(clip.times_s - window.start_s).argmin())
    chosen = inside[np.arange(num_slots) * len(inside) // num_slots]
    return Image.fromarray(np.concatenate(list(clip.frames[chosen]), axis=1))


def clip_image(clip: VideoClip, num_frames: int, *, height_px: int) -> Image.Image:
    """Return `num_frames` evenly chosen frames of a slow clip side by side, `height_px` tall, with transparent gaps."""
    chosen = clip.frames[np.arange(num_frames) * len(clip.frames) // num_frames]
    frames = [fitted(Image.fromarray(frame), height_px=height_px) for frame in chosen]
    width_px = frames[0].width + FRAME_GAP_PX
    image = Image.new("RGBA", (width_px * num_frames - FRAME_GAP_PX, height_px))
    for index, frame in enumerate(frames):
        image.paste(frame, (index * width_px, 0))
    return image


def fitted(image: Image.Image, *, width_px: int | None = None, height_px: int | None = None) -> Image.Image:
    """Return the image at the given width or height, aspect kept; enlarging keeps pixels square and sharp."""
    if width_px is None:
        width_px = max(1, round(image.width * (height_px or image.height) / image.height))
    height_px = height_px or max(1, round(image.height * width_px / image.width))
    is_larger = width_px >= image.width
    return image.resize((width_px, height_px), Image.Resampling.NEAREST if is_larger else Image.Resampling.BOX)


def packed(zooms: Sequence[Zoom]) -> list[list[Zoom]]:
    """Return the zooms in as few rows as their order allows, none overlapping another of its row.

    Example:
        >>> [len(row) for row in packed([Zoom(1, Span(0, 4)), Zoom(2, Span(8, 12)), Zoom(3, Span(2, 6))])]
        [2, 1]
    """
    rows: list[list[Zoom]] = []
    for zoom in zooms:
        free = (row for row in rows if not any_overlap(zoom.span_s, (other.span_s for other in row)))
        row = next(free, None)
        if row is None:
            rows.append([zoom])
        else:
            row.append(zoom)
    return rows or [[]]


def tick_times(duration_s: float, count: int = 8) -> list[float]:
    """Return about `count` round times from 0 to the end of the video.

    Example:
        >>> tick_times(64.0)
        [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
    """
    steps = [base * scale for scale in (0.1, 1.0, 10.0, 60.0, 600.0) for base in (1, 2, 5, 10, 30)]
    step = min((s for s in sorted(steps) if duration_s / s <= count), default=duration_s / count)
    return [round(index * step, 6) for index in range(int(duration_s / step + 1e-9) + 1)]
