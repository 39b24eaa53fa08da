"""The rubric: named, weighted rewards with a breakdown per part."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from videozoom.envs.tasks import EpisodeKind, Status, Task
from videozoom.rewards.answers import DEFAULT_RULES, AnswerRules
from videozoom.rewards.facts import EpisodeFacts, RewardBreakdown, RewardFunction
from videozoom.rewards.format import format_reward
from videozoom.rewards.navigation import cost_penalty, evidence_f1_reward, repeat_penalty
from videozoom.rewards.outcome import OutcomeReward, outcome_reward
from videozoom.rewards.overlap import OverlapMeasure, OverlapReward, overlap_reward
from videozoom.rewards.zooming import (
    ManyFramesPenalty,
    OnlyWellFormed,
    OnlyWhen,
    OnlyWithZoom,
    PenaltyCondition,
    zoom_used_penalty,
)

REWARDS: dict[str, RewardFunction] = {
    "outcome": outcome_reward,
    "overlap": overlap_reward,
    "format": format_reward,
    "evidence_f1": evidence_f1_reward,
    "repeat": repeat_penalty,
    "cost": cost_penalty,
    "zoom_used": zoom_used_penalty,
    "many_frames": ManyFramesPenalty(),
}
"""Rewards by the name a config uses. Add your own under a new name."""
PENALTIES = ("repeat", "cost", "zoom_used", "many_frames")
"""Those of them that take something off: 0 or less."""
_NEEDING_ZOOM = ("outcome", "format")
_NEEDING_FORMAT = ("outcome", "overlap")


@dataclass(frozen=True, slots=True)
class RewardRules:
    """When rewards count, and which answers are right.

    Source: VideoZoomer, released code, where all penalties are off.
    """

    penalties_when: PenaltyCondition | str = PenaltyCondition.ALWAYS
    """Which episodes `repeat`, `cost`, `zoom_used` and `many_frames` are taken from: all, or those with a right or a
    wrong answer (`always`, `correct`, `incorrect`)."""
    many_frames: int = 64
    """Frames of slow clips from which on the penalty of that name is taken."""
    needs_zoom: bool = False
    """Whether `outcome` and `format` are 0 in `multi_step` episodes without a zoom."""
    needs_format: bool = False
    """Whether `outcome` and `overlap` are 0 in episodes with a step that was no valid action. Source: LOVE-R1, released
    training code."""
    overlap: OverlapMeasure | str = OverlapMeasure.BINARY
    """What a single zoom is worth: whether it overlaps the evidence, or its IoU with it (`binary`, `iou`)."""
    answers: AnswerRules = DEFAULT_RULES
    """Which answers are right, and whether others are worth something."""

    def __post_init__(self) -> None:
        """Raise `ValueError` on a value that makes no sense."""
        if self.penalties_when not in tuple(PenaltyCondition):
            allowed = ", ".join(PenaltyCondition)
            raise ValueError(f"penalties_when must be one of {allowed}, got {self.penalties_when!r}.")
        if self.overlap not in tuple(OverlapMeasure):
            raise ValueError(f"overlap must be one of {', '.join(OverlapMeasure)}, got {self.overlap!r}.")
        if self.many_frames < 1:
            raise ValueError(f"many_frames must be at least 1, got {self.many_frames}.")

    def function(self, name: str) -> RewardFunction:
        """Return a registered reward under these rules."""
        ruled: dict[str, RewardFunction] = {
            "many_frames": ManyFramesPenalty(self.many_frames),
            "outcome": OutcomeReward(self.answers),
            "overlap": OverlapReward(OverlapMeasure(self.overlap)),
        }
        function = ruled.get(name, REWARDS[name])
        if name in PENALTIES:
            return OnlyWhen(function, PenaltyCondition(self.penalties_when), self.answers)
        if self.needs_format and name in _NEEDING_FORMAT:
            function = OnlyWellFormed(function)
        return OnlyWithZoom(function) if self.needs_zoom and name in _NEEDING_ZOOM else function


@dataclass(frozen=True, slots=True)
class WeightedReward:
    """A reward, its name in logs, and its weight in the total."""

    name: str
    function: RewardFunction
    weight: float


@dataclass(frozen=True, slots=True)
class Rubric:
    """Scores finished episodes as the weighted sum of the rewards that apply.

    A reward of weight 0 is not in the total but in the breakdown: it is measured, not trained on.

    Example:
        >>> rubric = Rubric.from_weights({"outcome": 1.0, "format": 0.5})
        >>> rubric.score(task_with_answer_b, facts_of_a_well_formed_b)
        RewardBreakdown(total=1.5, parts={'outcome': 1.0, 'format': 1.0}, is_right=True)
    """

    rewards: Sequence[WeightedReward]
    answers: AnswerRules = DEFAULT_RULES
    """By which it says whether the answer is right."""

    def __post_init__(self) -> None:
        """Raise `ValueError` if names repeat, a weight is not finite, or all weights are 0."""
        names = [reward.name for reward in self.rewards]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"Rewards of a rubric need unique names; more than once: {', '.join(repeated)}.")
        for reward in self.rewards:
            if not math.isfinite(reward.weight):
                raise ValueError(f"The weight of reward {reward.name!r} must be a finite number, got {reward.weight}.")
        if all(reward.weight == 0.0 for reward in self.rewards):
            raise ValueError("A rubric needs at least one reward whose weight is not 0.")

    @classmethod
    def from_weights(cls, weights: Mapping[str, float], rules: RewardRules | None = None) -> Self:
        """Return a rubric of registered rewards, which count always unless `rules` say otherwise.

        Raises:
            ValueError: if a name is not in `REWARDS`, or the weights are not valid.
        """
        for name in weights:
            if name not in REWARDS:
                raise ValueError(f"Unknown reward {name!r}; there are {', '.join(REWARDS)}.")
        rules = rules or RewardRules()
        rewards = tuple(WeightedReward(name, rules.function(name), weight) for name, weight in weights.items())
        return cls(rewards, rules.answers)

    @classmethod
    def love_r1(cls, format_weight: float = 0.0) -> Self:
        """Return outcome and overlap with weight 1 each; an episode's kind decides which one applies.

        Source: LOVE-R1, eq. (1) and (2). The released code adds a format reward: `format_weight=1`.
        """
        return cls.from_weights({"outcome": 1.0, "overlap": 1.0, "format": format_weight})

    @classmethod
    def longvideo_r1(cls, cost_weight: float = 0.0) -> Self:
        """Return outcome and F1 of the evidence with weight 1 each, less 0.2 for repeats; 2 at most.

        Source: LongVideo-R1, released code; a step costs nothing there. Single steps, which it does not have, are worth
        their overlap.
        """
        return cls.from_weights(
            {"outcome": 1.0, "evidence_f1": 1.0, "repeat": 0.2, "overlap": 1.0, "cost": cost_weight}
        )

    @classmethod
    def videozoomer(cls, rules: RewardRules | None = None, **penalties: float) -> Self:
        """Return 0.9 for a right answer and 0.1 for the form; 1 at most. Penalties have no weight unless given.

        Single steps, which VideoZoomer does not have, are worth their overlap.

        Source: VideoZoomer, released code: `zoom_used` is its penalty of a tool call, `cost` that of each turn,
        `many_frames` that of frames.
        """
        return cls.from_weights({"outcome": 0.9, "format": 0.1, "overlap": 0.9, **penalties}, rules)

    def score(self, task: Task, facts: EpisodeFacts) -> RewardBreakdown:
        """Return total and parts of one finished episode, and whether its answer is right.

        Empty and 0 if its video could not be read.

        Raises:
            ValueError: if a reward returns a number that is not finite.
        """
        if facts.status is Status.ERROR_DECODE:
            return RewardBreakdown(0.0, {})
        parts: dict[str, float] = {}
        total = 0.0
        for reward in self.rewards:
            value = reward.function(task, facts)
            if value is None:
                continue
            if not math.isfinite(value):
                raise ValueError(f"Reward {reward.name!r} returned {value} for task {task.task_id!r}.")
            parts[reward.name] = float(value)
            total += reward.weight * float(value)
        is_multi_step = facts.kind is EpisodeKind.MULTI_STEP
        return RewardBreakdown(total, parts, self.answers.is_right(task, facts.answer) if is_multi_step else None)
