"""Learning curves of a study: reinforcement learning of every cell, as a mean over seeds."""

from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from videozoom.experiments.report_charts import Series, line_chart
from videozoom.experiments.study_charts import STYLES
from videozoom.experiments.study_plan import Plan, Step, StepKind
from videozoom.experiments.study_steps import StepCache
from videozoom.experiments.tracking import STEP
from videozoom.rollout.markup import Html, element

_CURVES = {
    "reward/outcome/mean": ("Right answers in training", "rate"),
    "zoom/hit/rate": ("A zoom sees the evidence", "rate"),
    "zoom/iou/mean": ("IoU of zooms and evidence", ""),
    "zoom/span_s/mean": ("Length of zooms, s", ""),
    "policy/entropy/mean": ("Entropy", ""),
}
_MOST_CELLS = len(STYLES)


def curve_section(plan: Plan, cache: StepCache) -> Html | None:
    """Return learning curves of cells that trained something of their own; `None` if there are none, or too many."""
    cells = _trainings(plan)
    if not 1 < len(cells) <= _MOST_CELLS:
        return None
    curves = {label: [cache.metrics(step) for step in steps] for label, steps in cells.items()}
    figures = []
    for metric, (title, unit) in _CURVES.items():
        series = [
            Series(label, style, points)
            for (label, runs), style in zip(curves.items(), STYLES, strict=False)
            if (points := mean_curve(runs, metric))
        ]
        if series:
            chart = element("div", line_chart(title, series, unit=unit))
            figures.append(element("figure", element("p", title, class_="chart-head"), chart))
    if not figures:
        return None
    swatches = [
        element("span", element("span", class_=f"swatch style-{style}"), label)
        for label, style in zip(cells, STYLES, strict=False)
    ]
    return element(
        "section",
        element("h2", "Reinforcement learning"),
        element("p", "Mean over seeds, by iteration, of the training's own episodes.", class_="fine"),
        element("p", swatches, class_="legend"),
        element("div", figures, class_="charts"),
        class_="curves",
    )


def mean_curve(runs: Iterable[Iterable[Mapping[str, Any]]], metric: str) -> tuple[tuple[float, float], ...]:
    """Return a metric by iteration, as a mean over the runs that have it there.

    Example:
        >>> mean_curve([[{"progress/iteration": 1, "x": 1.0}], [{"progress/iteration": 1, "x": 3.0}]], "x")
        ((1.0, 2.0),)
    """
    values: dict[float, list[float]] = {}
    for rows in runs:
        for row in rows:
            if row.get(metric) is not None:
                values.setdefault(float(row[STEP]), []).append(row[metric])
    return tuple((iteration, fmean(values[iteration])) for iteration in sorted(values))


def _trainings(plan: Plan) -> dict[str, list[Step]]:
    """Return the reinforcement learning of each row that is not the same as that of a row before, by label."""
    found: dict[str, list[Step]] = {}
    for run in plan.runs:
        label = run.row if run.point else plan.study.cells[run.cell].label
        for step in run.training:
            if step.kind is StepKind.GRPO and all(step not in steps for name, steps in found.items() if name != label):
                found.setdefault(label, []).append(step)
    return found
