"""Rewards that depend on whether and how much an episode zoomed: penalties, and conditions on other rewards.

Source: VideoZoomer, released code, where all of them are off. Its penalties per zoom are `cost_penalty`.
"""

from dataclasses import dataclass
from enum import StrEnum

from videozoom.envs.tasks import EpisodeKind, Task
from videozoom.rewards.answers import DEFAULT_RULES, AnswerRules
from videozoom.rewards.facts import EpisodeFacts, RewardFunction


class PenaltyCondition(StrEnum):
    """Which episodes penalties are taken from."""

    ALWAYS = "always"
    CORRECT = "correct"
    """Those with the right answer: zooming was more than was needed, perhaps."""
    INCORRECT = "incorrect"


def num_zooms(facts: EpisodeFacts) -> int:
    """Return how many steps were something else than the answer: zooms, and what could not be read or was refused.

    Example:
        Two zooms and an answer: 2. An answer at once: 0. Three steps without an answer: 3.
    """
    return facts.num_steps - (facts.answer is not None)


def zoom_used_penalty(task: Task, facts: EpisodeFacts) -> float | None:
    """Return -1 if a `multi_step` episode had any step before its answer, else 0. `None` for other kinds."""
    if facts.kind is not EpisodeKind.MULTI_STEP:
        return None
    return -1.0 if num_zooms(facts) > 0 else 0.0


@dataclass(frozen=True, slots=True)
class ManyFramesPenalty:
    """Returns -1 for a `multi_step` episode that was shown at least so many frames of clips, else 0.

    Example:
        >>> ManyFramesPenalty(32)(task, facts_of_two_clips_of_16_frames)
        -1.0
    """

    num_frames: int = 64
    """VideoZoomer: four zooms of 16 frames are the most there can be."""

    def __call__(self, task: Task, facts: EpisodeFacts) -> float | None:
        """Return the reward."""
        if facts.kind is not EpisodeKind.MULTI_STEP:
            return None
        return -1.0 if facts.num_clip_frames >= self.num_frames else 0.0


@dataclass(frozen=True, slots=True)
class OnlyWhen:
    """A penalty that is 0 unless the answer is right, or unless it is not."""

    penalty: RewardFunction
    condition: PenaltyCondition
    answers: AnswerRules = DEFAULT_RULES

    def __call__(self, task: Task, facts: EpisodeFacts) -> float | None:
        """Return the reward."""
        value = self.penalty(task, facts)
        if value is None or self.condition is PenaltyCondition.ALWAYS:
            return value
        is_correct = self.answers.is_right(task, facts.answer)
        return value if is_correct == (self.condition is PenaltyCondition.CORRECT) else 0.0


@dataclass(frozen=True, slots=True)
class OnlyWithZoom:
    """A reward that a `multi_step` episode gets only if it was shown a clip."""

    reward: RewardFunction

    def __call__(self, task: Task, facts: EpisodeFacts) -> float | None:
        """Return the reward."""
        value = self.reward(task, facts)
        is_due = facts.kind is not EpisodeKind.MULTI_STEP or bool(facts.spans_s)
        return value if value is None or is_due else 0.0


@dataclass(frozen=True, slots=True)
class OnlyWellFormed:
    """A reward that is 0 in an episode with a step that was no valid action, or not in the protocol's form.

    Source: LOVE-R1, released training code, where a wrong format takes the accuracy, too.
    """

    reward: RewardFunction

    def __call__(self, task: Task, facts: EpisodeFacts) -> float | None:
        """Return the reward."""
        value = self.reward(task, facts)
        is_due = facts.num_malformed + facts.num_ill_formed == 0
        return value if value is None or is_due else 0.0
