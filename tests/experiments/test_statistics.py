"""Intervals against published and hand-worked values."""

import numpy as np
import pytest

from videozoom.experiments.statistics import (
    Difference,
    Interval,
    bootstrap_interval,
    paired_difference,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("num_successes", "num_trials", "low", "high"),
    [
        # Newcombe (1998), Table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_wilson_matches_published_values(num_successes: int, num_trials: int, low: float, high: float) -> None:
    assert wilson_interval(num_successes, num_trials) == pytest.approx((low, high), abs=5e-5)


def test_wilson_stays_inside_zero_and_one_and_holds_the_proportion() -> None:
    for num_trials in (1, 7, 300):
        for num_successes in range(num_trials + 1):
            low, high = wilson_interval(num_successes, num_trials)
            assert 0.0 <= low <= num_successes / num_trials <= high <= 1.0


def test_wilson_narrows_with_more_trials_and_widens_with_confidence() -> None:
    def width(interval: Interval) -> float:
        return interval.high - interval.low

    assert width(wilson_interval(90, 100)) > width(wilson_interval(900, 1000))
    assert width(wilson_interval(90, 100, 0.8)) < width(wilson_interval(90, 100, 0.99))


@pytest.mark.parametrize(("num_successes", "num_trials"), [(0, 0), (3, 2), (-1, 5)])
def test_impossible_counts_are_rejected(num_successes: int, num_trials: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson_interval(num_successes, num_trials)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_impossible_confidence_is_rejected(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        wilson_interval(1, 2, confidence)
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap_interval([1.0, 2.0], confidence=confidence)


def test_bootstrap_of_many_values_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, size=400)
    low, high = bootstrap_interval(values)
    standard_error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.96 * standard_error, abs=0.3 * standard_error)
    assert high == pytest.approx(values.mean() + 1.96 * standard_error, abs=0.3 * standard_error)


def test_bootstrap_is_seeded() -> None:
    values = [0.0, 1.0, 0.5, 0.25, 4.0]
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [[1.0], [2.0]]])
def test_bootstrap_rejects_what_has_no_mean(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        bootstrap_interval(values)


def test_paired_difference_of_a_constant_gain_has_no_spread() -> None:
    assert paired_difference([0.1, 0.7, 0.4], [0.35, 0.95, 0.65]) == Difference(
        pytest.approx(0.25), Interval(pytest.approx(0.25), pytest.approx(0.25))
    )


def test_pairing_sees_a_gain_that_separate_intervals_hide() -> None:
    before = [0.0] * 100 + [1.0] * 100
    after = [1.0] * 12 + before[12:]
    difference = paired_difference(before, after)
    assert difference.mean == pytest.approx(0.06)
    assert difference.excludes_zero
    assert wilson_interval(100, 200).high > wilson_interval(112, 200).low


def test_no_change_and_balanced_change_do_not_exclude_zero() -> None:
    assert not paired_difference([0.0, 1.0], [0.0, 1.0]).excludes_zero
    assert not paired_difference([0.0, 1.0] * 20, [1.0, 0.0] * 20).excludes_zero


def test_pairs_need_equal_lengths() -> None:
    with pytest.raises(ValueError, match="equal lengths"):
        paired_difference([1.0], [1.0, 0.0])
