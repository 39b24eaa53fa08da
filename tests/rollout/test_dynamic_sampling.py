from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from videozoom.envs.tasks import EpisodeKind, Task
from videozoom.rollout.dynamic_sampling import SignalSearch
from videozoom.rollout.groups import GroupSpec, plan_groups

HEARD, SILENT = np.array([1.0, -1.0]), np.zeros(2)


@pytest.fixture
def tasks(world: SimpleNamespace) -> list[Task]:
    return [world.make_task(number, evidence=number < 4) for number in range(10)]


def search(tasks: Sequence[Task], iteration: int = 0, *, max_rounds: int = 2, num_groups: int = 4) -> SignalSearch:
    planned = plan_groups(tasks, seed=5, iteration=iteration, num_groups=num_groups, zoom_step_fraction=0.5)
    return SignalSearch(planned, tasks, seed=5, iteration=iteration, max_rounds=max_rounds)


def test_silent_groups_make_room_for_others_of_their_kind(tasks: list[Task]) -> None:
    found = search(tasks)
    planned = found.wanted
    assert [spec.kind for spec in planned] == [EpisodeKind.MULTI_STEP] * 2 + [EpisodeKind.ZOOM_STEP] * 2
    found.take([HEARD, SILENT, SILENT, HEARD])
    first = found.wanted
    assert [spec.kind for spec in first] == [EpisodeKind.MULTI_STEP, EpisodeKind.ZOOM_STEP]
    assert first[1].task.evidence
    found.take([SILENT, HEARD])
    [second] = found.wanted
    assert second.kind == EpisodeKind.MULTI_STEP
    found.take([HEARD])
    # Sampled: 0 to 3 of the plan, 4 and 5 in their place, 6 in place of 4.
    assert (found.wanted, found.kept, found.num_replaced) == ([], [0, 3, 5, 6], 3)
    seeds = [spec.seed for spec in (*planned, *first, second)]
    assert seeds == [(5, 0, 0, 0), (5, 0, 0, 1), (5, 0, 1, 0), (5, 0, 1, 1), (5, 0, 0, 2), (5, 0, 1, 2), (5, 0, 0, 3)]


def test_when_the_rounds_are_used_up_the_batch_is_filled_with_what_there_is(tasks: list[Task]) -> None:
    found = search(tasks, max_rounds=1)
    found.take([SILENT, SILENT, SILENT, HEARD])
    found.take([SILENT, HEARD, SILENT])
    assert (found.wanted, found.kept, found.num_replaced) == ([], [3, 4, 5, 6], 3)


def test_without_rounds_nothing_is_replaced(tasks: list[Task]) -> None:
    found = search(tasks, max_rounds=0)
    found.take([SILENT] * 4)
    assert (found.wanted, found.kept, found.num_replaced) == ([], [0, 1, 2, 3], 0)


def test_a_batch_that_is_heard_at_once_samples_nothing_more(tasks: list[Task]) -> None:
    found = search(tasks)
    found.take([HEARD] * 4)
    assert (found.wanted, found.kept) == ([], [0, 1, 2, 3])


def all_silent(tasks: Sequence[Task], iteration: int) -> list[GroupSpec]:
    """Return the replacements of an iteration in which no group ever has a signal."""
    found, specs = search(tasks, iteration), []
    found.take([SILENT] * 4)
    while found.wanted:
        specs += found.wanted
        found.take([SILENT] * len(found.wanted))
    return specs


def test_replacements_are_a_function_of_the_iteration_and_never_repeat_a_seed(tasks: list[Task]) -> None:
    assert all_silent(tasks, 3) == all_silent(tasks, 3)
    seeds = []
    for iteration in range(6):
        plan = plan_groups(tasks, seed=5, iteration=iteration, num_groups=4, zoom_step_fraction=0.5)
        seeds += [spec.seed for spec in (*plan, *all_silent(tasks, iteration))]
    assert len(set(seeds)) == len(seeds) == 6 * (4 + 8)


def test_replacements_go_through_all_tasks_in_an_order_of_their_own(tasks: list[Task]) -> None:
    spare = [
        spec.task.task_id
        for iteration in range(5)
        for spec in all_silent(tasks, iteration)
        if spec.kind == EpisodeKind.MULTI_STEP
    ]
    plan = [
        spec.task.task_id
        for iteration in range(5)
        for spec in plan_groups(tasks, seed=5, iteration=iteration, num_groups=2, zoom_step_fraction=0.0)
    ]
    assert len(spare) == 20
    assert sorted(spare[:10]) == sorted(spare[10:]) == sorted(plan) == sorted(task.task_id for task in tasks)
    assert spare[:10] != plan
