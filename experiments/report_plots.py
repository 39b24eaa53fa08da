"""Charts beside the curves, as inline SVG: histograms, and accuracy against what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from videozoom.experiments.report_charts import (
    BOTTOM_PX,
    HEIGHT_PX,
    LEFT_PX,
    RIGHT_PX,
    TOP_PX,
    WIDTH_PX,
    Scale,
    grid,
    number_text,
    ticks,
    x_axis,
)
from videozoom.experiments.statistics import Interval
from videozoom.rollout.markup import Html, element

NUM_BINS = 16
LETTER_PX = 3.4
"""Width of a letter beside a point."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Values of one kind, for a histogram."""

    label: str
    style: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one policy gets right, and what it takes."""

    label: str
    style: str
    cost: float
    accuracy: float
    interval: Interval | None = None
    series: str = ""
    """Points of one series are joined in order of cost; empty for a point alone."""
    short: str = ""
    """What stands beside the point, if not its label."""

    @property
    def mark(self) -> str:
        """What stands beside the point."""
        return self.short or self.label


def histogram(title: str, samples: Sequence[Sample], *, high: float, unit: str = "") -> Html:
    """Return an SVG of how values are spread over `[0, high]`, in shares of each sample; the first is filled.

    Args:
        title: What is counted; read out by screen readers.
        samples: Drawn over each other; values above `high` count in the last bin.
        high: End of the axis.
        unit: `rate` is drawn in per cent.
    """
    samples = [sample for sample in samples if sample.values]
    edges = np.linspace(0.0, high, NUM_BINS + 1)
    shares = [np.histogram(np.clip(sample.values, 0.0, high), edges)[0] / len(sample.values) for sample in samples]
    y_ticks = ticks(0.0, max((float(share.max()) for share in shares), default=0.1))
    x_scale = Scale(0.0, high, LEFT_PX, WIDTH_PX - RIGHT_PX)
    y_scale = Scale(0.0, y_ticks[-1], HEIGHT_PX - BOTTOM_PX, TOP_PX)
    parts = [grid(y_scale, y_ticks, "rate"), x_axis(x_scale, unit)]
    for index, (sample, share) in enumerate(zip(samples, shares, strict=True)):
        steps = [f"{x_scale(low)} {y_scale(value)}H{x_scale(end)}" for low, end, value in _bins(edges, share)]
        floor = HEIGHT_PX - BOTTOM_PX
        path = f"M{LEFT_PX} {floor}L{'L'.join(steps)}V{floor}"
        kind = "area" if index == 0 else "outline"
        parts.append(element("path", d=path, class_=f"{kind} style-{sample.style}"))
    spoken = "; ".join(
        f"{sample.label}: {len(sample.values)}, median {number_text(float(np.median(sample.values)), unit)}"
        for sample in samples
    )
    return _svg(parts, f"{title}: {spoken or 'no values'}")


def cost_chart(title: str, costs: Sequence[Cost], *, chance: float | None = None) -> Html:
    """Return an SVG of accuracy over cost with intervals; points of a series are joined."""
    highest = max((cost.cost for cost in costs), default=1.0) or 1.0
    x_scale = Scale(0.0, ticks(0.0, 1.15 * highest, 5)[-1], LEFT_PX, WIDTH_PX - RIGHT_PX)
    y_scale = Scale(0.0, 1.0, HEIGHT_PX - BOTTOM_PX, TOP_PX)
    parts = [grid(y_scale, [0.0, 0.25, 0.5, 0.75, 1.0], "rate"), x_axis(x_scale)]
    if chance is not None:
        y = y_scale(chance)
        line = element("line", x1=LEFT_PX, x2=WIDTH_PX - RIGHT_PX, y1=y, y2=y)
        text = element("text", "guessing", x=WIDTH_PX - RIGHT_PX, y=round(y + 12, 1), text_anchor="end")
        parts.append(element("g", line, text, class_="reference"))
    for series in dict.fromkeys(cost.series for cost in costs if cost.series):
        points = sorted((it for it in costs if it.series == series), key=lambda it: it.cost)
        path = "M" + "L".join(f"{x_scale(it.cost)} {y_scale(it.accuracy)}" for it in points)
        parts.append(element("path", d=path, class_=f"outline style-{points[0].style}"))
    parts += [_point(cost, x_scale, y_scale) for cost in costs]
    parts += _labels(costs, x_scale, y_scale)
    spoken = "; ".join(f"{it.label} {number_text(it.accuracy, 'rate')} at {it.cost:,.0f}" for it in costs)
    return _svg(parts, f"{title}: {spoken or 'no values'}")


def _point(cost: Cost, x_scale: Scale, y_scale: Scale) -> Html:
    x, y = x_scale(cost.cost), y_scale(cost.accuracy)
    parts = [element("title", f"{cost.label}: {number_text(cost.accuracy, 'rate')} at {cost.cost:,.0f} visual tokens")]
    if cost.interval:
        low, high = y_scale(cost.interval.low), y_scale(cost.interval.high)
        parts.append(element("path", d=f"M{x} {low}V{high}M{x - 3} {low}h6M{x - 3} {high}h6", class_="whisker"))
    parts.append(element("circle", cx=x, cy=y, r=4, class_="marker"))
    return element("g", parts, class_=f"style-{cost.style}")


def _labels(costs: Sequence[Cost], x_scale: Scale, y_scale: Scale) -> list[Html]:
    """Return the names of points beside them, where there is room; the points of a series have theirs above."""
    markers = [(x_scale(it.cost), y_scale(it.accuracy)) for it in costs]
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in markers]
    labels = []
    for cost, (x, y) in sorted(zip(costs, markers, strict=True), key=lambda it: bool(it[0].series)):
        width = LETTER_PX * len(cost.mark)
        places = [(x - width / 2, y - 7.0)] if cost.series else []
        places += [(left, y + down) for down in (2.5, 9, -4, 16, -11, 23) for left in (x + 6, x - 6 - width)]
        boxes = [(left, base - LETTER_PX * 1.6, left + width, base + 1) for left, base in places]
        free = (index for index, box in enumerate(boxes) if _is_inside(box) and not _touches(box, taken))
        chosen = next(free, 0)
        left, _, right, base = boxes[chosen]
        taken.append(boxes[chosen])
        if chosen > 1 + bool(cost.series):
            # Too far away to be told apart from others: a line leads to the point.
            end = left if left > x else right
            labels.append(element("line", x1=x, y1=y, x2=round(end, 1), y2=round(base - LETTER_PX, 1), class_="leader"))
        labels.append(element("text", cost.mark, x=round(left, 1), y=round(base - 1, 1), class_="point"))
    return labels


def _is_inside(box: tuple[float, float, float, float]) -> bool:
    return box[0] > LEFT_PX and box[2] < WIDTH_PX


def _touches(box: tuple[float, float, float, float], others: Sequence[tuple[float, float, float, float]]) -> bool:
    left, top, right, bottom = box
    return any(left < other[2] and other[0] < right and top < other[3] and other[1] < bottom for other in others)


def _bins(edges: np.ndarray, shares: np.ndarray) -> list[tuple[float, float, float]]:
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), shares.tolist(), strict=True))


def _svg(parts: Sequence[Html], spoken: str) -> Html:
    view = f"0 0 {WIDTH_PX} {HEIGHT_PX}"
    return element("svg", parts, class_="chart still", viewBox=view, role="img", aria_label=spoken)


def captioned(title: str, chart: Html, caption: str) -> Html:
    """Return a chart between its title and how to read it."""
    return element(
        "figure", element("p", element("b", title), class_="chart-head"), chart, element("figcaption", caption)
    )
