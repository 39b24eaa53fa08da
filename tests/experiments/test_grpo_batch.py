"""What an iteration learns from when groups are sampled again or penalties change."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from grpo_world import make_source, make_tasks, make_world

from videozoom.envs.actions import Answer, ZoomIn
from videozoom.envs.messages import Prompt
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.experiments.grpo_algorithm import DecoupledGRPO
from videozoom.experiments.grpo_batch import sample_batch
from videozoom.experiments.grpo_config import DecoupledGRPOConfig
from videozoom.experiments.grpo_records import Sampled
from videozoom.experiments.grpo_settings import GrpoSettings, ModelSource, Progress
from videozoom.experiments.ray_runtime import quiet_rllib
from videozoom.policies.base import Completion
from videozoom.policies.sampling import Sampling
from videozoom.rewards.facts import RewardBreakdown
from videozoom.rewards.penalty_schedule import PenaltySchedule
from videozoom.rollout.groups import GroupSpec
from videozoom.rollout.metrics import check_names
from videozoom.rollout.types import Group, Step, Trajectory

SETTINGS = GrpoSettings(seed=3, num_groups=2, group_size=2, zoom_step_fraction=0.0, sampling=Sampling(max_new_tokens=6))
WEIGHTS = {"outcome": 0.9, "cost": 0.1}


def trajectory(spec: GroupSpec, member: int, *, is_right: bool, num_zooms: int = 1) -> Trajectory:
    looked = [Step(Prompt(()), Completion(""), ZoomIn(Span(0.0, 2.0)))] * num_zooms
    parts = {"outcome": float(is_right), "cost": -float(num_zooms)}
    return Trajectory(
        spec.task.task_id,
        spec.kind,
        member,
        (*spec.seed, member),
        (*looked, Step(Prompt(()), Completion(""), Answer("A"))),
        Status.ANSWERED,
        "A",
        tuple(Span(0.0, 2.0) for _ in looked),
        RewardBreakdown(sum(WEIGHTS[name] * value for name, value in parts.items()), parts, is_right),
    )


class Scripted:
    """Samples groups whose members are right as a list of rounds says."""

    def __init__(self, *rounds: Sequence[tuple[bool, bool]]) -> None:
        self.rounds = list(rounds)
        self.asked: list[list[GroupSpec]] = []

    def __call__(self, specs: Sequence[GroupSpec]) -> Sampled:
        self.asked.append(list(specs))
        groups = [
            Group(spec.task, spec.kind, tuple(trajectory(spec, m, is_right=right[m]) for m in range(2)))
            for spec, right in zip(specs, self.rounds.pop(0), strict=True)
        ]
        return Sampled(groups, [], 0, 1.0)


SOME, ALL, NONE = (True, False), (True, True), (False, False)


def test_groups_all_right_or_all_wrong_are_sampled_again_and_not_learned_from() -> None:
    sample = Scripted([ALL, SOME], [NONE], [SOME])
    batch = sample_batch(sample, make_tasks(), replace(SETTINGS, resampling_rounds=3), Progress())
    assert [len(specs) for specs in sample.asked] == [2, 1, 1]
    assert [bool(np.any(advantages)) for advantages in batch.advantages] == [False, True, False, True]
    assert batch.kept == [1, 3]
    assert batch.kept_groups == [batch.sampled.groups[1], batch.sampled.groups[3]]
    # What is learned from is what was sampled, to the object.
    assert batch.kept_groups[1].trajectories[0].seed == (*sample.asked[2][0].seed, 0)
    assert batch.metrics == {"group/sampled/sum": 4.0, "group/replaced/sum": 2.0}
    assert (batch.sampled.num_episodes, batch.sampled.wall_s) == (8, 3.0)


def test_by_default_what_came_first_is_learned_from() -> None:
    batch = sample_batch(Scripted([ALL, SOME]), make_tasks(), SETTINGS, Progress())
    assert (batch.kept, batch.metrics) == ([0, 1], {})


@pytest.mark.parametrize(
    ("progress", "penalties", "factor", "rewards"),
    [
        (Progress(), PenaltySchedule(WEIGHTS, start=0.5, num_iterations=3), 0.5, [0.85, -0.05]),
        (Progress(iteration=1), PenaltySchedule(WEIGHTS, start=0.5, num_iterations=3), 0.75, [0.825, -0.075]),
        (Progress(zoom_success=0.6), PenaltySchedule(WEIGHTS, max_success=0.5), 0.0, [0.9, 0.0]),
        (Progress(zoom_success=0.4), PenaltySchedule(WEIGHTS, max_success=0.5), 1.0, [0.8, -0.1]),
    ],
)
def test_penalties_are_those_of_the_iteration(
    progress: Progress, penalties: PenaltySchedule, factor: float, rewards: list[float]
) -> None:
    settings = replace(SETTINGS, penalties=penalties)
    batch = sample_batch(Scripted([SOME, SOME]), make_tasks(), settings, progress)
    assert [it.reward.total for it in batch.sampled.groups[0].trajectories] == pytest.approx(rewards)
    assert batch.metrics["reward/penalty_factor"] == factor
    before = 1.0 if progress.zoom_success is None else progress.zoom_success
    assert batch.zoom_success == batch.metrics["zoom/running_success"] == pytest.approx(0.8 * before + 0.2)


def test_a_group_that_differs_in_penalties_alone_has_a_signal_only_while_they_count() -> None:
    def sample(specs: Sequence[GroupSpec]) -> Sampled:
        [spec] = specs
        members = (trajectory(spec, 0, is_right=True), trajectory(spec, 1, is_right=True, num_zooms=2))
        return Sampled([Group(spec.task, spec.kind, members)], [], 0, 1.0)

    def advantages(success: float) -> list[float]:
        settings = replace(SETTINGS, num_groups=1, penalties=PenaltySchedule(WEIGHTS, max_success=0.5))
        batch = sample_batch(sample, make_tasks(), settings, Progress(zoom_success=success))
        return batch.advantages[0].tolist()

    assert advantages(0.4)[0] > 0 > advantages(0.4)[1]
    assert advantages(0.6) == [0.0, 0.0]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    quiet_rllib()
    return make_source(tmp_path_factory.mktemp("tiny"))


def algorithm(settings: GrpoSettings, source: ModelSource, tasks: tuple[Task, ...] | None = None) -> DecoupledGRPO:
    config = DecoupledGRPOConfig().grpo(world=make_world(tasks), source=source, settings=settings)
    built: DecoupledGRPO = config.build_algo()
    return built


def test_a_run_that_samples_again_goes_on_from_a_checkpoint_to_the_same_numbers(
    source: ModelSource, tmp_path: Path
) -> None:
    settings = replace(
        SETTINGS,
        num_groups=4,
        group_size=3,
        zoom_step_fraction=0.5,
        resampling_rounds=2,
        entropy_coef=0.01,
        penalties=PenaltySchedule({"outcome": 1.0, "cost": 0.1}, end=0.5, num_iterations=4),
    )

    def run(algorithm: DecoupledGRPO, num_iterations: int) -> list[dict[str, float]]:
        found = []
        for _ in range(num_iterations):
            algorithm.train()
            record = algorithm.record()
            check_names(record.metrics)
            names = ("group/sampled/sum", "optim/grad_norm", "loss/entropy", "zoom/running_success", "loss/total")
            found.append({name: record.metrics[name] for name in (*names, "reward/penalty_factor")})
            assert record.metrics["policy/sampler_logprob_gap/max"] < 1e-5
            assert len(record.groups) == record.metrics["group/sampled/sum"] >= 4
        return found

    expected = run(algorithm(settings, source), 3)
    # Control: there were groups to sample again.
    assert max(metrics["group/sampled/sum"] for metrics in expected) > 4
    first = algorithm(settings, source)
    assert run(first, 1) == expected[:1]
    first.write_checkpoint(tmp_path / "iteration_000001")
    second = algorithm(settings, replace(source, checkpoint=tmp_path / "iteration_000001"))
    second.resume_from(tmp_path / "iteration_000001")
    assert run(second, 2) == expected[1:]


def test_single_zooms_say_nothing_of_success(source: ModelSource) -> None:
    settings = replace(SETTINGS, zoom_step_fraction=1.0, penalties=PenaltySchedule({"cost": 0.1}, end=0.0))
    only = algorithm(settings, source)
    only.train()
    assert {group.kind for group in only.record().groups} == {EpisodeKind.ZOOM_STEP}
    assert only.progress.zoom_success is None
    assert "zoom/running_success" not in only.record().metrics
