"""Alarms: what is going wrong in a run, told once, while there is still time to do something about it.

Each alarm watches one metric of each phase by itself, as the mean of the last few iterations. It is told when that mean
crosses a limit, and told again only after it was well on the other side for a while.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from statistics import fmean
from typing import Any

from videozoom.experiments.alarm_words import ADVICE, MEANINGS, WHAT


class AlarmName(StrEnum):
    """What may go wrong."""

    TOOL_USE_COLLAPSE = "tool_use_collapse"
    ENTROPY_COLLAPSE = "entropy_collapse"
    NO_VARIANCE = "no_variance"
    SAMPLER_GAP = "sampler_gap"
    DECODE_ERRORS = "decode_errors"


class AlarmState(StrEnum):
    """Whether an alarm begins or ends."""

    ON = "on"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class AlarmLimits:
    """When alarms are raised.

    Example:
        >>> AlarmLimits(tool_use=0.2).tool_use
        0.2
    """

    tool_use: float = 0.1
    """Share of episodes with a zoom below which the use of the tool has collapsed, if it was three times that once."""
    entropy_fraction: float = 1 / 3
    """Share of its start below which entropy has collapsed."""
    reward_gain: float = 0.05
    """Rise of the mean reward since the start with which falling entropy is no collapse."""
    no_variance: float = 0.95
    """Share of groups without variance above which there is nothing to learn from."""
    sampler_gap_factor: float = 10.0
    """How many times its start the difference between sampler and learner may grow."""
    sampler_gap_nats: float = 1e-4
    """Differences below this are never told."""
    decode_errors: float = 0.0
    """Largest share of episodes whose video may be unreadable."""
    window: int = 5
    """Iterations that are averaged, at the start and now."""
    recovery: int = 5
    """Iterations in a row that must be well again before an alarm is over."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One event: an alarm begins or ends."""

    name: AlarmName
    state: AlarmState
    phase: str
    iteration: int
    metric: str
    value: float
    limit: float

    @property
    def what(self) -> str:
        """What happened, in a sentence with the number."""
        if self.state == AlarmState.OVER:
            return f"{self.metric} is {self.value:.3g} again: the alarm is over."
        return f"{WHAT[self.name]}: {self.metric} is {self.value:.3g}, beyond its limit of {self.limit:.3g}."

    @property
    def text(self) -> str:
        """All there is to say, for people."""
        where = f"Iteration {self.iteration} of {self.phase}"
        more = f" {MEANINGS[self.name]} {ADVICE[self.name]}" if self.state == AlarmState.ON else ""
        return f"{where}: {self.what}{more}"

    def row(self) -> dict[str, Any]:
        """Return the line of `alarms.jsonl`."""
        values = asdict(self)
        iteration, name = values.pop("iteration"), values.pop("name")
        words = {"what": self.what, "meaning": MEANINGS[self.name], "advice": ADVICE[self.name]}
        return {"progress/iteration": iteration, "alarm": str(name), **values, **words}


Levels = Mapping[str, float]
"""What a rule decides by: means over windows, `now`, at the `start`, the `peak`; `gain` of another metric."""


@dataclass(frozen=True, slots=True)
class _Rule:
    name: AlarmName
    metric: str
    limit: Callable[[AlarmLimits, Levels], float]
    """The limit, which may depend on how the run began."""
    is_upper: bool
    """Whether values above the limit are bad; otherwise those below."""
    applies: Callable[[AlarmLimits, Levels, Mapping[str, float]], bool] = lambda limits, levels, metrics: True
    """Whether being beyond the limit is bad at all."""
    window: Callable[[AlarmLimits], int] = lambda limits: limits.window
    gain_of: str | None = None
    """A metric of which `applies` is told, as `gain`, how far its mean is above that of the start."""


_MARGIN = 1.5
"""How many times better than its limit a value must be for an alarm to be over."""

