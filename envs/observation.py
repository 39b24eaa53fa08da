"""What an agent sees: the fast view, the slow clips it asked for, and the question."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.actions import Action
from videozoom.envs.tasks import EpisodeKind, QuestionKind, Span

EPISODE_KINDS = tuple(EpisodeKind)
"""Order in which `Observation["episode_kind"]` counts the kinds."""
QUESTION_KINDS = tuple(QuestionKind)
"""Order in which `Observation["question_kind"]` counts the kinds."""


class VideoDecodeError(Exception):
    """A video, or a span of it, could not be read. The message names the file and the reason."""


@dataclass(frozen=True, slots=True, eq=False)
class VideoClip:
    """Frames of one span of a video, as they are shown to the agent (no timestamps drawn).

    Two clips are equal when their key, span, times and pixels are.
    """

    frames: NDArray[np.uint8]
    """`[F, H, W, 3]`, RGB. Read-only: clips are shared between episodes."""
    times_s: NDArray[np.float64]
    """`[F]`, presentation time of each frame in seconds, ascending."""
    span_s: Span
    """The span that was asked for."""
    key: str
    """Names the content: the same key means the same pixels (file, frames, size, resize rule)."""

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, VideoClip)
            and self.key == other.key
            and self.span_s == other.span_s
            and np.array_equal(self.times_s, other.times_s)
            and np.array_equal(self.frames, other.frames)
        )

    def __hash__(self) -> int:
        return hash((self.key, self.span_s))

    def __deepcopy__(self, memo: dict[int, Any]) -> "VideoClip":
        # Nobody changes a clip, and a copy could take gigabytes.
        return self


@dataclass(frozen=True, slots=True)
class Turn:
    """One step of an episode: what was done, and what came back."""

    action: Action
    """As it was taken: an invalid one is `Malformed`, which has what was asked for."""
    clip: VideoClip | None = None
    """What it showed."""
    text: str | None = None
    """What it brought to read."""


class Observation(TypedDict):
    """Observation of `VideoZoomEnv`; `fast_view.span_s` is `[0, duration)`."""

    fast_view: VideoClip
    clips: tuple[VideoClip, ...]
    """Accepted slow clips, sorted by start."""
    question: str
    question_kind: int
    """Index into `QUESTION_KINDS`."""
    options: tuple[str, ...]
    """Empty unless the kind is multiple choice."""
    step: int
    """Steps taken so far, from 0."""
    max_steps: int
    episode_kind: int
    """Index into `EPISODE_KINDS`."""
    turns: tuple[Turn, ...]
    """The steps taken so far, in order."""


class FrameSource(Protocol):
    """The one place where frames are read."""

    def duration_s(self, video: Path) -> float:
        """Return the video's duration in seconds; raises `VideoDecodeError`."""
        ...

    def fast_view(self, video: Path) -> VideoClip:
        """Return many small frames of the whole video; raises `VideoDecodeError`."""
        ...

    def slow_clip(self, video: Path, span_s: Span, fps: float | None = None) -> VideoClip:
        """Return few large frames of `span_s`, at a rate if one was asked for; raises `VideoDecodeError`."""
        ...
