from math import sqrt
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videozoom.envs.tasks import EpisodeKind, Status
from videozoom.rewards.facts import RewardBreakdown
from videozoom.rollout.advantages import advantages_of, group_advantages
from videozoom.rollout.types import Group, Trajectory


def advantages(rewards: list[float], masked: tuple[int, ...] = (), **options: bool) -> list[float]:
    masked_G = np.isin(np.arange(len(rewards)), masked)
    return [float(value) for value in group_advantages(np.array(rewards), masked_G, **options)]


def test_one_of_four_right() -> None:
    # Mean 1/4; unbiased variance (9/16 + 3/16) / 3 = 1/4, so the deviation is 1/2.
    assert advantages([1, 0, 0, 0]) == pytest.approx([0.75 / 0.5001, *[-0.25 / 0.5001] * 3])


def test_half_of_eight_right() -> None:
    # Mean 1/2; unbiased variance 8 * (1/4) / 7 = 2/7.
    expected = 0.5 / (sqrt(2 / 7) + 1e-4)
    assert advantages([1, 1, 1, 1, 0, 0, 0, 0]) == pytest.approx([expected] * 4 + [-expected] * 4)


def test_without_std_the_advantage_is_the_distance_from_the_mean() -> None:
    assert advantages([1, 0, 0, 0], normalise_std=False) == [0.75, -0.25, -0.25, -0.25]


def test_masked_members_neither_count_nor_learn() -> None:
    # Among 1, 0, 1: mean 2/3, unbiased variance (1/9 + 4/9 + 1/9) / 2 = 1/3.
    high, low = (1 / 3) / (sqrt(1 / 3) + 1e-4), (-2 / 3) / (sqrt(1 / 3) + 1e-4)
    assert advantages([1, 0, 0, 1], masked=(2,)) == pytest.approx([high, low, 0.0, high])


@pytest.mark.parametrize("masked", [(1, 2, 3), (0, 1, 2, 3)])
def test_a_lone_member_has_nothing_to_be_compared_with(masked: tuple[int, ...]) -> None:
    assert advantages([1, 0, 0, 0], masked=masked) == [0.0, 0.0, 0.0, 0.0]


def test_equal_rewards_have_no_signal_even_where_the_mean_rounds() -> None:
    assert advantages([0.1, 0.1, 0.1]) == [0.0, 0.0, 0.0]
    # Negative control: the rounded mean of these differs from their common value.
    assert np.array([0.1, 0.1, 0.1]).mean() != 0.1


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=16))
def test_advantages_sum_to_zero_and_keep_the_order_of_rewards(rewards: list[float]) -> None:
    values = advantages(rewards)
    assert sum(values) == pytest.approx(0.0, abs=1e-6)
    by_reward = [value for _, value in sorted(zip(rewards, values, strict=True))]
    assert by_reward == sorted(by_reward)


def test_the_advantage_of_a_group_is_read_from_total_rewards_and_statuses(world: SimpleNamespace) -> None:
    def trajectory(member: int, total: float, status: Status) -> Trajectory:
        reward = RewardBreakdown(total, {"outcome": 0.0})
        return Trajectory("t0", EpisodeKind.MULTI_STEP, member, (), (), status, None, (), reward)

    statuses = [Status.ANSWERED, Status.ANSWERED, Status.NO_ANSWER, Status.ERROR_DECODE]
    members = tuple(
        trajectory(i, total, status)
        for i, (total, status) in enumerate(zip([3.0, 1.0, 9.0, 9.0], statuses, strict=True))
    )
    group = Group(world.make_task(), EpisodeKind.MULTI_STEP, members)
    # Mean 2, unbiased deviation sqrt(2).
    assert list(advantages_of(group)) == pytest.approx([1 / (sqrt(2) + 1e-4), -1 / (sqrt(2) + 1e-4), 0.0, 0.0])
