"""The registry of metric names: unit, direction, meaning and reading of everything a run logs.

Grammar of a name: `<section>/<noun>[/<stat>]`, lower snake case, units as suffix. The stat, when there is one, is how
the values of one iteration were reduced. What is registered stands in `metric_rows*.py`;
a test fails when a name anywhere in the code is not.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from videozoom.rollout.metric_rows import AGENT_ROWS, EVAL_ROWS, Row
from videozoom.rollout.metric_rows_answers import ANSWER_ROWS
from videozoom.rollout.metric_rows_machine import MACHINE_ROWS

STATS = ("mean", "std", "min", "max", "p10", "p90", "sum", "rate")

SECTIONS = {
    "progress": "How far the run is",
    "reward": "What is praised",
    "group": "Whether groups have something to teach",
    "episode": "What episodes are like",
    "zoom": "Whether and where the agent looks",
    "answer": "How right answers are, by the kind of question, where there are others than multiple choice",
    "policy": "How the policy moves",
    "loss": "What the update is made of",
    "optim": "The optimizer",
    "video": "What reading videos costs, and what caches spare",
    "perf": "Speed",
    "time": "Where the time goes",
    "ray": "Worker processes",
    "eval": "Held-out tasks, measured with the weights of the iteration",
}
"""First words of names, in the order in which people read them, and what each section tells."""

ANY_DATASET = "<dataset>"
"""Stands for the name of the evaluated tasks in registered names, as in `eval/<dataset>/accuracy`."""


class Direction(StrEnum):
    """Which way a metric moves when a run goes well."""

    UP = "up"
    DOWN = "down"
    NONE = "none"
    """Neither: it describes, or has a healthy range."""


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """What a metric is and how to read it.

    Example:
        >>> METRICS["zoom/span_s/p90"].reducer, METRICS["zoom/span_s/p90"].unit
        ('p90', 's')
    """

    name: str
    unit: str
    direction: Direction
    meaning: str
    """What is measured."""
    reading: str
    """What it tells the person who watches."""

    @property
    def section(self) -> str:
        """One of `SECTIONS`."""
        return self.name.split("/", 1)[0]

    @property
    def caption(self) -> str:
        """Meaning and reading, as they stand below a chart."""
        return f"{self.meaning} {self.reading}"

    @property
    def reducer(self) -> str:
        """How the values of an iteration become one number: one of `STATS`, or `value` if there is only one."""
        last = self.name.rsplit("/", 1)[-1]
        return last if last in STATS else "value"


def _expand(row: Row) -> Iterable[MetricSpec]:
    noun, *stats = row.names.split()
    for name in [f"{noun}/{stat}" for stat in stats] or [noun]:
        yield MetricSpec(name, row.unit, Direction(row.direction), row.meaning, row.reading)


_EVAL_ROWS = tuple(row._replace(names=f"eval/{ANY_DATASET}/{row.names}") for row in EVAL_ROWS)

METRICS: dict[str, MetricSpec] = {
    spec.name: spec for row in (*AGENT_ROWS, *ANSWER_ROWS, *MACHINE_ROWS, *_EVAL_ROWS) for spec in _expand(row)
}
"""Every metric by name; those of evaluations under `eval/<dataset>/...`."""


def spec_of(name: str) -> MetricSpec:
    """Return the spec of a metric.

    Evaluations log `eval/<dataset>/<metric>`, where `<metric>` is one of their own or any other of the registry.

    Raises:
        ValueError: The name is not registered; says the nearest that is.

    Example:
        >>> spec_of("eval/held_out/accuracy").meaning
        'Right answers on held-out tasks.'
    """
    general, bare = name, name
    if name.startswith("eval/") and name.count("/") >= 2:
        bare = name.split("/", 2)[2]
        general = f"eval/{ANY_DATASET}/{bare}"
    for known in (general, bare):
        if known in METRICS:
            return replace(METRICS[known], name=name)
    near = difflib.get_close_matches(general, METRICS, n=1)
    hint = f"; the nearest is {near[0]!r}" if near else ""
    raise ValueError(f"metric {name!r} is not in the registry{hint}: register it in rollout/metric_rows.py")


def check_names(names: Iterable[str]) -> None:
    """Raise `ValueError` for the first name that is not registered."""
    for name in names:
        spec_of(name)
