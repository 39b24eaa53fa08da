"""Traces scored again: rewards by another rubric, and the advantages that training would have had from them."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from videozoom.rewards.facts import RewardBreakdown
from videozoom.rewards.rubric import Rubric
from videozoom.rollout.advantages import group_advantages
from videozoom.rollout.trace_rows import TraceRow, facts_of, task_from_row, trajectory_from_row

Rescale = Callable[[RewardBreakdown, TraceRow], RewardBreakdown]
"""Changes the reward of a training episode, as penalties do that change over a training."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an episode is worth, and what the learner was or would be given."""

    reward: RewardBreakdown
    advantage: float | None

    @classmethod
    def recorded(cls, row: TraceRow) -> "Verdict":
        """Return what a trace says."""
        return cls(trajectory_from_row(row).reward, row["advantage"])

    def confirms(self, recorded: "Verdict") -> bool:
        """Return whether it is what was recorded, to the last bit.

        Parts that were not measured then, and whether an answer is right where that was not written down, are left
        open.
        """
        before = recorded.reward
        return (
            self.reward.total == before.total
            and all(self.reward.parts.get(name) == value for name, value in before.parts.items())
            and before.is_right in (None, self.reward.is_right)
            and self.advantage == recorded.advantage
        )


def rescore(
    rows: Iterable[TraceRow],
    rubric: Rubric,
    *,
    normalise_std: bool = True,
    rescale: Rescale = lambda reward, _: reward,
    many_frames: int = 0,
) -> list[Verdict]:
    """Return the verdict on each trace, in order. Needs neither a model nor videos.

    Advantages are those of the groups of phase `train`, by the function that training uses; other phases have none.

    Args:
        rows: Traces of a run.
        rubric: Says what episodes are worth.
        normalise_std: Whether advantages are divided by the standard deviation of their group.
        rescale: Called for episodes of phase `train`.
        many_frames: From how many frames on the penalty of this name was taken; rows of version 1 tell of frames only
            whether it was.
    """
    rewards: list[RewardBreakdown] = []
    groups: dict[tuple[Any, ...], list[_Member]] = defaultdict(list)
    for index, row in enumerate(rows):
        trajectory = trajectory_from_row(row)
        if trajectory.num_clip_frames is None:
            was_taken = bool(trajectory.reward.parts.get("many_frames"))
            trajectory = replace(trajectory, num_clip_frames=many_frames if was_taken else 0)
        reward = rubric.score(task_from_row(row), facts_of(trajectory))
        if row["phase"] == "train":
            reward = rescale(reward, row)
            key = (row["policy"], row["iteration"], row["task_id"], row["kind"], tuple(row["seed"][:-1]))
            groups[key].append(_Member(row["member"], index, reward.total, trajectory.is_masked))
        rewards.append(reward)
    advantages: dict[int, float] = {}
    for group in groups.values():
        advantages |= _advantages(group, normalise_std=normalise_std)
    return [Verdict(reward, advantages.get(index)) for index, reward in enumerate(rewards)]


@dataclass(frozen=True, slots=True, order=True)
class _Member:
    """An episode in its group."""

    member: int
    index: int
    total: float
    is_masked: bool


def _advantages(group: list[_Member], *, normalise_std: bool) -> dict[int, float]:
    # Sums depend on their order: that of the members, as in training.
    members = sorted(group)
    advantages_G = group_advantages(
        np.array([member.total for member in members], dtype=np.float64),
        np.array([member.is_masked for member in members], dtype=np.bool_),
        normalise_std=normalise_std,
    )
    return dict(zip((member.index for member in members), advantages_G.tolist(), strict=True))
