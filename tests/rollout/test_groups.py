from collections import Counter
from types import SimpleNamespace

import pytest

from videozoom.envs.tasks import EpisodeKind
from videozoom.rollout.groups import plan_groups, sample_groups


def plan(world: SimpleNamespace, iteration: int = 0, **options: float) -> list:  # type: ignore[type-arg]
    tasks = [world.make_task(number, evidence=number < 4) for number in range(10)]
    values = {"seed": 5, "num_groups": 6, "zoom_step_fraction": 0.5, **options}
    return plan_groups(tasks, iteration=iteration, **values)


def test_the_mixing_ratio_is_exact_and_zoom_steps_have_evidence(world: SimpleNamespace) -> None:
    specs = plan(world)
    assert Counter(spec.kind for spec in specs) == {EpisodeKind.MULTI_STEP: 3, EpisodeKind.ZOOM_STEP: 3}
    assert all(spec.task.evidence for spec in specs if spec.kind == EpisodeKind.ZOOM_STEP)


def test_every_task_comes_once_per_epoch_in_an_order_that_changes(world: SimpleNamespace) -> None:
    def epoch(start: int) -> list[str]:
        return [
            spec.task.task_id
            for i in range(start, start + 5)
            for spec in plan(world, i, zoom_step_fraction=0.0, num_groups=2)
        ]

    first, second = epoch(0), epoch(5)
    assert sorted(first) == sorted(second) == sorted({f"t{number}" for number in range(10)})
    assert first != second


def test_a_plan_is_a_function_of_seed_and_iteration(world: SimpleNamespace) -> None:
    assert plan(world, 3) == plan(world, 3)
    assert plan(world, 3) != plan(world, 4)
    assert plan(world, 3) != plan(world, 3, seed=6)


def test_group_seeds_never_repeat_within_a_run(world: SimpleNamespace) -> None:
    seeds = [spec.seed for iteration in range(20) for spec in plan(world, iteration)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, 0), (0.25, 1), (0.5, 3), (0.75, 4), (1.0, 5)])
def test_the_share_of_zoom_steps_is_rounded_half_up(world: SimpleNamespace, fraction: float, expected: int) -> None:
    specs = plan(world, num_groups=5, zoom_step_fraction=fraction)
    assert sum(spec.kind == EpisodeKind.ZOOM_STEP for spec in specs) == expected


def test_zoom_steps_without_any_evidence_are_refused(world: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="3 of 6 groups are zoom_step groups, but there is no task with evidence"):
        plan_groups([world.make_task(evidence=False)], seed=0, iteration=0, num_groups=6, zoom_step_fraction=0.5)


def test_groups_hold_their_members_in_order(world: SimpleNamespace) -> None:
    specs = plan(world)
    groups = sample_groups(
        specs, group_size=4, max_steps=3, make_env=world.make_env, protocol=world.protocol, policy=world.random
    )
    assert [(group.task, group.kind) for group in groups] == [(spec.task, spec.kind) for spec in specs]
    assert all([t.member for t in group.trajectories] == [0, 1, 2, 3] for group in groups)
    assert [t.seed for t in groups[2].trajectories] == [(*specs[2].seed, member) for member in range(4)]


def test_a_group_does_not_depend_on_what_is_sampled_beside_it(world: SimpleNamespace) -> None:
    specs = plan(world)
    options = {"group_size": 4, "max_steps": 3, "make_env": world.make_env, "protocol": world.protocol}
    together = sample_groups(specs, policy=world.random, **options)
    apart = [group for spec in reversed(specs) for group in sample_groups([spec], policy=world.random, **options)]
    summary = [[(t.seed, t.status, t.answer, t.spans_s) for t in group.trajectories] for group in together]
    assert summary == [[(t.seed, t.status, t.answer, t.spans_s) for t in g.trajectories] for g in reversed(apart)]
    assert len({(t.status, t.answer, t.spans_s) for group in together for t in group.trajectories}) > 3
