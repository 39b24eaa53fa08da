"""The learning curves of a run: which metrics are drawn, in which group, with which evaluations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from videozoom.experiments.report_charts import Marker, Series, line_chart, number_text, smoothed
from videozoom.experiments.report_words import START, interval_of, policy_words
from videozoom.experiments.statistics import Interval
from videozoom.rollout.markup import Html, element
from videozoom.rollout.metrics import spec_of

MetricRow = Mapping[str, Any]
SUPERVISED_LOSS = "loss/sft"
CHARTS_PER_ROW = 4
PHASE_NAMES = {"grounding": "say what happens when", "cot": "reason, zoom, answer"}


@dataclass(frozen=True, slots=True)
class Chart:
    """One metric and its title; `evaluated` names its value in the results and in evaluations."""

    metric: str
    title: str
    evaluated: str | None = None


CHARTS: dict[str, tuple[Chart, ...]] = {
    "Is it learning?": (
        Chart("reward/outcome/mean", "Right answers", "accuracy"),
        Chart("reward/zoom_step/mean", "Reward of single zooms"),
        Chart("group/zero_std/rate", "Groups without a signal"),
        Chart("reward/total/mean", "Reward of all episodes"),
    ),
    "Is it looking?": (
        Chart("zoom/hit/rate", "Zooms that see the evidence", "zoom_hit_rate"),
        Chart("zoom/iou/mean", "Best overlap (IoU)"),
        Chart("zoom/span_s/mean", "Length of a zoom"),
        Chart("zoom/malformed/rate", "Outputs that are no action"),
    ),
    "Is it stable?": (
        Chart("policy/entropy/mean", "Entropy per token"),
        Chart("policy/sampler_logprob_gap/max", "Sampler against learner"),
        Chart("optim/grad_norm", "Gradient norm"),
        Chart("episode/truncated/rate", "Cut by the token limit"),
    ),
    "Is it fast?": (
        Chart("time/step_s", "Time of an iteration"),
        Chart("time/rollout_s", "Time of sampling"),
        Chart("time/update_s", "Time of learning"),
        Chart("perf/generated_tokens_per_s", "Tokens sampled per second"),
    ),
}


def curve_sections(
    metrics: Sequence[MetricRow], rows: Mapping[str, MetricRow], *, chance: float | None, evidence_s: float | None
) -> list[Html]:
    """Return the groups of charts that have values.

    Args:
        metrics: Rows of `metrics.jsonl`, in order.
        rows: The results table by policy; its first and last points are drawn where a run logged no evaluations.
        chance: Accuracy of guessing, drawn as a level.
        evidence_s: Mean length of the evidence, drawn as a level.
    """
    phases = _by_phase(metrics)
    supervised = {name: phase for name, phase in phases.items() if any(SUPERVISED_LOSS in row for row in phase)}
    reinforced = {name: phase for name, phase in phases.items() if name not in supervised}
    references = {}
    if chance is not None:
        references["reward/outcome/mean"] = (chance, "guessing")
    if evidence_s is not None:
        references["zoom/span_s/mean"] = (evidence_s, "evidence")
    sections = []
    for title, charts in CHARTS.items():
        figures = [figure for chart in charts if (figure := _figure(chart, reinforced, rows, references))]
        if title == "Is it learning?" and (cold_start := _supervised_figure(supervised)):
            figures = [cold_start, *figures[: CHARTS_PER_ROW - 1]]
        if figures:
            grid = element("div", figures, class_="charts")
            sections.append(element("section", element("h3", title), grid))
    return sections


def curve_legend(metrics: Sequence[MetricRow]) -> Html:
    """Return the colours of the phases and how to read dots, lines and circles."""
    entries: list[Html] = []
    for name in _by_phase(metrics):
        entries.append(element("span", element("i", class_=f"swatch style-{name}"), _phase_name(name)))
    reading = "Dots are single iterations, lines their moving average; rings are evaluations on "
    reading += "held-out videos, the first one that of the cold start."
    return element("div", element("p", entries, class_="legend"), element("p", reading, class_="fine"))


def _by_phase(metrics: Sequence[MetricRow]) -> dict[str, list[MetricRow]]:
    phases: dict[str, list[MetricRow]] = {}
    for row in metrics:
        phases.setdefault(str(row.get("phase", "training")), []).append(row)
    return phases


def _phase_name(phase: str) -> str:
    return f"cold start: {PHASE_NAMES[phase]}" if phase in PHASE_NAMES else policy_words(phase).name


def _supervised_figure(phases: Mapping[str, Sequence[MetricRow]]) -> Html | None:
    """Return the loss of the supervised phases, one after another."""
    series: list[Series] = []
    boundaries: list[float] = []
    offset = 0.0
    for name, phase in phases.items():
        points = [(x, row[SUPERVISED_LOSS]) for x, row in _numbered(phase) if SUPERVISED_LOSS in row]
        first = points[0][0]
        shift = offset - first if first < offset else 0.0
        points = [(x + shift, y) for x, y in points]
        if series:
            boundaries.append(points[0][0])
        offset = points[-1][0] + 1
        series.append(Series(_phase_name(name), name, tuple(points)))
    if not series:
        return None
    chart = line_chart("Supervised loss", series, unit="nats", boundaries=boundaries)
    return _with_caption("Cold start: loss per token", series[-1:], "nats", spec_of(SUPERVISED_LOSS).reading, chart)


def _figure(
    chart: Chart,
    phases: Mapping[str, Sequence[MetricRow]],
    rows: Mapping[str, MetricRow],
    references: Mapping[str, tuple[float, str]],
) -> Html | None:
    series = []
    for name, phase in phases.items():
        points = tuple(
            (x, float(row[chart.metric])) for x, row in _numbered(phase) if row.get(chart.metric) is not None
        )
        if points:
            series.append(Series(_phase_name(name), name, points))
    if not series:
        return None
    markers = [marker for name, phase in phases.items() for marker in _markers(chart, name, phase, rows)]
    spec = spec_of(chart.metric)
    unit = _unit(chart.metric, spec.unit)
    reference = references.get(chart.metric)
    drawing = line_chart(chart.title, series, unit=unit, markers=markers, reference=reference)
    return _with_caption(chart.title, series, unit, spec.reading, drawing)


def _with_caption(title: str, series: Sequence[Series], unit: str, reading: str, chart: Html) -> Html:
    ends = [
        element("span", number_text(smoothed(s.points)[-1][1], unit), class_=f"end style-{s.style}", title=s.label)
        for s in series
    ]
    head = element("p", element("b", title), element("span", ends, class_="ends"), class_="chart-head")
    caption = element("figcaption", reading.replace("`", ""))
    return element("figure", head, element("div", chart, element("output", class_="tip", hidden=True)), caption)


def _markers(
    chart: Chart, phase_name: str, phase: Sequence[MetricRow], rows: Mapping[str, MetricRow]
) -> Iterator[Marker]:
    """Yield the evaluations of a phase: those it logged, and start and end from the results."""
    if chart.evaluated is None:
        return
    logged = dict(_logged_evaluations(chart.evaluated, phase))
    last_x = max((x for x, _ in _numbered(phase)), default=0.0)
    for policy, x in ((START, 0.0), (phase_name, last_x)):
        row = rows.get(policy, {})
        if x not in logged and row.get(chart.evaluated) is not None:
            logged[x] = (row[chart.evaluated], interval_of(row, chart.evaluated))
    for x, (value, interval) in sorted(logged.items()):
        style = START if x == 0.0 else phase_name
        yield Marker(f"held-out, iteration {x:g}", style, x, value, interval)


def _logged_evaluations(
    evaluated: str, phase: Sequence[MetricRow]
) -> Iterator[tuple[float, tuple[float, Interval | None]]]:
    for x, row in _numbered(phase):
        for name, value in row.items():
            if name.startswith("eval/") and name.partition("/")[2].partition("/")[2] == evaluated and value is not None:
                low, high = (row.get(f"{name}_ci95_{end}") for end in ("low", "high"))
                yield x, (value, None if low is None or high is None else Interval(low, high))


def _numbered(phase: Sequence[MetricRow]) -> Iterator[tuple[float, MetricRow]]:
    for index, row in enumerate(phase, start=1):
        yield float(row.get("progress/iteration", index)), row


def _unit(metric: str, unit: str) -> str:
    if metric.endswith("/rate") or metric == "reward/outcome/mean":
        return "rate"
    return "" if unit in ("1", "1/s", "reward") else unit
