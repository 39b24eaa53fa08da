"""Charts: scales, ticks, smoothing, and what is left out."""

import json
import re
from itertools import pairwise

import pytest
from drawn_rollouts import Page

from videozoom.experiments.report_charts import (
    MAX_DOTS,
    Marker,
    Series,
    interval_bar,
    line_chart,
    number_text,
    smoothed,
    ticks,
)
from videozoom.experiments.statistics import Interval


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "s", "0 s"),
        (0.875, "rate", "87.5 %"),
        (2.3e-6, "nats", "2.3e-06 nats"),
        (12345.6, "", "12,346"),
        (float("nan"), "s", "not a number"),
        (-0.5, "", "-0.50"),
    ],
)
def test_numbers_have_sensible_precision(value: float, unit: str, text: str) -> None:
    assert number_text(value, unit) == text


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (0.0, 3e-6), (-2.0, 5.0), (0.0, 99999.0), (3.0, 3.0), (0.0, 0.0)]
)
def test_ticks_cover_the_range_in_few_even_steps(low: float, high: float) -> None:
    values = ticks(low, high)
    assert values[0] <= low
    assert values[-1] >= high
    assert 2 <= len(values) <= 7
    steps = {round((after - before) / (values[1] - values[0]), 6) for before, after in pairwise(values)}
    assert steps == {1.0}


def test_smoothing_keeps_a_line_straight_inside_and_short_curves_as_they_are() -> None:
    line = [(x, float(x)) for x in range(48)]
    assert smoothed(line)[4:-4] == line[4:-4]
    assert smoothed(line)[0] == (0, 2.0)
    assert smoothed(line[:5]) == line[:5]


def test_higher_values_are_drawn_higher() -> None:
    chart = Page(line_chart("t", [Series("a", "agent", ((0.0, 0.0), (10.0, 1.0)))], unit="rate"))
    (curve,) = chart.of("path", "curve")
    (x_from, y_from), (x_to, y_to) = re.findall(r"([\d.]+) ([\d.]+)", curve["d"] or "")
    assert float(x_from) < float(x_to)
    assert float(y_from) > float(y_to)


def test_values_that_are_not_finite_are_left_out() -> None:
    points = ((0.0, 1.0), (1.0, float("nan")), (2.0, float("inf")), (3.0, 2.0))
    chart = Page(line_chart("t", [Series("a", "agent", points)]))
    (svg,) = chart.of("svg")
    assert [point[1] for point in json.loads(svg["data-series"] or "")[0]["points"]] == [0.0, 3.0]
    assert "nan" not in str(chart.tags)


def test_long_curves_are_thinned() -> None:
    chart = Page(line_chart("t", [Series("a", "agent", tuple((float(x), 1.0) for x in range(5000)))]))
    (dots,) = chart.of("path", "dots")
    assert (dots["d"] or "").count("M") <= MAX_DOTS


def test_an_empty_chart_is_still_a_chart() -> None:
    assert Page(line_chart("t", [])).of("svg")[0]["aria-label"] == "t: no values"


def test_markers_and_levels_are_drawn_and_named() -> None:
    marker = Marker("held-out", "agent", 5.0, 0.5, Interval(0.4, 0.6))
    series = [Series("a", "agent", ((0.0, 0.2), (10.0, 0.9)))]
    chart = Page(line_chart("t", series, unit="rate", markers=[marker], reference=(0.25, "guessing"), boundaries=[4.0]))
    assert (
        len(chart.of("circle", "marker")) == len(chart.of("path", "whisker")) == len(chart.of("line", "boundary")) == 1
    )
    assert "held-out: 50.0 % (40.0 % to 60.0 %)" in chart.text
    assert "guessing" in chart.text


def test_a_level_outside_the_axis_is_left_out() -> None:
    chart = line_chart("t", [Series("a", "agent", ((0.0, 0.2), (10.0, 0.9)))], reference=(7.0, "guessing"))
    assert "guessing" not in chart


def test_bars_end_at_their_value() -> None:
    (bar,) = Page(interval_bar(0.5, Interval(0.25, 0.75), "agent", chance=0.25)).of("rect", "bar")
    assert float(bar["width"] or 0) == pytest.approx(59.0)
    (empty,) = Page(interval_bar(0.0, None, "agent")).of("rect", "bar")
    assert float(empty["width"] or 1) == 0.0
