"""Credit per step: what training praised and blamed, zooms and answers apart, over iterations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from videozoom.experiments.report_charts import Series, line_chart, number_text
from videozoom.experiments.report_plots import captioned
from videozoom.experiments.report_traces import Credit, CreditKey, StepKind, policies_with_credit
from videozoom.experiments.report_words import policy_words
from videozoom.rollout.markup import Html, element

_BY_ACTION = {
    StepKind.ZOOM: ("zooms", "credit-zoom"),
    StepKind.ANSWER: ("answers", "credit-answer"),
    StepKind.SINGLE_ZOOM: ("single zooms", "credit-single"),
    StepKind.INVALID: ("no valid action", "credit-invalid"),
}
_BY_SIGHT = {
    StepKind.ZOOM_SEES: ("zooms that see the evidence", "credit-answer"),
    StepKind.ZOOM_MISSES: ("zooms that miss it", "credit-zoom"),
}


@dataclass(frozen=True, slots=True)
class _Plot:
    title: str
    words: Mapping[StepKind, tuple[str, str]]
    """Label and style of each kind that is drawn."""
    value: Callable[[Credit], float]
    caption: str
    unit: str = ""


_PLOTS = (
    _Plot("Mean advantage", _BY_ACTION, lambda it: it.mean, "Above 0: these steps were made more likely."),
    _Plot("Share praised", _BY_ACTION, lambda it: it.positive_rate, "Steps with an advantage above 0.", "rate"),
    _Plot(
        "Right against wrong zooms",
        _BY_SIGHT,
        lambda it: it.mean,
        "Mean advantage of zooms in whole episodes. Close together: the reward does not tell where to look.",
    ),
    _Plot(
        "Praised, right or wrong",
        _BY_SIGHT,
        lambda it: it.positive_rate,
        "The line of zooms that miss is how often a look into the wrong place was praised.",
        "rate",
    ),
)


def credit_section(credit: Mapping[CreditKey, Credit], title: str = "") -> Html | None:
    """Return charts of the advantage that steps of each kind were given, `None` without training episodes.

    Args:
        credit: Of a run's training.
        title: Whose it is, where a page has several.
    """
    policies = policies_with_credit(credit)
    if not policies:
        return None
    blocks = [_policy_block(credit, policy, is_alone=len(policies) == 1) for policy in policies]
    return element("div", element("h3", title) if title else None, blocks)


def _policy_block(credit: Mapping[CreditKey, Credit], policy: str, *, is_alone: bool) -> Html:
    figures = [_figure(credit, policy, plot) for plot in _PLOTS]
    heading = None if is_alone else element("h4", policy_words(policy).name)
    legend = element("p", [_key(label, style) for label, style in _BY_ACTION.values()], class_="legend")
    return element(
        "div", heading, legend, element("div", [it for it in figures if it], class_="charts"), _table(credit, policy)
    )


def _key(label: str, style: str) -> Html:
    return element("span", element("i", class_=f"swatch style-{style}"), label)


def _figure(credit: Mapping[CreditKey, Credit], policy: str, plot: _Plot) -> Html | None:
    series = []
    for kind, (label, style) in plot.words.items():
        points = sorted(
            (float(key.iteration), plot.value(it))
            for key, it in credit.items()
            if key.policy == policy and key.kind == kind
        )
        if points:
            series.append(Series(label, style, tuple(points)))
    if not series:
        return None
    chart = line_chart(plot.title, series, unit=plot.unit)
    return captioned(plot.title, element("div", chart, element("output", class_="tip", hidden=True)), plot.caption)


def _table(credit: Mapping[CreditKey, Credit], policy: str) -> Html:
    """Return the sums over the whole training: what the charts show, as numbers."""
    heads = ("Step", "Steps", "Mean advantage", "Praised")
    body = []
    for kind, (label, style) in {**_BY_ACTION, **_BY_SIGHT}.items():
        whole = _sum([it for key, it in credit.items() if key.policy == policy and key.kind == kind])
        if whole.num_steps:
            cells = (f"{whole.num_steps:,}", f"{whole.mean:+.3f}", number_text(whole.positive_rate, "rate"))
            body.append(
                element(
                    "tr",
                    element("th", element("i", class_=f"swatch style-{style}"), label, scope="row"),
                    [
                        element("td", cell, data_label=head, class_="number")
                        for head, cell in zip(heads[1:], cells, strict=True)
                    ],
                )
            )
    head = element("tr", [element("th", text, scope="col") for text in heads])
    return element("table", element("thead", head), element("tbody", body), class_="results plain")


def _sum(parts: Sequence[Credit]) -> Credit:
    return Credit(
        sum(it.num_steps for it in parts), sum(it.total for it in parts), sum(it.num_positive for it in parts)
    )
