"""Gymnasium spaces of the environment: clips of any size, strings, and spans of video time."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from videozoom.envs.actions import Action, Answer, Malformed, ZoomIn
from videozoom.envs.observation import EPISODE_KINDS, QUESTION_KINDS, Turn, VideoClip
from videozoom.envs.tasks import QuestionKind, Span, Task

ACTION_KINDS = ("zoom", "answer")
"""What `action["kind"]` counts."""
MAX_STEPS_LIMIT = 1000
"""The most steps an episode can be given: spaces need a bound."""


class VideoClipSpace(spaces.Space[VideoClip]):
    """All clips of any number of frames, none included, and any frame size."""

    @property
    def is_np_flattenable(self) -> bool:
        """Return that clips do not flatten to one `Box`: their sizes differ."""
        return False

    def contains(self, x: Any) -> bool:
        """Return whether `x` is a clip with consistent, finite times and `uint8` RGB frames."""
        return (
            isinstance(x, VideoClip)
            and isinstance(x.key, str)
            and x.frames.dtype == np.uint8
            and x.frames.ndim == 4
            and x.frames.shape[3] == 3
            and x.times_s.shape == x.frames.shape[:1]
            and bool(np.all(np.isfinite(x.times_s)) and np.all(np.diff(x.times_s) >= 0.0))
            and math.isfinite(x.span_s.length_s)
            and x.span_s.length_s >= 0.0
        )

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> VideoClip:
        """Return noise: 1 to 8 frames of 1 to 32 pixels a side."""
        num_frames, height_px, width_px = (int(self.np_random.integers(1, high + 1)) for high in (8, 32, 32))
        frames = self.np_random.integers(0, 256, (num_frames, height_px, width_px, 3), dtype=np.uint8)
        key = f"noise:{self.np_random.integers(2**31)}"
        return VideoClip(frames, np.arange(num_frames, dtype=np.float64), Span(0.0, float(num_frames)), key)

    def __eq__(self, other: object) -> bool:
        """Return whether `other` is the same space."""
        return isinstance(other, VideoClipSpace)

    def __repr__(self) -> str:
        """Return the expression that makes this space."""
        return "VideoClipSpace()"


class StringSpace(spaces.Space[str]):
    """All strings: questions are not limited to an alphabet or a length, unlike `gymnasium.spaces.Text`."""

    @property
    def is_np_flattenable(self) -> bool:
        """Return that strings do not flatten to a `Box`."""
        return False

    def contains(self, x: Any) -> bool:
        """Return whether `x` is a string."""
        return isinstance(x, str)

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> str:
        """Return 1 to 16 random lower-case letters."""
        return "".join(chr(97 + letter) for letter in self.np_random.integers(0, 26, self.np_random.integers(1, 17)))

    def __eq__(self, other: object) -> bool:
        """Return whether `other` is the same space."""
        return isinstance(other, StringSpace)

    def __repr__(self) -> str:
        """Return the expression that makes this space."""
        return "StringSpace()"


class TurnSpace(spaces.Space[Turn]):
    """All steps that an episode can have had."""

    @property
    def is_np_flattenable(self) -> bool:
        """Return that turns do not flatten to a `Box`: their clips differ in size."""
        return False

    def contains(self, x: Any) -> bool:
        """Return whether `x` is a turn with an action and, if any, a valid clip and a text."""
        return (
            isinstance(x, Turn)
            and isinstance(x.action, Action)
            and (x.clip is None or VideoClipSpace().contains(x.clip))
            and (x.text is None or isinstance(x.text, str))
        )

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> Turn:
        """Return a zoom with noise for a clip, an answer, or a malformed step."""
        kind = int(self.np_random.integers(3))
        if kind == 0:
            clip = VideoClipSpace(seed=self.np_random).sample()
            return Turn(ZoomIn(clip.span_s), clip)
        return Turn(Answer("A") if kind == 1 else Malformed("noise"))

    def __eq__(self, other: object) -> bool:
        """Return whether `other` is the same space."""
        return isinstance(other, TurnSpace)

    def __repr__(self) -> str:
        """Return the expression that makes this space."""
        return "TurnSpace()"


class SpanSpace(spaces.Space[NDArray[np.float32]]):
    """Pairs `[start_s, end_s]` in seconds, `float32` `[2]`, both in `[0, high_s]`, samples sorted.

    Not a `Box`, because Gymnasium's checker wants action boxes scaled to [-1, 1], and seconds are what is meant;
    `gymnasium.spaces.utils.flatten_space` turns it into one.
    """

    def __init__(self, high_s: float, seed: int | np.random.Generator | None = None) -> None:
        super().__init__((2,), np.float32, seed)
        self.high_s = float(high_s)

    @property
    def is_np_flattenable(self) -> bool:
        """Return that spans flatten to a `Box`."""
        return True

    def contains(self, x: Any) -> bool:
        """Return whether `x` is a float array `[2]` within the bounds."""
        return (
            isinstance(x, np.ndarray)
            and x.shape == (2,)
            and np.issubdtype(x.dtype, np.floating)
            and bool(np.all((x >= 0.0) & (x <= np.float32(self.high_s))))
        )

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> NDArray[np.float32]:
        """Return two uniform times, sorted."""
        return np.sort(self.np_random.uniform(0.0, self.high_s, 2)).astype(np.float32)

    def __eq__(self, other: object) -> bool:
        """Return whether `other` is the same space."""
        return isinstance(other, SpanSpace) and self.high_s == other.high_s

    def __repr__(self) -> str:
        """Return the expression that makes this space."""
        return f"SpanSpace({self.high_s})"


class SecondsSpace(spaces.Space[float]):
    """All lengths of time in seconds, as plain numbers."""

    @property
    def is_np_flattenable(self) -> bool:
        """Return that lengths are not flattened: there is no upper bound for a `Box`."""
        return False

    def contains(self, x: Any) -> bool:
        """Return whether `x` is a finite number of at least 0."""
        return isinstance(x, int | float) and math.isfinite(x) and x >= 0.0

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> float:
        """Return up to ten hours."""
        return float(self.np_random.uniform(0.0, 36_000.0))

    def __eq__(self, other: object) -> bool:
        """Return whether `other` is the same space."""
        return isinstance(other, SecondsSpace)

    def __repr__(self) -> str:
        """Return the expression that makes this space."""
        return "SecondsSpace()"


@spaces.utils.flatten_space.register(SpanSpace)
def _flatten_space(space: SpanSpace) -> spaces.Box:
    return spaces.Box(0.0, space.high_s, (2,), np.float32)


@spaces.utils.flatdim.register(SpanSpace)
def _flatdim(space: SpanSpace) -> int:
    return 2


@spaces.utils.flatten.register(SpanSpace)
def _flatten(space: SpanSpace, x: NDArray[np.float32]) -> NDArray[np.float32]:  # type: ignore[misc]
    return np.asarray(x, np.float32)


@spaces.utils.unflatten.register(SpanSpace)
def _unflatten(space: SpanSpace, x: NDArray[np.float32]) -> NDArray[np.float32]:  # type: ignore[misc]
    return np.asarray(x, np.float32)


def observation_space() -> spaces.Dict:
    """Return the space of `Observation`."""
    return spaces.Dict(
        {
            "fast_view": VideoClipSpace(),
            "clips": spaces.Sequence(VideoClipSpace()),
            "question": StringSpace(),
            "question_kind": spaces.Discrete(len(QUESTION_KINDS)),
            "options": spaces.Sequence(StringSpace()),
            "step": spaces.Discrete(MAX_STEPS_LIMIT + 1),
            "max_steps": spaces.Discrete(MAX_STEPS_LIMIT, start=1),
            "episode_kind": spaces.Discrete(len(EPISODE_KINDS)),
            "turns": spaces.Sequence(TurnSpace()),
        }
    )


def action_space(max_duration_s: float, tasks: Iterable[Task]) -> spaces.Dict:
    """Return the space of structured actions: `kind`, the span of a zoom, and the parts of an answer to the tasks."""
    return spaces.Dict(
        {"kind": spaces.Discrete(len(ACTION_KINDS)), "span_s": SpanSpace(max_duration_s), **answer_spaces(tasks)}
    )


def answer_spaces(tasks: Iterable[Task]) -> dict[str, spaces.Space[Any]]:
    """Return the parts of an answer: `choice`, an option, and `text` if a task has no options to choose from."""
    tasks = tuple(tasks)
    parts: dict[str, spaces.Space[Any]] = {"choice": spaces.Discrete(max(1, *(len(task.options) for task in tasks)))}
    if any(task.kind is not QuestionKind.MULTIPLE_CHOICE for task in tasks):
        parts["text"] = StringSpace()
    return parts
