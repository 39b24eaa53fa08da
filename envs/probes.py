"""Probes: the same tasks with one thing taken away, to learn what an agent's answers rest upon.

Frames are changed where they are read, and options where they are asked, so that a probe works for any agent.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.observation import FrameSource, VideoClip
from videozoom.envs.tasks import Span, Task

GREY = 128
_SHUFFLE_SEED = 7
_PARTNER_SEED = 11
_OPTION_SEED = 13


class Probe(StrEnum):
    """What is taken away."""

    BLIND = "blind"
    """What can be seen: every frame is grey, its time stays."""
    FAST_VIEW = "fast_view"
    """Looking closer: the answer is due at once."""
    SHUFFLED = "shuffled"
    """When things are shown: frames stand in random order, in the fast view and in each clip."""
    WRONG_VIDEO = "wrong_video"
    """The video: frames are those of another task's."""
    PERMUTED_OPTIONS = "permuted_options"
    """The letters: each option gets another one."""


class ChangedFrames:
    """Frames of another source, changed; the base of the probes that change pixels.

    Clips keep span and times, and get keys of their own: a key names the pixels.
    """

    name = "unchanged"

    def __init__(self, frames: FrameSource) -> None:
        self._frames = frames

    def duration_s(self, video: Path) -> float:
        """Return the video's duration."""
        return self._frames.duration_s(video)

    def fast_view(self, video: Path) -> VideoClip:
        """Return the changed fast view."""
        return self._changed(self._frames.fast_view(video))

    def slow_clip(self, video: Path, span_s: Span, fps: float | None = None) -> VideoClip:
        """Return the changed clip."""
        # Sources that know one rate only need not take another.
        rate = () if fps is None else (fps,)
        return self._changed(self._frames.slow_clip(video, span_s, *rate))

    def _changed(self, clip: VideoClip) -> VideoClip:
        frames = self.pixels(clip)
        frames.setflags(write=False)
        return replace(clip, frames=frames, key=f"{self.name}|{clip.key}")

    def pixels(self, clip: VideoClip) -> NDArray[np.uint8]:
        """Return the pixels that are shown in place of a clip's, `[F, H, W, 3]`, not shared with it."""
        return clip.frames.copy()


class BlindFrames(ChangedFrames):
    """Grey frames at the times, and of the size, of the real ones."""

    name = "blind"

    def pixels(self, clip: VideoClip) -> NDArray[np.uint8]:
        """Return grey pixels."""
        return np.full(clip.frames.shape, GREY, np.uint8)


class ShuffledFrames(ChangedFrames):
    """The frames of each clip in random order, always the same one for the same clip."""

    name = "shuffled"

    def pixels(self, clip: VideoClip) -> NDArray[np.uint8]:
        """Return the frames in another order."""
        rng = np.random.default_rng((_SHUFFLE_SEED, zlib.crc32(clip.key.encode())))
        return clip.frames[rng.permutation(len(clip.frames))]


class OtherVideos:
    """Frames of other videos: what is asked of one is read from its partner.

    Args:
        frames: Where frames are read.
        partners: The other video of each.
    """

    def __init__(self, frames: FrameSource, partners: Mapping[Path, Path]) -> None:
        self._frames, self._partners = frames, dict(partners)

    def duration_s(self, video: Path) -> float:
        """Return the duration of the partner."""
        return self._frames.duration_s(self._partners[video])

    def fast_view(self, video: Path) -> VideoClip:
        """Return the fast view of the partner."""
        return self._frames.fast_view(self._partners[video])

    def slow_clip(self, video: Path, span_s: Span, fps: float | None = None) -> VideoClip:
        """Return a clip of the partner."""
        rate = () if fps is None else (fps,)
        return self._frames.slow_clip(self._partners[video], span_s, *rate)


def video_partners(videos: Iterable[Path]) -> dict[Path, Path]:
    """Return another video for each, every one used once; the same videos give the same partners.

    Raises:
        ValueError: there are fewer than two videos.

    Example:
        >>> video_partners([Path("a.mp4"), Path("b.mp4")])[Path("a.mp4")].name
        'b.mp4'
    """
    unique = sorted(set(videos))
    if len(unique) < 2:
        raise ValueError("the tasks are of a single video, which has no other one to be mistaken for")
    order = [unique[index] for index in np.random.default_rng(_PARTNER_SEED).permutation(len(unique))]
    return dict(zip(order, order[1:] + order[:1], strict=True))


def with_other_letters(task: Task) -> Task:
    """Return a multiple-choice task whose options stand under other letters, all of them, in the same circular order.

    Raises:
        ValueError: the task has fewer than two options.

    Example:
        >>> moved = with_other_letters(task)  # options ("bars", "lines"), answer "A"
        >>> moved.options, moved.answer
        (('lines', 'bars'), 'B')
    """
    num_options = len(task.options)
    if num_options < 2:
        raise ValueError(f"{task.task_id} has no options to permute")
    rng = np.random.default_rng((_OPTION_SEED, zlib.crc32(task.task_id.encode())))
    shift = int(rng.integers(1, num_options))
    options = task.options[-shift:] + task.options[:-shift]
    return replace(task, options=options, answer=task.letters[(task.answer_index + shift) % num_options])
