"""Actions in the forms that learners accept: `Discrete`, `MultiDiscrete`, a flat `Box`, or a `Dict`.

All but the first name a zoom by where it lies and how long it is, both from 0 to 1. Every such zoom is valid under the
environment's span rules, unless it repeats another. Answers are options: questions of other kinds are refused.
"""

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from videozoom.envs.actions import Action, Answer, ZoomIn
from videozoom.envs.observation import Observation
from videozoom.envs.spaces import ACTION_KINDS
from videozoom.envs.span_rules import SpanRules
from videozoom.envs.tasks import OPTION_LETTERS, Span
from videozoom.envs.wrappers.base import num_options, zoom_env

_SHORTEST_FRACTION = 1 / 64
"""Of the longest zoom: the shortest one where the rules set no limit."""
_SLACK = 1e-9
_ANSWER = ACTION_KINDS.index("answer")


class _StructuredActions(gymnasium.ActionWrapper[Observation, Any, Any], RecordConstructorArgs):
    """What the forms share: the video's length, the valid lengths of a zoom, the letters."""

    def __init__(self, env: gymnasium.Env[Observation, Any], **settings: int) -> None:
        RecordConstructorArgs.__init__(self, _disable_deepcopy=False, **settings)
        gymnasium.ActionWrapper.__init__(self, env)
        for name, value in settings.items():
            if value < 1:
                raise ValueError(f"{type(self).__name__} needs {name} of at least 1, got {value}.")
        self._env = zoom_env(env)
        self._num_options = num_options(self._env, type(self).__name__)

    def _zoom(self, position: float, length: float) -> ZoomIn:
        return ZoomIn(span_at(float(position), float(length), self._env.snapshot().duration_s, self._env.span_rules))


class DiscreteActions(_StructuredActions):
    """`Discrete(num_segments + K)`: zoom into one of the equal segments of the video, or give one of K answers.

    A segment that is longer than a zoom may be is cut to its middle.

    Example:
        >>> DiscreteActions(env, num_segments=16).action(3)  # of a video of 64 s
        ZoomIn(span_s=Span(start_s=12.0, end_s=16.0), fps=None)
    """

    def __init__(self, env: gymnasium.Env[Observation, Any], *, num_segments: int = 16) -> None:
        super().__init__(env, num_segments=num_segments)
        self._num_segments = num_segments
        self.action_space = spaces.Discrete(num_segments + self._num_options)

    def action(self, action: int) -> Action:
        """Return what a number stands for."""
        if action >= self._num_segments:
            return Answer(OPTION_LETTERS[int(action) - self._num_segments])
        duration_s = self._env.snapshot().duration_s
        start_s, end_s = (duration_s * number / self._num_segments for number in (int(action), int(action) + 1))
        _, longest_s = zoom_lengths_s(duration_s, self._env.span_rules)
        if end_s - start_s > longest_s:
            middle_s, half_s = (start_s + end_s) / 2, longest_s * (1 - _SLACK) / 2
            start_s, end_s = middle_s - half_s, middle_s + half_s
        return ZoomIn(Span(start_s, end_s))


class MultiDiscreteActions(_StructuredActions):
    """`MultiDiscrete([2, num_positions, num_lengths, K])`: zoom or answer, where, how long, which option."""

    def __init__(self, env: gymnasium.Env[Observation, Any], *, num_positions: int = 16, num_lengths: int = 4) -> None:
        super().__init__(env, num_positions=num_positions, num_lengths=num_lengths)
        self._last = (max(1, num_positions - 1), max(1, num_lengths - 1))
        self.action_space = spaces.MultiDiscrete([len(ACTION_KINDS), num_positions, num_lengths, self._num_options])

    def action(self, action: NDArray[np.int64]) -> Action:
        """Return what four numbers stand for."""
        kind, position, length, choice = (int(number) for number in action)
        if kind == _ANSWER:
            return Answer(OPTION_LETTERS[choice])
        return self._zoom(position / self._last[0], length / self._last[1])


class BoxActions(_StructuredActions):
    """`Box(-1, 1, [3 + K])`: answer if the first is positive; where and how long to zoom; scores of the options."""

    def __init__(self, env: gymnasium.Env[Observation, Any]) -> None:
        super().__init__(env)
        self.action_space = spaces.Box(-1.0, 1.0, (3 + self._num_options,), np.float32)

    def action(self, action: NDArray[np.float32]) -> Action:
        """Return what the numbers stand for; those outside [-1, 1] count as its ends."""
        kind, position, length = np.clip(action[:3], -1.0, 1.0)
        if kind > 0.0:
            return Answer(OPTION_LETTERS[int(np.argmax(action[3:]))])
        return self._zoom((position + 1.0) / 2, (length + 1.0) / 2)


class DictActions(_StructuredActions):
    """`Dict(kind=Discrete(2), span=Box(-1, 1, [2]), choice=Discrete(K))`, `span` being where and how long to zoom."""

    def __init__(self, env: gymnasium.Env[Observation, Any]) -> None:
        super().__init__(env)
        self.action_space = spaces.Dict(
            {
                "kind": spaces.Discrete(len(ACTION_KINDS)),
                "span": spaces.Box(-1.0, 1.0, (2,), np.float32),
                "choice": spaces.Discrete(self._num_options),
            }
        )

    def action(self, action: dict[str, Any]) -> Action:
        """Return what the dictionary stands for; numbers of the span outside [-1, 1] count as its ends."""
        if int(action["kind"]) == _ANSWER:
            return Answer(OPTION_LETTERS[int(action["choice"])])
        position, length = (np.clip(action["span"], -1.0, 1.0) + 1.0) / 2
        return self._zoom(position, length)


def zoom_lengths_s(duration_s: float, rules: SpanRules) -> tuple[float, float]:
    """Return the shortest and the longest zoom into a video that the rules allow.

    Example:
        >>> zoom_lengths_s(64.0, SpanRules(min_length_s=1.0, max_length_s=60.0, max_fraction=0.5))
        (1.0, 32.0)
    """
    longest_s = max(0.0, min(rules.max_length_s, rules.max_fraction * duration_s) - 2 * rules.pad_s)
    shortest_s = max(rules.min_length_s, _SHORTEST_FRACTION * longest_s)
    return min(shortest_s, longest_s), longest_s


def span_at(position: float, length: float, duration_s: float, rules: SpanRules) -> Span:
    """Return the zoom at a place, 0 at the start and 1 at the end of the video, of a length, 0 shortest and 1 longest.

    Lengths grow by equal factors.

    Example:
        >>> span_at(0.5, 1.0, 64.0, SpanRules())
        Span(start_s=16.000000016, end_s=47.999999984)
    """
    shortest_s, longest_s = zoom_lengths_s(duration_s, rules)
    # The rules measure the difference of two rounded times.
    shortest_s, longest_s = shortest_s * (1 + _SLACK), longest_s * (1 - _SLACK)
    length_s = shortest_s * math.pow(longest_s / shortest_s, length) if shortest_s > 0.0 else longest_s
    start_s = position * (duration_s - length_s)
    return Span(start_s, min(start_s + length_s, duration_s))
