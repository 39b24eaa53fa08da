"""Groups: which ones an iteration samples, and sampling them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

import numpy as np

from videozoom.envs.observation import EPISODE_KINDS
from videozoom.envs.protocols.base import Protocol
from videozoom.envs.tasks import EpisodeKind, Task
from videozoom.policies.base import Policy
from videozoom.rollout.runner import EpisodeSpec, MakeEnv, run_episodes
from videozoom.rollout.types import Group


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """One group to sample: a task, a kind, and the entropy of its members."""

    task: Task
    kind: EpisodeKind
    seed: tuple[int, ...]
    """Member G's episode has the seed `(*seed, G)`: the group is the same on whichever worker it is sampled."""


def plan_groups(
    tasks: Sequence[Task], *, seed: int, iteration: int, num_groups: int, zoom_step_fraction: float
) -> list[GroupSpec]:
    """Return the groups of one iteration, a function of the arguments alone.

    Each kind goes through its own tasks (all of them, or those with evidence for `zoom_step`) in a fresh random order
    per epoch, so that the mixing ratio is exact whatever the tasks are. Group seeds are `(seed, iteration, kind
    index, slot)`.

    Args:
        tasks: Training tasks.
        seed: The run's seed.
        iteration: From 0.
        num_groups: Groups of both kinds together.
        zoom_step_fraction: Share of `zoom_step` groups in [0, 1], rounded half up to whole groups.

    Raises:
        ValueError: No tasks, or `zoom_step` groups asked for and no task has evidence.

    Source: LOVE-R1, arXiv:2509.24786, Sec. 4.3: local data (with evidence) and general data in one batch. Departs from
    the released code, where a batch holds whatever mix a random permutation brings.
    """
    num_zoom_step = floor(zoom_step_fraction * num_groups + 0.5)
    counts = {EpisodeKind.MULTI_STEP: num_groups - num_zoom_step, EpisodeKind.ZOOM_STEP: num_zoom_step}
    specs = []
    for kind, count in counts.items():
        candidates = _candidates(tasks, kind)
        if count and not candidates:
            needed = "task with evidence" if kind == EpisodeKind.ZOOM_STEP else "task"
            raise ValueError(f"{count} of {num_groups} groups are {kind} groups, but there is no {needed} to sample")
        kind_index = EPISODE_KINDS.index(kind)
        for slot in range(count):
            task = candidates[_shuffled_index(len(candidates), iteration * count + slot, (seed, kind_index))]
            specs.append(GroupSpec(task, kind, (seed, iteration, kind_index, slot)))
    return specs


def spare_group(
    tasks: Sequence[Task], kind: EpisodeKind, *, seed: int, iteration: int, slot: int, position: int
) -> GroupSpec:
    """Return a group besides those of the plan, a function of the arguments alone.

    Args:
        tasks: Training tasks, with one of the kind at least.
        kind: Its kind.
        seed: The run's seed.
        iteration: From 0.
        slot: Behind those of the plan; the group's seed is `(seed, iteration, kind index, slot)`.
        position: Place in a random order of the tasks that is not the plan's.
    """
    kind_index = EPISODE_KINDS.index(kind)
    candidates = _candidates(tasks, kind)
    # As if it were a kind of its own: that gives another order than the plan's.
    task = candidates[_shuffled_index(len(candidates), position, (seed, len(EPISODE_KINDS) + kind_index))]
    return GroupSpec(task, kind, (seed, iteration, kind_index, slot))


def _candidates(tasks: Sequence[Task], kind: EpisodeKind) -> list[Task]:
    return [task for task in tasks if task.evidence] if kind == EpisodeKind.ZOOM_STEP else list(tasks)


def sample_groups(
    specs: Sequence[GroupSpec],
    *,
    group_size: int,
    max_steps: int,
    make_env: MakeEnv,
    protocol: Protocol,
    policy: Policy,
) -> list[Group]:
    """Return one finished group per spec, in order; all their episodes run as one batch.

    This is the one place where a group is sampled.
    """
    episodes = [
        EpisodeSpec(spec.task, spec.kind, member, (*spec.seed, member), max_steps)
        for spec in specs
        for member in range(group_size)
    ]
    trajectories = run_episodes(episodes, make_env=make_env, protocol=protocol, policy=policy)
    return [
        Group(spec.task, spec.kind, tuple(trajectories[index * group_size : (index + 1) * group_size]))
        for index, spec in enumerate(specs)
    ]


def _shuffled_index(num_items: int, position: int, entropy: tuple[int, ...]) -> int:
    """Return item `position` of an endless sequence of shuffled epochs over `num_items` items."""
    epoch, offset = divmod(position, num_items)
    return int(np.random.default_rng((*entropy, epoch)).permutation(num_items)[offset])