_RULES = (
    _Rule(
        AlarmName.TOOL_USE_COLLAPSE,
        "zoom/used/rate",
        lambda limits, levels: limits.tool_use,
        is_upper=False,
        # An agent that never looked has nothing to lose.
        applies=lambda limits, levels, metrics: levels["peak"] >= 3 * limits.tool_use,
    ),
    _Rule(
        AlarmName.ENTROPY_COLLAPSE,
        "policy/entropy/mean",
        lambda limits, levels: limits.entropy_fraction * levels["start"],
        is_upper=False,
        # An agent that is right nearly always, or more often than at the start, may be sure of it.
        applies=lambda limits, levels, metrics: (
            metrics.get("group/solved_all/rate", 0.0) < 0.5 and levels["gain"] < limits.reward_gain
        ),
        gain_of="reward/total/mean",
    ),
    _Rule(
        AlarmName.NO_VARIANCE,
        "group/zero_std/rate",
        lambda limits, levels: limits.no_variance,
        is_upper=True,
    ),
    _Rule(
        AlarmName.SAMPLER_GAP,
        "policy/sampler_logprob_gap/mean",
        lambda limits, levels: max(limits.sampler_gap_nats, limits.sampler_gap_factor * levels["start"]),
        is_upper=True,
    ),
    _Rule(
        AlarmName.DECODE_ERRORS,
        "video/decode_error/rate",
        lambda limits, levels: limits.decode_errors,
        is_upper=True,
        window=lambda limits: 1,
    ),
)


@dataclass(slots=True)
class _Mean:
    """The mean of the last values of one metric, `None` until there are as many as the window holds."""

    window: int
    now: float | None = None
    start: float = math.nan
    peak: float = -math.inf
    _recent: deque[float] = field(default_factory=deque)

    def add(self, value: float) -> None:
        self._recent.append(value)
        if len(self._recent) > self.window:
            self._recent.popleft()
        if len(self._recent) == self.window:
            self.start = fmean(self._recent) if self.now is None else self.start
            self.now = fmean(self._recent)
            self.peak = max(self.peak, self.now)

    @property
    def gain(self) -> float:
        """How far the mean is above that of the start; 0 until there is one."""
        return 0.0 if self.now is None else self.now - self.start


@dataclass(slots=True)
class _Watched:
    """One rule in one phase."""

    rule: _Rule
    limits: AlarmLimits
    is_on: bool = False
    _means: dict[str, "_Mean"] = field(default_factory=dict)
    _num_well: int = 0

    def observe(self, metrics: Mapping[str, float]) -> tuple[AlarmState, float, float] | None:
        """Return the event that these metrics bring, with value and limit."""
        value, beside = (self._mean(name, metrics) for name in (self.rule.metric, self.rule.gain_of))
        if value is None or value.now is None or not math.isfinite(metrics.get(self.rule.metric, math.nan)):
            return None
        now = value.now
        levels = {"now": now, "start": value.start, "peak": value.peak, "gain": beside.gain if beside else 0.0}
        limit = self.rule.limit(self.limits, levels)
        if not self.is_on:
            self.is_on = self._is_bad(now, limit) and self.rule.applies(self.limits, levels, metrics)
            self._num_well = 0
            return (AlarmState.ON, now, limit) if self.is_on else None
        self._num_well = self._num_well + 1 if self._is_well(now, limit) else 0
        if self._num_well < self.limits.recovery:
            return None
        self.is_on = False
        return (AlarmState.OVER, now, limit)

    def _mean(self, name: str | None, metrics: Mapping[str, float]) -> "_Mean | None":
        """Return the mean of a metric with its new value; one that is missing or no number changes nothing."""
        value = metrics.get(name) if name else None
        if name and value is not None and math.isfinite(value):
            self._means.setdefault(name, _Mean(self.rule.window(self.limits))).add(value)
        return self._means.get(name) if name else None

    def _is_bad(self, now: float, limit: float) -> bool:
        return now > limit if self.rule.is_upper else now < limit

    def _is_well(self, now: float, limit: float) -> bool:
        if self.rule.is_upper:
            # Shares near 1 have no room for a factor, so what lacks to 1 counts as well.
            return now <= max(limit / _MARGIN, 1 - _MARGIN * (1 - limit) if 0.5 < limit < 1 else 0.0)
        return now >= limit * _MARGIN


class AlarmWatch:
    """Watches the metrics of a run, each phase by itself."""

    def __init__(self, limits: AlarmLimits | None = None) -> None:
        self._limits = limits or AlarmLimits()
        self._phases: dict[str, list[_Watched]] = {}

    def observe(self, metrics: Mapping[str, float], iteration: int, phase: str) -> list[Alarm]:
        """Return the alarms that begin or end with these metrics."""
        watched = self._phases.setdefault(phase, [_Watched(rule, self._limits) for rule in _RULES])
        found = [(it.rule, it.observe(metrics)) for it in watched]
        return [
            Alarm(rule.name, event[0], phase, iteration, rule.metric, event[1], event[2])
            for rule, event in found
            if event
        ]
