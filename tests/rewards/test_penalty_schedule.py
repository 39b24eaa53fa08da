import pytest

from videozoom.rewards.facts import RewardBreakdown
from videozoom.rewards.penalty_schedule import PenaltySchedule, running_success

WEIGHTS = {"outcome": 0.9, "format": 0.1, "cost": 0.05, "zoom_used": 0.2, "many_frames": 0.0}


def test_the_factor_goes_from_the_first_to_the_last_iteration_and_stays() -> None:
    schedule = PenaltySchedule(WEIGHTS, start=1.0, end=0.2, num_iterations=5)
    assert [schedule.factor(i, 0.5) for i in range(7)] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2])
    assert PenaltySchedule(WEIGHTS, start=0.3, end=0.9, num_iterations=1).factor(0, None) == 0.3


@pytest.mark.parametrize(("success", "factor"), [(None, 1.0), (0.0, 1.0), (0.8, 1.0), (0.80001, 0.0), (1.0, 0.0)])
def test_penalties_wait_while_zooming_succeeds_more_often_than_wanted(success: float | None, factor: float) -> None:
    assert PenaltySchedule(WEIGHTS, max_success=0.8).factor(7, success) == factor


def test_the_default_never_waits() -> None:
    assert PenaltySchedule(WEIGHTS).factor(0, 1.0) == 1.0
    assert PenaltySchedule(WEIGHTS).is_constant
    assert PenaltySchedule({"outcome": 1.0, "cost": 0.0}, end=0.0).is_constant
    assert not PenaltySchedule(WEIGHTS, end=0.0).is_constant
    assert not PenaltySchedule(WEIGHTS, max_success=0.9).is_constant


@pytest.mark.parametrize(
    ("parts", "full", "half", "none"),
    [
        # 0.9 + 0.1 - 2 * 0.05 - 0.2; the penalties are 0.3 in all.
        ({"outcome": 1.0, "format": 1.0, "cost": -2.0, "zoom_used": -1.0}, 0.7, 0.85, 1.0),
        ({"outcome": 0.0, "format": 1.0, "cost": -4.0, "zoom_used": -1.0}, -0.3, -0.1, 0.1),
        ({"outcome": 1.0, "format": 0.0, "cost": 0.0, "zoom_used": 0.0}, 0.9, 0.9, 0.9),
        # Measured, not trained on.
        ({"outcome": 1.0, "many_frames": -1.0}, 0.9, 0.9, 0.9),
        ({}, 0.0, 0.0, 0.0),
    ],
)
def test_penalties_count_by_the_factor_and_praise_in_full(
    parts: dict[str, float], full: float, half: float, none: float
) -> None:
    schedule, breakdown = PenaltySchedule(WEIGHTS), RewardBreakdown(full, parts, is_right=True)
    found = [schedule.scaled(breakdown, factor) for factor in (1.0, 0.5, 0.0)]
    assert [reward.total for reward in found] == pytest.approx([full, half, none])
    assert all((reward.parts, reward.is_right) == (parts, True) for reward in found)


def test_without_penalties_equal_rewards_are_equal_to_the_last_bit() -> None:
    schedule = PenaltySchedule({"outcome": 0.9, "cost": 0.1})
    totals = {
        schedule.scaled(RewardBreakdown(0.9 - 0.1 * n, {"outcome": 1.0, "cost": -float(n)}), 0.0).total
        for n in range(5)
    }
    assert totals == {0.9}


def test_the_running_rate_follows_slowly_and_knows_when_nobody_tried() -> None:
    rate = running_success(None, 4, 1)
    assert rate == 0.25
    rate = running_success(rate, 10, 10)
    assert rate == pytest.approx(0.8 * 0.25 + 0.2)
    assert running_success(rate, 0, 0) == rate
    assert running_success(None, 0, 0) is None


@pytest.mark.parametrize("values", [{"start": -0.1}, {"end": -1.0}, {"max_success": 1.1}, {"num_iterations": -1}])
def test_values_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must not be negative, max_success is from 0 to 1"):
        PenaltySchedule(WEIGHTS, **values)  # type: ignore[arg-type]
