"""The learning curves of runs: which metrics are drawn, in which group, with which evaluations."""

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
        Chart("zoom/used/rate", "Episodes that look closer"),
        Chart("zoom/answered_unseen/rate", "Answers without the evidence"),
        Chart("episode/num_steps/mean", "Steps of an episode"),
        Chart("episode/visual_tokens/mean", "Visual tokens of an episode"),
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


@dataclass(frozen=True, slots=True)
class Track:
    """What one training logged: a run, or one of several trainings of a run."""

    label: str
    style: str
    """Name of its colour in the page's style sheet."""
    policy: str
    """Its name in the results; the phase of its metrics."""
    metrics: Sequence[MetricRow]
    rows: Mapping[str, MetricRow]
    """The results of its run by policy: first and last points where evaluations were not logged."""
    start_style: str = START


def tracks_of_run(metrics: Sequence[MetricRow], rows: Mapping[str, MetricRow]) -> list[Track]:
    """Return the trainings of one run, each in the colour of its policy."""
    return [Track(_phase_name(name), name, name, phase, rows) for name, phase in _reinforced(metrics).items()]


def tracks_of_runs(runs: Mapping[str, tuple[Sequence[MetricRow], Mapping[str, MetricRow]]]) -> list[Track]:
    """Return the trainings of several runs by name, each run in a colour of its own.

    Args:
        runs: Metrics and results of each run.
    """
    tracks = []
    for index, (run, (metrics, rows)) in enumerate(runs.items()):
        phases = _reinforced(metrics)
        for name, phase in phases.items():
            label = f"{run}: {_phase_name(name)}" if len(phases) > 1 else run
            tracks.append(Track(label, run_style(index), name, phase, rows, start_style=run_style(index)))
    return tracks


def run_style(index: int) -> str:
    """Return the name of the colour of the run at `index`; there are eight, which then repeat."""
    return f"run-{index % 8 + 1}"


def supervised_series(metrics: Sequence[MetricRow]) -> list[Series]:
    """Return the loss of the stages of a cold start, one after another."""
    series: list[Series] = []
    offset = 0.0
    for name, phase in by_phase(metrics).items():
        points = [(x, row[SUPERVISED_LOSS]) for x, row in _numbered(phase) if row.get(SUPERVISED_LOSS) is not None]
        if not points:
            continue
        shift = offset - points[0][0] if points[0][0] < offset else 0.0
        points = [(x + shift, y) for x, y in points]
        offset = points[-1][0] + 1
        series.append(Series(_phase_name(name), name, tuple(points)))
    return series


def curve_sections(
    tracks: Sequence[Track],
    cold_starts: Sequence[Series] = (),
    *,
    chance: float | None,
    evidence_s: float | None,
) -> list[Html]:
    """Return the groups of charts that have values.

    Args:
        tracks: Trainings, drawn over each other.
        cold_starts: Losses of supervised stages.
        chance: Accuracy of guessing, drawn as a level.
        evidence_s: Mean length of the evidence, drawn as a level.
    """
    references = {}
    if chance is not None:
        references["reward/outcome/mean"] = (chance, "guessing")
    if evidence_s is not None:
        references["zoom/span_s/mean"] = (evidence_s, "evidence")
    sections = []
    for title, charts in CHARTS.items():
        figures = [figure for chart in charts if (figure := _figure(chart, tracks, references))]
        if title == "Is it learning?" and cold_starts:
            figures = [_supervised_figure(cold_starts), *figures[: CHARTS_PER_ROW - 1]]
        if figures:
            grid = element("div", figures, class_="charts")
            sections.append(element("div", element("h3", title), grid))
    return sections


def curve_legend(entries: Sequence[tuple[str, str]]) -> Html:
    """Return the colours, how to read dots, lines and rings, and the choice between smooth and raw lines.

    Args:
        entries: `(label, style)` of every curve; a click on one hides it.
    """
    keys = [
        element("button", element("i", class_=f"swatch style-{style}"), label, type="button", data_style=style)
        for label, style in entries
    ]
    smooth = element("label", element("input", type="checkbox", id="smooth", checked=True), " moving average")
    reading = "Dots are single iterations, lines their moving average; rings are evaluations on "
    reading += "held-out videos, the first one that of the cold start. A click on a name hides its curve."
    return element(
        "div",
        element("p", keys, smooth, class_="legend keys"),
        element("p", reading, class_="fine"),
        class_="curve-head",
    )


def by_phase(metrics: Sequence[MetricRow]) -> dict[str, list[MetricRow]]:
    """Return metric rows by phase, in order."""
    phases: dict[str, list[MetricRow]] = {}
    for row in metrics:
        phases.setdefault(str(row.get("phase", "training")), []).append(row)
    return phases


def _reinforced(metrics: Sequence[MetricRow]) -> dict[str, list[MetricRow]]:
    phases = by_phase(metrics)
    return {name: phase for name, phase in phases.items() if not any(SUPERVISED_LOSS in row for row in phase)}


def _phase_name(phase: str) -> str:
    return f"cold start: {PHASE_NAMES[phase]}" if phase in PHASE_NAMES else policy_words(phase).name


def _supervised_figure(series: Sequence[Series]) -> Html:
    is_one_run = len({s.style for s in series}) == len(series)
    boundaries = [s.points[0][0] for s in series[1:]] if is_one_run else []
    chart = line_chart("Supervised loss", series, unit="nats", boundaries=boundaries)
    ends = series[-1:] if is_one_run else ()
    return _with_caption("Cold start: loss per token", ends, "nats", spec_of(SUPERVISED_LOSS).caption, chart)


def _figure(chart: Chart, tracks: Sequence[Track], references: Mapping[str, tuple[float, str]]) -> Html | None:
    series = []
    for track in tracks:
        points = tuple(
            (x, float(row[chart.metric])) for x, row in _numbered(track.metrics) if row.get(chart.metric) is not None
        )
        if points:
            series.append(Series(track.label, track.style, points))
    if not series:
        return None
    markers = [marker for track in tracks for marker in _markers(chart, track)]
    spec = spec_of(chart.metric)
    unit = _unit(chart.metric, spec.unit)
    reference = references.get(chart.metric)
    drawing = line_chart(chart.title, series, unit=unit, markers=markers, reference=reference)
    return _with_caption(chart.title, series, unit, spec.caption, drawing)


def _with_caption(title: str, series: Sequence[Series], unit: str, caption: str, chart: Html) -> Html:
    ends = [
        element("span", number_text(smoothed(s.points)[-1][1], unit), class_=f"end style-{s.style}", title=s.label)
        for s in series
    ]
    head = element("p", element("b", title), element("span", ends, class_="ends"), class_="chart-head")
    below = element("figcaption", caption.replace("`", ""))
    return element("figure", head, element("div", chart, element("output", class_="tip", hidden=True)), below)


def _markers(chart: Chart, track: Track) -> Iterator[Marker]:
    """Yield the evaluations of a training: those it logged, and start and end from the results."""
    if chart.evaluated is None:
        return
    logged = dict(_logged_evaluations(chart.evaluated, track.metrics))
    last_x = max((x for x, _ in _numbered(track.metrics)), default=0.0)
    for policy, x in ((START, 0.0), (track.policy, last_x)):
        row = track.rows.get(policy, {})
        if x not in logged and row.get(chart.evaluated) is not None:
            logged[x] = (row[chart.evaluated], interval_of(row, chart.evaluated))
    for x, (value, interval) in sorted(logged.items()):
        style = track.start_style if x == 0.0 else track.style
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
