"""Small charts as inline SVG: curves over iterations, and bars with whiskers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10

from videozoom.experiments.statistics import Interval
from videozoom.rollout.markup import Html, element

WIDTH_PX, HEIGHT_PX = 270, 168
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 42, 8, 12, 24
MAX_DOTS = 400
"""More raw values than this are thinned in the drawing; the smoothed line uses all of them."""


@dataclass(frozen=True, slots=True)
class Series:
    """One curve. `style` names its colour class, e.g. `decoupled_grpo`."""

    label: str
    style: str
    points: tuple[tuple[float, float], ...]
    """`(x, y)` pairs, ascending in x."""


@dataclass(frozen=True, slots=True)
class Marker:
    """One evaluation: a dot with a whisker."""

    label: str
    style: str
    x: float
    y: float
    interval: Interval | None = None
    values: tuple[float, ...] = ()
    """What it is the mean of, drawn as small dots."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to pixels, linearly."""

    low: float
    high: float
    start_px: float
    end_px: float

    def __call__(self, value: float) -> float:
        """Return the pixel of `value`."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start_px + share * (self.end_px - self.start_px), 1)


def number_text(value: float, unit: str = "") -> str:
    """Return a number with sensible precision and its unit; unit `rate` reads as per cent.

    Example:
        >>> [number_text(x) for x in (0.123456, 12.345, 1234.5, 0.00001234)]
        ['0.12', '12.3', '1,234', '1.2e-05']
        >>> number_text(0.875, "rate"), number_text(4.0, "s")
        ('87.5 %', '4.0 s')
    """
    if not isfinite(value):
        return "not a number"
    if unit == "rate":
        return f"{value * 100:.1f} %"
    size = abs(value)
    if size == 0:
        text = "0"
    elif size < 1e-3:
        text = f"{value:.1e}"
    elif size < 1:
        text = f"{value:.3f}" if size < 0.1 else f"{value:.2f}"
    elif size < 100:
        text = f"{value:.1f}"
    else:
        text = f"{value:,.0f}"
    return f"{text} {unit}".rstrip()


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return round values (1, 2 or 5 times a power of ten apart) that cover `[low, high]`.

    Example:
        >>> ticks(0.0, 0.93)
        [0.0, 0.5, 1.0]
        >>> ticks(-3.0, 41.0)
        [-20.0, 0.0, 20.0, 40.0, 60.0]
    """
    # What is left of rounding is no height.
    span = next((span for span in (high - low, abs(high)) if span > 1e-9), 1.0)
    raw = span / count
    power = 10.0 ** floor(log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first = floor(low / step + 1e-9)
    last = first + 1
    while last * step < high - step * 1e-6:
        last += 1
    return [round(index * step, 12) for index in range(first, last + 1)]


def smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return a centred moving average over about a sixth of the points; short curves stay as they are.

    Example:
        >>> smoothed([(0, 1.0), (1, 5.0)])
        [(0, 1.0), (1, 5.0)]
    """
    half = len(points) // 12
    average = []
    for index, (x, _) in enumerate(points):
        window = [y for _, y in points[max(0, index - half) : index + half + 1]]
        average.append((x, sum(window) / len(window)))
    return average


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    unit: str = "",
    markers: Sequence[Marker] = (),
    boundaries: Sequence[float] = (),
    reference: tuple[float, str] | None = None,
) -> Html:
    """Return an SVG of curves over iterations: single values as faint dots, their moving average as a line.

    Args:
        title: What is drawn; read out by screen readers.
        series: Curves; values that are not finite are left out.
        unit: `rate` is drawn in per cent.
        markers: Evaluations, drawn over the curves.
        boundaries: Where one phase ends and the next begins.
        reference: `(y, label)` of a level to compare with, e.g. chance.
    """
    series = [Series(s.label, s.style, tuple(p for p in s.points if isfinite(p[1]))) for s in series]
    series = [s for s in series if s.points]
    x_scale, y_scale, y_ticks = _scales(series, markers, unit)
    parts: list[Html] = [grid(y_scale, y_ticks, unit), x_axis(x_scale)]
    parts += [_boundary(x_scale(x)) for x in boundaries]
    if reference and y_scale.low <= reference[0] <= y_scale.high:
        parts.append(_reference(y_scale(reference[0]), reference[1]))
    parts += [_curve(s, x_scale, y_scale) for s in series]
    parts += [_marker(m, x_scale, y_scale, unit) for m in markers]
    parts.append(element("line", class_="cursor", y1=TOP_PX, y2=HEIGHT_PX - BOTTOM_PX, visibility="hidden"))
    return element(
        "svg",
        parts,
        class_="chart",
        viewBox=f"0 0 {WIDTH_PX} {HEIGHT_PX}",
        role="img",
        aria_label=f"{title}: {_description(series, unit)}",
        data_series=_hover_data(series, x_scale, unit),
    )


def interval_bar(value: float, interval: Interval | None, style: str, *, chance: float | None = None) -> Html:
    """Return a bar from 0 to 100 % with its whisker, and a dashed line at `chance`."""
    scale = Scale(0.0, 1.0, 1.0, 119.0)
    parts = [
        element("rect", class_="track", x=1, y=5, width=118, height=10, rx=2),
        element("rect", class_=f"bar style-{style}", x=1, y=5, width=round(scale(value) - 1, 1), height=10, rx=2),
    ]
    if chance is not None:
        parts.append(element("line", class_="chance", x1=scale(chance), x2=scale(chance), y1=1, y2=19))
    if interval:
        parts.append(element("path", d=f"M{scale(interval.low)} 6v8M{scale(interval.high)} 6v8", class_="whisker"))
        parts.append(element("path", d=f"M{scale(interval.low)} 10H{scale(interval.high)}", class_="whisker"))
    return element("svg", parts, class_="interval", viewBox="0 0 120 20", aria_hidden="true")


def _scales(series: Sequence[Series], markers: Sequence[Marker], unit: str) -> tuple[Scale, Scale, list[float]]:
    xs = [x for s in series for x, _ in s.points] + [m.x for m in markers] or [0.0]
    ys = [y for s in series for _, y in s.points] + [m.y for m in markers] or [0.0]
    ys += [end for m in markers for end in (*(m.interval or ()), *m.values)]
    if unit == "rate" and max(ys) > 0.5 and min(ys) >= 0.0:
        y_ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    else:
        # Zero belongs to every axis: a flat curve looks flat. Rates keep at least 10 % of height.
        y_ticks = ticks(min(0.0, *ys), max(0.1 if unit == "rate" else 0.0, *ys))
    x_low, x_high = min(xs), max(xs)
    pad = (x_high - x_low) * 0.02 or 0.5
    x_scale = Scale(x_low - pad, x_high + pad, LEFT_PX, WIDTH_PX - RIGHT_PX)
    return x_scale, Scale(y_ticks[0], y_ticks[-1], HEIGHT_PX - BOTTOM_PX, TOP_PX), y_ticks


def grid(scale: Scale, values: Sequence[float], unit: str) -> Html:
    """Return the horizontal lines of a chart with their values."""
    rows = []
    for value in values:
        text = f"{value * 100:.0f} %" if unit == "rate" else f"{value:g}"
        y = scale(value)
        rows.append(element("line", x1=LEFT_PX, x2=WIDTH_PX - RIGHT_PX, y1=y, y2=y))
        rows.append(element("text", text, x=LEFT_PX - 6, y=round(y + 3.5, 1), text_anchor="end"))
    return element("g", rows, class_="grid")


def x_axis(scale: Scale, unit: str = "") -> Html:
    """Return the values below a chart."""
    values = [value for value in ticks(scale.low, scale.high, 5) if scale.low <= value <= scale.high]
    y = HEIGHT_PX - BOTTOM_PX + 15
    texts = [f"{value * 100:.0f} %" if unit == "rate" else f"{value:g}" for value in values]
    labels = [
        element("text", text, x=scale(value), y=y, text_anchor="middle")
        for text, value in zip(texts, values, strict=True)
    ]
    return element("g", labels, class_="grid")


def _boundary(x: float) -> Html:
    return element("line", x1=x, x2=x, y1=TOP_PX, y2=HEIGHT_PX - BOTTOM_PX, class_="boundary")


def _reference(y: float, label: str) -> Html:
    line = element("line", x1=LEFT_PX, x2=WIDTH_PX - RIGHT_PX, y1=y, y2=y)
    text = element("text", label, x=WIDTH_PX - RIGHT_PX, y=round(y + 12, 1), text_anchor="end")
    return element("g", line, text, class_="reference")


def _curve(series: Series, x_scale: Scale, y_scale: Scale) -> Html:
    stride = max(1, -(-len(series.points) // MAX_DOTS))
    dots = [f"M{x_scale(x)} {y_scale(y)}h0" for x, y in series.points[::stride]]
    raw, line = (
        "M" + "L".join(f"{x_scale(x)} {y_scale(y)}" for x, y in points[::stride])
        for points in (series.points, smoothed(series.points))
    )
    # The page shows dots and the moving average, or the raw line, as the reader chooses.
    return element(
        "g",
        element("path", d="".join(dots), class_="dots"),
        element("path", d=line, class_="curve"),
        element("path", d=raw, class_="raw"),
        class_=f"series style-{series.style}",
    )


def _marker(marker: Marker, x_scale: Scale, y_scale: Scale, unit: str) -> Html:
    x, y = x_scale(marker.x), y_scale(marker.y)
    parts = []
    text = f"{marker.label}: {number_text(marker.y, unit)}"
    if marker.interval:
        low, high = y_scale(marker.interval.low), y_scale(marker.interval.high)
        parts.append(element("path", d=f"M{x} {low}V{high}M{x - 3} {low}h6M{x - 3} {high}h6", class_="whisker"))
        text += f" ({number_text(marker.interval.low, unit)} to {number_text(marker.interval.high, unit)})"
    parts += [element("circle", cx=x, cy=y_scale(it), r=2, class_="value") for it in marker.values]
    parts.append(element("circle", cx=x, cy=y, r=4, class_="marker"))
    return element("g", element("title", text), parts, class_=f"series style-{marker.style}")


def _description(series: Sequence[Series], unit: str) -> str:
    texts = []
    for s in series:
        line = smoothed(s.points)
        texts.append(f"{s.label} from {number_text(line[0][1], unit)} to {number_text(line[-1][1], unit)}")
    return "; ".join(texts) or "no values"


def _hover_data(series: Sequence[Series], x_scale: Scale, unit: str) -> str:
    """Return what the page's script shows beside the pointer: pixel, iteration and value of each point."""
    data = []
    for s in series:
        stride = max(1, -(-len(s.points) // MAX_DOTS))
        points = [[x_scale(x), x, number_text(y, unit)] for x, y in s.points[::stride]]
        data.append({"label": s.label, "style": s.style, "points": points})
    return json.dumps(data, separators=(",", ":"))
