from types import SimpleNamespace

import numpy as np
import pytest

from videozoom.envs.actions import Malformed
from videozoom.envs.messages import Prompt
from videozoom.envs.tasks import EpisodeKind, Status
from videozoom.policies.base import Completion
from videozoom.rewards.facts import RewardBreakdown
from videozoom.rollout.training_samples import LossAggregation, training_samples
from videozoom.rollout.types import Group, Step, Trajectory


def trajectory(member: int, lengths: list[int], status: Status = Status.ANSWERED) -> Trajectory:
    steps = tuple(
        Step(Prompt((), f"{member}.{index}"), Completion("x", token_ids=np.zeros(n, np.int32)), Malformed("no_box"))
        for index, n in enumerate(lengths)
    )
    return Trajectory("t", EpisodeKind.MULTI_STEP, member, (), steps, status, None, (), RewardBreakdown(0.0, {}))


@pytest.fixture
def group(world: SimpleNamespace) -> Group:
    members = (trajectory(0, [3, 5]), trajectory(1, [4]), trajectory(2, [9], Status.NO_ANSWER), trajectory(3, [8]))
    return Group(world.make_task(), EpisodeKind.MULTI_STEP, members)


ADVANTAGES = np.array([1.5, -0.5, 0.0, 0.0])


def test_all_steps_share_the_advantage_of_their_trajectory(group: Group) -> None:
    samples = training_samples([group], [ADVANTAGES])
    assert [(s.prompt.assistant_prefix, s.advantage) for s in samples] == [("0.0", 1.5), ("0.1", 1.5), ("1.0", -0.5)]


def test_what_has_no_advantage_counts_in_the_normaliser_but_costs_no_time(group: Group) -> None:
    samples = training_samples([group], [ADVANTAGES])
    # 3 + 5 + 4 + 8 tokens: the one without advantage counts, the masked one does not.
    assert [sample.token_weight for sample in samples] == pytest.approx([1 / 20] * 3)


def test_sequences_can_count_the_same(group: Group) -> None:
    samples = training_samples([group], [ADVANTAGES], aggregation=LossAggregation.SEQUENCE_MEAN)
    assert [sample.token_weight for sample in samples] == pytest.approx([1 / (4 * 3), 1 / (4 * 5), 1 / (4 * 4)])


def test_masked_trajectories_are_never_trained(group: Group) -> None:
    samples = training_samples([group], [ADVANTAGES], keep_zero_advantage=True)
    assert [sample.prompt.assistant_prefix for sample in samples] == ["0.0", "0.1", "1.0", "3.0"]


def test_a_group_without_variance_is_skipped(group: Group) -> None:
    assert training_samples([group], [np.zeros(4)]) == []
