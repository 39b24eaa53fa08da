"""The numbers of a study: means over seeds with intervals, paired differences, and what became of the paper's claims.

Every seed has its own videos, weights and samples, so what a training brings is known from as many values as there are
seeds: intervals are Student's, over seeds. Beside them stands how far the differences are certain for the very models
that were trained: a bootstrap over pairs, the same task of the same seed under two cells.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import Any

from videozoom.experiments.statistics import Difference, Interval, bootstrap_interval, paired_difference, t_interval
from videozoom.experiments.study import Claim
from videozoom.experiments.study_measures import MEASURES, mean_by_measure
from videozoom.experiments.study_plan import CellRun, Plan, StepKind, row_name
from videozoom.experiments.study_steps import StepCache
from videozoom.experiments.tracking import STEP

LAST_ITERATIONS = 10
"""How many iterations `sampled_hit_rate` is a mean over."""


class Verdict(StrEnum):
    """What a study says about an order that the paper reports."""

    SHOWN = "shown"
    """The difference's interval over seeds lies above zero."""
    SHOWN_HERE = "shown_here"
    """Only its interval over tasks does: true of these models, open for others."""
    OPEN = "open"
    """Neither lies on one side of zero."""
    REVERSED_HERE = "reversed_here"
    REVERSED = "reversed"
    MISSING = "missing"
    """One of the cells has no numbers."""


@dataclass(frozen=True, slots=True)
class RunNumbers:
    """What was measured in one cell with one seed."""

    episodes: Sequence[Mapping[str, Any]]
    wholes: Mapping[str, float]
    """Measures that are one number of a whole training or evaluation."""

    def value(self, measure: str) -> float | None:
        """Return a measure, `None` if nothing has it."""
        return mean_by_measure(self.episodes, measure) if MEASURES[measure].is_of_episodes else self.wholes.get(measure)

    def by_task(self, measure: str) -> dict[str, float]:
        """Return a measure of every episode that has it."""
        return {row["task_id"]: row[measure] for row in self.episodes if measure in row}


Seeds = Mapping[int, RunNumbers]
"""What was measured in one cell, by seed."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One cell against another: the means of `b - a`, paired by seed and by task."""

    by_seed: Mapping[int, float]
    over_seeds: Interval | None
    """Student's interval; `None` with one seed."""
    over_tasks: Interval | None
    """Bootstrap over pairs of all seeds; `None` for what is one number of a whole training or evaluation."""

    @property
    def mean(self) -> float:
        """Return the mean over seeds."""
        return fmean(self.by_seed.values())

    @property
    def verdict(self) -> Verdict:
        """Return whether `b` is above `a`."""
        if (certain := self.over_seeds) is not None and Difference(self.mean, certain).excludes_zero:
            return Verdict.SHOWN if certain.low > 0 else Verdict.REVERSED
        if (here := self.over_tasks) is not None and Difference(self.mean, here).excludes_zero:
            return Verdict.SHOWN_HERE if here.low > 0 else Verdict.REVERSED_HERE
        return Verdict.OPEN

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "mean": self.mean,
            "ci95_seeds": _pair(self.over_seeds),
            "ci95_tasks": _pair(self.over_tasks),
            "by_seed": {str(seed): value for seed, value in self.by_seed.items()},
        }


def compare(a: Seeds, b: Seeds, measure: str) -> Comparison | None:
    """Return how far `b` is above `a` in a measure, over the seeds that both have; `None` if there is none.

    Tasks are paired where every episode has the measure. One that only some have, such as accuracy in 2 steps, is
    compared by its means: the episodes that happen to have it in both cells would be others than the table is about.

    Example:
        >>> a = {0: RunNumbers([{"task_id": "x", "accuracy": 0.0}, {"task_id": "y", "accuracy": 1.0}], {})}
        >>> b = {0: RunNumbers([{"task_id": "x", "accuracy": 1.0}, {"task_id": "y", "accuracy": 1.0}], {})}
        >>> compare(a, b, "accuracy").mean
        0.5
    """
    differences: dict[int, float] = {}
    pairs: list[tuple[float, float]] = []
    for seed in (seed for seed in a if seed in b):
        means = a[seed].value(measure), b[seed].value(measure)
        if means[0] is None or means[1] is None:
            continue
        differences[seed] = means[1] - means[0]
        if (shared := _shared(a[seed], b[seed], measure)) is not None:
            pairs += shared
            differences[seed] = fmean(second - first for first, second in shared)
    if not differences:
        return None
    over_tasks = paired_difference(*map(list, zip(*pairs, strict=True))).interval if pairs else None
    values = list(differences.values())
    return Comparison(differences, t_interval(values) if len(values) > 1 else None, over_tasks)


def _shared(a: RunNumbers, b: RunNumbers, measure: str) -> list[tuple[float, float]] | None:
    """Return a measure of the tasks that could be read in both cells; `None` if some of them do not have it."""
    of_a, of_b = a.by_task(measure), b.by_task(measure)
    readable = [{row["task_id"] for row in it.episodes if "error" not in row} for it in (a, b)]
    tasks = sorted(readable[0] & readable[1])
    if not tasks or any(task not in of_a or task not in of_b for task in tasks):
        return None
    return [(of_a[task], of_b[task]) for task in tasks]


