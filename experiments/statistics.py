"""Error bars: Wilson intervals of proportions, t and bootstrap intervals of means, and paired differences."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, fmean, stdev
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
NUM_RESAMPLES = 2000


class Interval(NamedTuple):
    """A confidence interval, both ends included."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of `b - a` over pairs, and its interval.

    Example:
        >>> Difference(0.1, Interval(0.04, 0.17)).excludes_zero
        True
    """

    mean: float
    interval: Interval

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies wholly above or wholly below zero."""
        return self.interval.low > 0 or self.interval.high < 0


def wilson_interval(num_successes: int, num_trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the Wilson score interval of a proportion: inside `[0, 1]`, and sane at 0 and 1.

    Raises:
        ValueError: without a trial, with successes outside `0..num_trials`, or a confidence outside `(0, 1)`.

    Example:
        >>> tuple(round(end, 4) for end in wilson_interval(81, 263))
        (0.2553, 0.3662)

    Source: Wilson (1927); the example is Newcombe (1998), Table I, method 3.
    """
    if num_trials < 1 or not 0 <= num_successes <= num_trials:
        raise ValueError(f"cannot make an interval of {num_successes} successes in {num_trials} trials")
    z = NormalDist().inv_cdf(0.5 + _checked(confidence) / 2)
    proportion = num_successes / num_trials
    centre = (proportion + z * z / (2 * num_trials)) / (1 + z * z / num_trials)
    variance = proportion * (1 - proportion) / num_trials + z * z / (4 * num_trials**2)
    half = z * sqrt(variance) / (1 + z * z / num_trials)
    # At the ends the formula equals 0 or 1 exactly; rounding must not push it past them.
    low = 0.0 if num_successes == 0 else centre - half
    high = 1.0 if num_successes == num_trials else centre + half
    return Interval(low, high)


def bootstrap_interval(
    values: Sequence[float] | NDArray[np.float64],
    *,
    confidence: float = CONFIDENCE,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the percentile bootstrap interval of the mean of `values`; the same seed gives the same interval.

    Raises:
        ValueError: without a value, with a value that is not finite, or a confidence outside `(0, 1)`.

    Example:
        >>> bootstrap_interval([2.0, 2.0, 2.0])
        Interval(low=2.0, high=2.0)
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all():
        raise ValueError(f"a bootstrap needs a list of finite numbers, got shape {array.shape}")
    tail = (1 - _checked(confidence)) / 2
    rng = np.random.default_rng(seed)
    means = np.array([array[rng.integers(len(array), size=len(array))].mean() for _ in range(num_resamples)])
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(low), float(high))


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Return Student's t interval of the mean of a few values, such as one for each seed.

    Raises:
        ValueError: with fewer than two values, or a confidence outside `(0, 1)`.

    Example:
        >>> tuple(round(end, 3) for end in t_interval([1.0, 2.0, 3.0]))
        (-0.484, 4.484)
    """
    from scipy.special import stdtrit

    if len(values) < 2:
        raise ValueError(f"a t interval needs two values, got {len(values)}")
    quantile = float(stdtrit(len(values) - 1, 0.5 + _checked(confidence) / 2))
    half = quantile * stdev(values) / sqrt(len(values))
    return Interval(fmean(values) - half, fmean(values) + half)


def paired_difference(
    values_a: Sequence[float],
    values_b: Sequence[float],
    *,
    confidence: float = CONFIDENCE,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Return the mean of `b - a` and its bootstrap interval over pairs (the same task under two policies).

    Pairing removes what makes a task hard for both, so the interval is narrower than two separate ones suggest.

    Raises:
        ValueError: when the lists differ in length or are empty.

    Example:
        >>> paired_difference([0, 0, 1], [1, 1, 1]).mean
        0.6666666666666666
    """
    if len(values_a) != len(values_b):
        raise ValueError(f"pairs need equal lengths, got {len(values_a)} and {len(values_b)}")
    differences = np.asarray(values_b, np.float64) - np.asarray(values_a, np.float64)
    interval = bootstrap_interval(differences, confidence=confidence, num_resamples=num_resamples, seed=seed)
    return Difference(float(differences.mean()), interval)


def _checked(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    return confidence
