"""What an iteration samples and learns from: plan, rewards, advantages, and groups sampled again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.actions import Answer
from videozoom.envs.tasks import EpisodeKind, Task
from videozoom.experiments.grpo_records import Sampled
from videozoom.experiments.grpo_settings import GrpoSettings, Progress
from videozoom.rewards.penalty_schedule import running_success
from videozoom.rollout.advantages import advantages_of
from videozoom.rollout.dynamic_sampling import SignalSearch
from videozoom.rollout.groups import GroupSpec, plan_groups
from videozoom.rollout.types import Group


@dataclass(frozen=True, slots=True)
class Batch:
    """All groups that an iteration sampled, and those among them that it learns from."""

    sampled: Sampled
    """All of them, in the order in which they were sampled."""
    advantages: list[NDArray[np.float64]]
    """`[G]` for each; only 0 in those that were replaced."""
    kept: list[int]
    """Indices of the groups to learn from."""
    zoom_success: float | None
    """Running share of episodes that were shown a clip, among those that tried; `None` if none has tried yet."""
    metrics: dict[str, float]
    """Registered metrics of replacements and penalties, where there are any."""

    @property
    def kept_groups(self) -> list[Group]:
        return [self.sampled.groups[index] for index in self.kept]

    @property
    def kept_advantages(self) -> list[NDArray[np.float64]]:
        return [self.advantages[index] for index in self.kept]


def sample_batch(
    sample: Callable[[Sequence[GroupSpec]], Sampled], tasks: Sequence[Task], settings: GrpoSettings, progress: Progress
) -> Batch:
    """Return the batch of the iteration after `progress`, a function of the arguments and of what `sample` returns."""
    planned = plan_groups(
        tasks,
        seed=settings.seed,
        iteration=progress.iteration,
        num_groups=settings.num_groups,
        zoom_step_fraction=settings.zoom_step_fraction,
    )
    search = SignalSearch(
        planned, tasks, seed=settings.seed, iteration=progress.iteration, max_rounds=settings.resampling_rounds
    )
    factor = settings.penalties.factor(progress.iteration, progress.zoom_success)
    parts: list[Sampled] = []
    advantages: list[NDArray[np.float64]] = []
    while search.wanted:
        part = sample(search.wanted)
        if not settings.penalties.is_constant:
            part = replace(part, groups=[_rescored(group, settings, factor) for group in part.groups])
        found = [advantages_of(group, normalise_std=settings.normalise_std) for group in part.groups]
        search.take(found)
        parts.append(part)
        advantages += found
    sampled = reduce(add, parts)
    zoom_success = running_success(progress.zoom_success, *_tries(sampled.groups))
    metrics = {}
    if settings.resampling_rounds:
        metrics["group/sampled/sum"] = float(len(sampled.groups))
        metrics["group/replaced/sum"] = float(search.num_replaced)
    if not settings.penalties.is_constant:
        metrics["reward/penalty_factor"] = factor
        if zoom_success is not None:
            metrics["zoom/running_success"] = zoom_success
    return Batch(sampled, advantages, search.kept, zoom_success, metrics)


def _rescored(group: Group, settings: GrpoSettings, factor: float) -> Group:
    """Return a group whose penalties count by a factor."""
    return replace(
        group,
        trajectories=tuple(
            replace(trajectory, reward=settings.penalties.scaled(trajectory.reward, factor))
            for trajectory in group.trajectories
        ),
    )


def _tries(groups: Sequence[Group]) -> tuple[int, int]:
    """Return how many `multi_step` episodes tried anything but an answer, and how many of them were shown a clip."""
    episodes = [it for group in groups if group.kind == EpisodeKind.MULTI_STEP for it in group.trajectories]
    tried = [it for it in episodes if any(not isinstance(step.action, Answer) for step in it.steps)]
    return len(tried), sum(bool(it.spans_s) for it in tried)
