"""The results of a run: headline cards and the table with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from videozoom.experiments.report_charts import interval_bar, number_text
from videozoom.experiments.report_words import LEARNED, START, PolicyWords, interval_of, main_policy, policy_words
from videozoom.rollout.markup import Html, element

Row = Mapping[str, Any]


def headline_cards(results: Mapping[str, Any], rows: Mapping[str, Row], evidence_s: float | None) -> Html | None:
    """Return the few numbers a reader should leave with, each beside what it was before."""
    policy = main_policy(list(rows))
    if policy is None:
        return None
    row, start = rows[policy], rows.get(START, {}) if policy in LEARNED else {}
    cards = [
        _rate_card("Right answers", row, start, "accuracy"),
        _rate_card("Looked at the evidence", row, start, "zoom_hit_rate"),
        _span_card(row, evidence_s),
        _cost_card(results),
    ]
    return element("ul", [card for card in cards if card], class_="cards")


def results_table(
    rows: Mapping[str, Row],
    chance: float | None,
    evidence_s: float | None,
    styles: Mapping[str, str] | None = None,
) -> Html:
    """Return the table of policies; on a narrow screen each row becomes a block with its own labels.

    Args:
        rows: Results by policy, or by run.
        chance: Accuracy of guessing.
        evidence_s: Mean length of the evidence.
        styles: Colours of runs, which are called by their name; a policy's colour and words are its own.
    """
    spans = "Span" if evidence_s is None else f"Span (evidence {evidence_s:.1f} s)"
    heads = ["Who looks", "Right answers", "Sees evidence", "Steps", spans, "IoU", "Unparsed", "Training CPU"]
    used = [True, True, True, *(_is_used(rows, key) for key in _PLAIN)]
    body = [
        element(
            "tr",
            [cell for cell, is_used in zip(_cells(policy, row, heads, chance, styles), used, strict=True) if is_used],
            class_=f"style-{(styles or {}).get(policy, policy)}",
        )
        for policy, row in rows.items()
    ]
    head = element(
        "tr", [element("th", text, scope="col") for text, is_used in zip(heads, used, strict=True) if is_used]
    )
    return element("table", element("thead", head), element("tbody", body), class_="results")


def table_notes(rows: Mapping[str, Row], chance: float | None, notes: Sequence[str]) -> Html:
    """Return how to read the table, and the run's own remarks."""
    sentences = [f"Held-out videos, {_tasks_text(rows)}. Whiskers are 95 % intervals."]
    if chance is not None:
        sentences.append(f"The dashed line is guessing, {number_text(chance, 'rate')}.")
    sentences.append(
        "Sees evidence: any zoom of the episode overlaps an annotated span. A long span does so easily, so read it "
        "together with the span's length. Unparsed: episodes whose output gave no answer."
    )
    reading = " ".join(sentences)
    return element(
        "div",
        element("p", reading, class_="fine"),
        element("ul", [element("li", note) for note in notes], class_="notes") if notes else None,
    )


_PLAIN = {
    "num_steps_mean": "",
    "span_s_mean": "s",
    "iou_mean": "",
    "unparsed_rate": "rate",
    "cpu_seconds_training": "s",
}


def _tasks_text(rows: Mapping[str, Row]) -> str:
    counts = sorted({row["num_tasks"] for row in rows.values() if row.get("num_tasks")})
    if not counts:
        return "number of tasks unknown"
    return f"{counts[0]:,} tasks" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,} tasks"


def _is_used(rows: Mapping[str, Row], key: str) -> bool:
    return any(row.get(key) is not None for row in rows.values())


def _cells(
    policy: str, row: Row, heads: Sequence[str], chance: float | None, styles: Mapping[str, str] | None
) -> list[Html]:
    words = policy_words(policy) if styles is None else PolicyWords(policy, "")
    style = (styles or {}).get(policy, policy)
    meaning = row.get("meaning", words.meaning)
    swatch = element("i", class_=f"swatch style-{style}")
    return [
        element("th", swatch, words.name, element("span", meaning, class_="meaning"), scope="row"),
        _rate_cell(heads[1], style, row, "accuracy", chance),
        _rate_cell(heads[2], style, row, "zoom_hit_rate", None),
        *(_plain_cell(head, row.get(key), unit) for head, (key, unit) in zip(heads[3:], _PLAIN.items(), strict=True)),
    ]


def _rate_cell(head: str, style: str, row: Row, key: str, chance: float | None) -> Html:
    value = row.get(key)
    if value is None:
        return _plain_cell(head, None, "")
    interval = interval_of(row, key)
    bounds = f"{100 * interval.low:.1f} to {100 * interval.high:.1f}" if interval else None
    numbers = element(
        "span", element("b", number_text(value, "rate")), " ", element("span", bounds, class_="fine"), class_="numbers"
    )
    return element("td", interval_bar(value, interval, style, chance=chance), numbers, data_label=head, class_="rate")


def _plain_cell(head: str, value: float | None, unit: str) -> Html:
    if value is None:
        text: Html | str = element("span", "\N{EN DASH}", aria_label="none")
    else:
        text = f"{value:.2f}" if not unit else number_text(value, unit)
    return element("td", text, data_label=head, class_="number empty" if value is None else "number")


def _rate_card(title: str, row: Row, start: Row, key: str) -> Html | None:
    if row.get(key) is None:
        return None
    interval = interval_of(row, key)
    lines = []
    if start.get(key) is not None:
        lines.append(f"{number_text(start[key], 'rate')} after the cold start")
    if interval:
        lines.append(f"95 % interval {100 * interval.low:.1f} to {100 * interval.high:.1f}")
    return _card(title, number_text(row[key], "rate"), lines)


def _span_card(row: Row, evidence_s: float | None) -> Html | None:
    if row.get("span_s_mean") is None:
        return None
    lines = [f"the evidence lasts {evidence_s:.1f} s" if evidence_s is not None else "mean length of a zoom"]
    return _card("Length of a zoom", number_text(row["span_s_mean"], "s"), lines)


def _cost_card(results: Mapping[str, Any]) -> Html | None:
    if results.get("seconds") is None:
        return None
    memory = results.get("peak_memory_gib")
    return _card("Whole run", duration_text(results["seconds"]), [f"peak memory {memory:.1f} GiB"] if memory else [])


def _card(title: str, value: str, lines: Sequence[str]) -> Html:
    details = [element("span", line, class_="fine") for line in lines]
    return element("li", element("span", title, class_="card-title"), element("strong", value), details)


def duration_text(seconds: float) -> str:
    """Return a duration as people say it.

    Example:
        >>> [duration_text(seconds) for seconds in (42.4, 412.3, 7320)]
        ['42 s', '6 min 52 s', '2 h 2 min']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
