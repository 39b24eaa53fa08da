"""Penalties that change over a training: faded in or out, and gated by how often zooming succeeds.

Environments know nothing of a training, so an episode is scored with its penalties in full; `PenaltySchedule.scaled`
then takes them to their share.

Source: VideoZoomer, released code: a target of the rate of successful tool calls, a linear change of penalties.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from videozoom.rewards.facts import RewardBreakdown
from videozoom.rewards.rubric import PENALTIES

_INERTIA = 0.8
"""What the running rate keeps of itself when a new one comes."""


@dataclass(frozen=True, slots=True)
class PenaltySchedule:
    """The factor of all penalties in each iteration.

    Example:
        >>> schedule = PenaltySchedule({"cost": 0.1}, start=0.0, end=1.0, num_iterations=11)
        >>> [schedule.factor(iteration, None) for iteration in (0, 5, 10, 50)]
        [0.0, 0.5, 1.0, 1.0]

    Raises:
        ValueError: a value is out of range.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    """Weights of all rewards by name, as the rubric has them."""
    start: float = 1.0
    """Factor in the first iteration."""
    end: float = 1.0
    """Factor in the last; between them it changes linearly."""
    num_iterations: int = 1
    max_success: float = 1.0
    """Penalties are taken while the running rate of success is at most this; 1 for always."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        if min(self.start, self.end) < 0 or not 0 <= self.max_success <= 1 or self.num_iterations < 0:
            raise ValueError(
                f"start {self.start}, end {self.end}, max_success {self.max_success}, num_iterations "
                f"{self.num_iterations}: factors and iterations must not be negative, max_success is from 0 to 1"
            )

    @property
    def is_constant(self) -> bool:
        """Whether the factor is always 1, or there is nothing it applies to."""
        has_penalties = any(self.weights.get(name) for name in PENALTIES)
        return not has_penalties or (self.start == self.end == self.max_success == 1.0)

    def factor(self, iteration: int, success: float | None) -> float:
        """Return the factor of an iteration, counted from 0, at a running rate of success, `None` if there is none yet.

        Example:
            >>> schedule = PenaltySchedule({"cost": 0.1}, max_success=0.9)
            >>> schedule.factor(3, None), schedule.factor(3, 0.9), schedule.factor(3, 0.95)
            (1.0, 1.0, 0.0)
        """
        if success is not None and success > self.max_success:
            return 0.0
        share = min(1.0, iteration / max(1, self.num_iterations - 1))
        return self.start + share * (self.end - self.start)

    def scaled(self, breakdown: RewardBreakdown, factor: float) -> RewardBreakdown:
        """Return a reward whose penalties count by a factor; its parts, which have no weights, stay as they are.

        Example:
            Half of the penalty leaves 0.8 of 0.7 = 0.9 - 2 * 0.1:

            >>> schedule = PenaltySchedule({"outcome": 0.9, "cost": 0.1})
            >>> schedule.scaled(RewardBreakdown(0.7, {"outcome": 1.0, "cost": -2.0}), 0.5).total
            0.8
        """
        # Added up again instead of changed: rewards that are equal without penalties must be so to the last bit.
        total = 0.0
        for name, value in breakdown.parts.items():
            total += self.weights.get(name, 0.0) * (factor if name in PENALTIES else 1.0) * value
        return replace(breakdown, total=total)


def running_success(before: float | None, num_tried: int, num_succeeded: int) -> float | None:
    """Return the running rate of success after an iteration: an exponential mean, the first one taken as it is.

    Example:
        >>> running_success(None, 8, 6), running_success(0.75, 4, 4), running_success(0.75, 0, 0)
        (0.75, 0.8, 0.75)
    """
    if not num_tried:
        return before
    rate = num_succeeded / num_tried
    return rate if before is None else _INERTIA * before + (1.0 - _INERTIA) * rate
