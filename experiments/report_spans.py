"""Where an agent looks: histograms of its zooms, with the evidence beside."""

from collections.abc import Callable, Mapping

from videozoom.envs.tasks import Span
from videozoom.experiments.report_plots import Sample, captioned, histogram
from videozoom.experiments.report_traces import Rows
from videozoom.experiments.report_words import LEARNED, START, main_policy, policy_words
from videozoom.rollout.markup import Html, element

_Measure = Callable[[Span, float], float]


def spans_section(evaluations: Mapping[str, Rows], title: str = "") -> Html | None:
    """Return histograms of starts, middles and lengths of zooms in the last evaluations; `None` without a zoom.

    Args:
        evaluations: Of a run.
        title: Whose they are, where a page has several.
    """
    policy = main_policy(list(evaluations))
    if policy is None:
        return None
    policies = [START, policy] if policy in LEARNED and START in evaluations else [policy]
    zooms = {name: _spans(evaluations[name]) for name in policies}
    if not any(zooms.values()):
        return None
    evidence = [
        (Span(*span), row["task"]["duration_s"]) for row in evaluations[policy] for span in row["task"]["evidence"]
    ]
    longest_s = max(span.length_s for spans in (*zooms.values(), evidence) for span, _ in spans)
    charts = (
        ("Start of a zoom", "In seconds from the start of the video.", _start, _last_s(zooms, evidence), ""),
        ("Where in the video", "Middle of the zoom as a share of the video: 0 % is its start.", _middle, 1.0, "rate"),
        ("Length of a zoom", "In seconds. Longer than the evidence is easy; shorter is risky.", _length, longest_s, ""),
    )
    figures = []
    for name, caption, measure, high, unit in charts:
        samples = [Sample("evidence", "evidence", _measured(evidence, measure))]
        samples += [Sample(policy_words(it).name, it, _measured(zooms[it], measure)) for it in policies]
        figures.append(captioned(name, histogram(name, samples, high=high, unit=unit), caption))
    keys = [("evidence", "evidence"), *((policy_words(it).name, it) for it in policies)]
    legend = [element("span", element("i", class_=f"swatch style-{style}"), label) for label, style in keys]
    return element(
        "div",
        element("h3", title) if title else None,
        element("p", legend, class_="legend"),
        element("div", figures, class_="charts"),
    )


def _spans(rows: Rows) -> list[tuple[Span, float]]:
    return [(Span(*span), row["task"]["duration_s"]) for row in rows for span in row["spans_s"]]


def _measured(spans: list[tuple[Span, float]], measure: _Measure) -> tuple[float, ...]:
    return tuple(measure(span, duration_s) for span, duration_s in spans)


def _last_s(zooms: Mapping[str, list[tuple[Span, float]]], evidence: list[tuple[Span, float]]) -> float:
    return max(duration_s for spans in (*zooms.values(), evidence) for _, duration_s in spans)


def _start(span: Span, _: float) -> float:
    return span.start_s


def _middle(span: Span, duration_s: float) -> float:
    return (span.start_s + span.end_s) / 2 / duration_s


def _length(span: Span, _: float) -> float:
    return span.length_s