def summary(numbers: Seeds, measure: str) -> dict[str, Any] | None:
    """Return mean, interval and values by seed of a measure; `None` if nothing has it.

    The interval is over seeds; with one seed, over tasks. It is cut off at 0, that of a rate also at 1.
    """
    values = {seed: value for seed, it in numbers.items() if (value := it.value(measure)) is not None}
    if not values:
        return None
    interval = t_interval(list(values.values())) if len(values) > 1 else None
    episodes = [value for it in numbers.values() for value in it.by_task(measure).values()]
    over_tasks = bootstrap_interval(episodes) if episodes and MEASURES[measure].is_of_episodes else None
    interval = interval or over_tasks
    if interval is not None:
        most = 1.0 if MEASURES[measure].unit == "rate" else interval.high
        interval = Interval(max(0.0, interval.low), min(most, interval.high))
    return {
        "mean": fmean(values.values()),
        "ci95": _pair(interval),
        "ci95_over": "seeds" if len(values) > 1 else "tasks",
        "by_seed": {str(seed): value for seed, value in values.items()},
    }


def study_results(plan: Plan, cache: StepCache) -> dict[str, Any]:
    """Return what `results.json` of a study holds, with whatever is finished."""
    study = plan.study
    numbers: dict[str, dict[int, RunNumbers]] = {run.row: {} for run in plan.runs}
    failed: dict[str, dict[str, str]] = {}
    for run in plan.runs:
        if (measured := _numbers(run, cache)) is not None:
            numbers[run.row][run.seed] = measured
        elif (failure := cache.failure(run.step)) is not None:
            failed.setdefault(run.row, {})[str(run.seed)] = failure
    first = {run.row: run for run in reversed(plan.runs)}
    rows = [_row(plan, first[name], numbers, failed.get(name, {})) for name in numbers]
    return {
        "schema_version": 1,
        "study": study.name,
        "title": study.title,
        "seeds": list(dict.fromkeys(run.seed for run in plan.runs)),
        "num_runs": len(plan.runs),
        "num_finished": sum(map(len, numbers.values())),
        "rows": rows,
        "claims": [_claim(claim, point, numbers) for claim in study.claims for point in study.points()],
    }


def _numbers(run: CellRun, cache: StepCache) -> RunNumbers | None:
    result = cache.find(run.step)
    if result is None:
        return None
    trained = [found.cpu_s for step in run.training if (found := cache.find(step)) is not None]
    wholes = {"eval_cpu_s": result.cpu_s, "eval_peak_mib": result.peak_mib}
    if run.step.iteration is None:
        # A checkpoint on the way did not take the whole training.
        wholes["training_cpu_s"] = sum(trained)
    logged = [row for step in run.training if step.kind is StepKind.GRPO for row in cache.metrics(step)]
    if (hits := late_mean(logged, "zoom/hit/rate", until=run.step.iteration)) is not None:
        wholes["sampled_hit_rate"] = hits
    return RunNumbers(result.facts["episodes"], wholes)


def late_mean(rows: Iterable[Mapping[str, Any]], metric: str, *, until: int | None) -> float | None:
    """Return a metric's mean over the last `LAST_ITERATIONS` of a training, or the last up to `until`.

    Rows of an iteration that was done again count once; `None` if no row has the metric.

    Example:
        >>> rows = [{"progress/iteration": i, "x": float(i)} for i in range(1, 41)]
        >>> late_mean(rows, "x", until=None), late_mean(rows, "x", until=20)
        (35.5, 15.5)
    """
    values = {row[STEP]: row[metric] for row in rows if row.get(metric) is not None}
    last = until if until is not None else max(values, default=0)
    late = [value for iteration, value in values.items() if last - LAST_ITERATIONS < iteration <= last]
    return fmean(late) if late else None


def _row(plan: Plan, run: CellRun, numbers: Mapping[str, Seeds], failed: Mapping[str, str]) -> dict[str, Any]:
    study, cell, here = plan.study, plan.study.cells[run.cell], numbers[run.row]
    other = study.compared_with(run.cell)
    base = row_name(other, run.point) if other else None
    differences = {
        measure: found.as_dict() | {"verdict": found.verdict.value}
        for measure in study.measures
        if base and (found := compare(numbers[base], here, measure)) is not None
    }
    return {
        "row": run.row,
        "cell": run.cell,
        "point": dict(run.point),
        "label": cell.label,
        "num_tasks": {str(seed): sum("error" not in row for row in it.episodes) for seed, it in here.items()},
        "measures": {name: row for name in study.measures if (row := summary(here, name)) is not None},
        "baseline": base,
        "differences": differences,
        "paper": cell.paper,
        "failed": dict(failed),
    }


def _claim(claim: Claim, point: Mapping[str, str], numbers: Mapping[str, Seeds]) -> dict[str, Any]:
    higher, lower = (numbers[row_name(name, point)] for name in (claim.higher, claim.lower))
    row = {**claim.model_dump(), "point": dict(point)}
    found = compare(lower, higher, claim.measure)
    if found is None:
        return row | {"verdict": Verdict.MISSING.value}
    intervals = [summary(it, claim.measure) for it in (lower, higher)]
    low, high = (it["ci95"] if it else None for it in intervals)
    apart = low[1] < high[0] if low and high and len(found.by_seed) > 1 else None
    return row | found.as_dict() | {"verdict": found.verdict.value, "intervals_are_apart": apart}


def _pair(interval: Interval | None) -> list[float] | None:
    return list(interval) if interval is not None else None
