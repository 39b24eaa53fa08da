"""Scripted policies: where to zoom is a rule; the answer is a guess, the truth, or a model's.

With a model as `answerer` they are the baselines of LOVE-R1, Table 2c: the same model answers from no clip, a clip of
frames spread over the whole video, or a random clip, so that only the choice of the clip differs.
"""

import math
from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from videozoom.envs.actions import Action, Answer, ZoomIn
from videozoom.envs.answer_texts import write_times
from videozoom.envs.observation import Observation
from videozoom.envs.protocols.base import Protocol
from videozoom.envs.span_rules import OutOfBounds, SpanRules
from videozoom.envs.tasks import QuestionKind, Span, Task
from videozoom.policies.base import Completion, Policy, Request
from videozoom.rewards.answers import gold_answer

SCRIPTED_SPAN_RULES = SpanRules(
    min_length_s=0.0, max_length_s=math.inf, max_fraction=1.0, repeat_iou=1.0, out_of_bounds=OutOfBounds.CLAMP
)
"""Rules that let every scripted zoom pass: `uniform` takes the whole video; whole seconds may end behind it."""


MOST_GUESSED = 9
GUESSED_TEXT = "unknown"


class ZoomRule(StrEnum):
    """How a scripted policy chooses its clip."""

    NEVER = "never"
    UNIFORM = "uniform"
    """The whole video: as many large frames as a clip has, spread evenly."""
    RANDOM = "random"
    """A random span; the paper's is 30 s long."""
    ORACLE = "oracle"
    """The annotated evidence, one span after the other."""

    def num_steps(self, task: Task) -> int:
        """Return the steps an episode takes, the answer included."""
        zooms = {ZoomRule.NEVER: 0, ZoomRule.UNIFORM: 1, ZoomRule.RANDOM: 1, ZoomRule.ORACLE: len(task.evidence)}
        return zooms[self] + 1


class ScriptedPolicy:
    """Zooms by rule, then answers; run it with `max_steps = rule.num_steps(task)` and `SCRIPTED_SPAN_RULES`.

    Without an `answerer` the oracle gives the true answer and the others guess: an option, a whole number from 0 to
    `MOST_GUESSED`, a span of `random_length_s`, or, where words are asked for, `GUESSED_TEXT`.

    Example:
        >>> policy = ScriptedPolicy(ZoomRule.ORACLE, LoveR1Protocol("love_r1_compact"))
    """

    def __init__(
        self, rule: ZoomRule, protocol: Protocol, *, answerer: Policy | None = None, random_length_s: float = 30.0
    ) -> None:
        self.rule, self.protocol = rule, protocol
        self.answerer, self.random_length_s = answerer, random_length_s

    def act(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one completion per request: a zoom, or at the last step an answer."""
        answering = [index for index, request in enumerate(requests) if _is_last_step(request.observation)]
        answers = dict(zip(answering, self._answers([requests[index] for index in answering]), strict=True))
        return [answers[i] if i in answers else self._write(request) for i, request in enumerate(requests)]

    def _answers(self, requests: Sequence[Request]) -> list[Completion]:
        if self.answerer is not None:
            return self.answerer.act(requests) if requests else []
        return [self._guess(request) for request in requests]

    def _guess(self, request: Request) -> Completion:
        answer = gold_answer(request.task) if self.rule is ZoomRule.ORACLE else self._guessed(request)
        return Completion(self.protocol.write(Answer(answer), "", request.observation))

    def _guessed(self, request: Request) -> str:
        """Return an answer of the kind that is asked for, by chance where there is a choice."""
        task, rng = request.task, rng_of(request)
        match task.kind:
            case QuestionKind.MULTIPLE_CHOICE:
                return task.letters[rng.integers(len(task.letters))]
            case QuestionKind.NUMERICAL:
                return str(rng.integers(MOST_GUESSED + 1))
            case QuestionKind.TEMPORAL_GROUNDING:
                return write_times(_drawn_span(task.duration_s, self.random_length_s, rng))
            case _:
                return GUESSED_TEXT

    def _write(self, request: Request) -> Completion:
        return Completion(self.protocol.write(self.look(request), "", request.observation))

    def look(self, request: Request) -> Action:
        """Return where the rule looks next."""
        return ZoomIn(self._span(request))

    def _span(self, request: Request) -> Span:
        duration_s = request.observation["fast_view"].span_s.end_s
        if self.rule is ZoomRule.ORACLE:
            return request.task.evidence[request.observation["step"]]
        if self.rule is ZoomRule.UNIFORM:
            return Span(0.0, duration_s)
        return _drawn_span(duration_s, self.random_length_s, rng_of(request))


def _drawn_span(duration_s: float, longest_s: float, rng: np.random.Generator) -> Span:
    length_s = min(longest_s, duration_s)
    # Whole seconds: protocols write them.
    start_s = float(rng.integers(0, int(duration_s - length_s) + 1))
    return Span(start_s, start_s + length_s)


def _is_last_step(observation: Observation) -> bool:
    return observation["step"] == observation["max_steps"] - 1


def rng_of(request: Request) -> np.random.Generator:
    """Return where the chance of one request comes from."""
    return np.random.default_rng(request.seed)
