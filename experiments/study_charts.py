"""Pictures of studies as inline SVG: a measure by cell with its intervals, or along an axis with a line per cell."""

from collections.abc import Mapping, Sequence
from typing import Any

from videozoom.experiments.report_charts import Marker, Scale, Series, line_chart, number_text, ticks
from videozoom.experiments.statistics import Interval
from videozoom.experiments.study import Plot
from videozoom.experiments.study_measures import MEASURES
from videozoom.rollout.markup import Html, element

WIDTH_PX, ROW_PX, LABEL_PX, RIGHT_PX, TOP_PX = 620, 30, 250, 70, 8
STYLES = ("cold_start", "multi_step_grpo", "decoupled_grpo", "run-5", "run-6", "oracle")
"""Colours of lines along an axis, in the order of the cells."""

Rows = Sequence[Mapping[str, Any]]


def cell_chart(plot: Plot, rows: Rows) -> Html:
    """Return means with intervals, one line of the picture per row; dots are single seeds."""
    measure = MEASURES[plot.measure]
    drawn = [row for row in rows if row["cell"] in plot.cells or not plot.cells]
    shown = [(row, found) for row in drawn if (found := row["measures"].get(plot.measure)) is not None]
    ends = [end for _, found in shown for end in (*(found["ci95"] or ()), *found["by_seed"].values())]
    marks = (
        [0.0, 0.25, 0.5, 0.75, 1.0] if measure.unit == "rate" else ticks(min(0.0, *ends, 0.0), max(ends, default=1.0))
    )
    scale = Scale(marks[0], marks[-1], LABEL_PX, WIDTH_PX - RIGHT_PX)
    height = TOP_PX + ROW_PX * len(shown) + 24
    parts = [_grid(scale, marks, measure.unit, height)]
    for index, (row, found) in enumerate(shown):
        parts.append(_row(row["label"] if not row["point"] else row["row"], found, scale, measure.unit, index))
    description = "; ".join(f"{row['row']} {number_text(found['mean'], measure.unit)}" for row, found in shown)
    return element(
        "svg",
        parts,
        class_="chart cells-chart",
        viewBox=f"0 0 {WIDTH_PX} {height}",
        role="img",
        aria_label=f"{plot.title}: {description}",
    )


def axis_chart(plot: Plot, rows: Rows) -> Html:
    """Return one line per cell over the values of an axis, with intervals: of a measure, or of differences in it."""
    assert plot.over is not None  # otherwise it is a chart by cell
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    values = [float(row["point"][plot.over]) for row in rows]
    # Whiskers of neighbouring cells would hide each other.
    aside = (max(values) - min(values)) / 120
    series, markers = [], []
    unit = MEASURES[plot.measure].unit
    is_rate = unit == "rate"
    for index, cell in enumerate(cells):
        if plot.cells and cell not in plot.cells:
            continue
        style, shift = STYLES[index % len(STYLES)], aside * (index - (len(cells) - 1) / 2)
        points = []
        for row in rows:
            found = row["differences" if plot.is_difference else "measures"].get(plot.measure)
            if row["cell"] != cell or found is None:
                continue
            x = float(row["point"][plot.over]) + shift
            points.append((x, found["mean"]))
            ends = (found["ci95_seeds"] or found["ci95_tasks"]) if plot.is_difference else found["ci95"]
            # A few seeds may have wider intervals than a measure has values.
            interval = Interval(*((max(-1.0, min(1.0, end)) for end in ends) if is_rate else ends)) if ends else None
            singles = tuple(found["by_seed"].values()) if plot.is_difference else ()
            markers.append(Marker(row["row"], style, x, found["mean"], interval, singles))
        if points:
            label = next(row["label"] for row in rows if row["cell"] == cell)
            series.append(Series(label, style, tuple(sorted(points))))
    return line_chart(
        plot.title, series, unit=unit, markers=markers, reference=(0.0, "") if plot.is_difference else None
    )


def axis_legend(rows: Rows) -> Html:
    """Return which colour stands for which cell."""
    labels = {row["cell"]: row["label"] for row in rows}
    items = [
        element("span", element("span", class_=f"swatch style-{STYLES[index % len(STYLES)]}"), label)
        for index, label in enumerate(labels.values())
    ]
    return element("p", items, class_="legend")


def _grid(scale: Scale, marks: Sequence[float], unit: str, height: int) -> Html:
    parts = []
    for mark in marks:
        text = f"{mark * 100:.0f} %" if unit == "rate" else f"{mark:g}"
        parts.append(element("line", x1=scale(mark), x2=scale(mark), y1=TOP_PX, y2=height - 20))
        parts.append(element("text", text, x=scale(mark), y=height - 6, text_anchor="middle"))
    return element("g", parts, class_="grid")


def _row(label: str, found: Mapping[str, Any], scale: Scale, unit: str, index: int) -> Html:
    y = TOP_PX + ROW_PX * index + ROW_PX / 2
    text = number_text(found["mean"], unit)
    parts = [element("title", f"{label}: {text}"), element("text", label, x=LABEL_PX - 12, y=y + 4, text_anchor="end")]
    if found["ci95"]:
        low, high = (scale(end) for end in found["ci95"])
        parts.append(element("path", d=f"M{low} {y}H{high}M{low} {y - 4}v8M{high} {y - 4}v8", class_="whisker"))
    parts += [element("circle", cx=scale(it), cy=y, r=2.5, class_="seed") for it in found["by_seed"].values()]
    parts.append(element("circle", cx=scale(found["mean"]), cy=y, r=5, class_="marker style-agent"))
    parts.append(element("text", text, x=WIDTH_PX - 4, y=y + 4, text_anchor="end"))
    return element("g", parts)
