"""Probes and the audit of zooms in the report: does it look, and does looking matter?"""

from collections.abc import Mapping, Sequence
from typing import Any

from videozoom.experiments.report_charts import interval_bar, number_text
from videozoom.experiments.statistics import Interval
from videozoom.rollout.markup import Html, element

Row = Mapping[str, Any]
_NONE = "\N{EN DASH}"
MAX_DOUBT = 0.2
"""A difference whose interval holds 0 and is wider than this says nothing."""

PROBE_WORDS = {
    "model": ("as it is", "The same tasks, unchanged."),
    "blind": ("blind", "Every frame is grey; only the times can be read."),
    "fast_view": ("fast view only", "It must answer at once."),
    "shuffled": ("shuffled frames", "Frames in random order under unchanged times, in the fast view and in clips."),
    "wrong_video": ("wrong video", "The frames of another task's video."),
    "permuted_options": ("permuted options", "The same options under other letters."),
}
AUDIT_WORDS = {
    "own": ("its own zooms", "Zooms as the agent made them; it answers from what they show."),
    "gold": ("gold zooms", "Each zoom replaced by a span of the evidence."),
    "random": ("random zooms", "Each zoom replaced by one of the same length somewhere in the video."),
    "none": ("no zoom", "It answers from the fast view alone."),
}


def probes_section(results: Row, chance: float | None, title: str = "") -> Html | None:
    """Return the tables of probes and audit, `None` if a run has neither."""
    probes, audit = results.get("probes") or (), results.get("audit") or ()
    if not probes and not audit:
        return None
    parts: list[Html | None] = [element("h3", title) if title else None]
    if sentences := findings(probes, audit):
        parts.append(element("ul", [element("li", it) for it in sentences], class_="notes"))
    if probes:
        text = "The same tasks, the same model; one thing is taken away. What stays right without it did not need it."
        parts += [
            element("h4", "Probes"),
            element("p", text, class_="fine"),
            _table(probes, PROBE_WORDS, "probe", chance),
        ]
    if audit:
        text = "The same episodes with the zooms replaced; the model answers from what it is shown then. Differences "
        text += "are to its own zooms, on the episodes that had one."
        parts += [element("h4", "Did looking matter?"), element("p", text, class_="fine")]
        parts.append(_table(audit, AUDIT_WORDS, "zooms", chance))
    return element("div", parts, class_="probes")


def findings(probes: Sequence[Row], audit: Sequence[Row]) -> list[str]:
    """Return what the tables say, as far as the intervals of their differences leave no doubt of it.

    Example:
        >>> findings([{"probe": "blind", "difference": 0.01, "difference_ci95": [-0.02, 0.04]}], [])
        ['With grey frames it is as good as ever: its answers do not come from what it sees.']
    """
    found = []
    for row, words in [(row, _PROBE_FINDINGS.get(str(row["probe"]))) for row in probes]:
        if words and row.get("difference") is not None:
            found.append(_finding(row, *words))
    for row, words in [(row, _AUDIT_FINDINGS.get(str(row["zooms"]))) for row in audit]:
        if words and row.get("difference") is not None:
            found.append(_finding(row, *words))
    return [sentence for sentence in found if sentence]


_PROBE_FINDINGS = {
    "blind": ("With grey frames", "its answers come from what it sees", "its answers do not come from what it sees"),
    "wrong_video": ("With another video", "it answers about the video it is shown", "it does not need the video"),
    "shuffled": ("With shuffled frames", "it uses when things are shown", "it does not use when things are shown"),
    "permuted_options": (
        "Under other letters",
        "it knows options by their letters, not by what they say",
        "it reads the options",
    ),
}
_AUDIT_FINDINGS = {
    "none": ("Without its zooms", "looking matters", "looking does not matter"),
    "random": ("With zooms anywhere", "where it looks matters", "where it looks does not matter"),
}


def _finding(row: Row, change: str, if_worse: str, if_alike: str) -> str | None:
    low, high = row["difference_ci95"]
    if high < 0:
        return f"{change} it loses {-100 * row['difference']:.1f} points: {if_worse}."
    return f"{change} it is as good as ever: {if_alike}." if high - low < MAX_DOUBT else None


def _table(rows: Sequence[Row], words: Mapping[str, tuple[str, str]], key: str, chance: float | None) -> Html:
    heads = ["What", "Right answers", "Difference", "Right to wrong", "Wrong to right", "Tasks"]
    if any("num_seen" in row for row in rows):
        heads += ["Own zoom saw it", "Own zoom missed"]
    body = []
    for row in rows:
        name, meaning = words.get(str(row[key]), (str(row[key]).replace("_", " "), ""))
        head = element("th", name, element("span", meaning, class_="meaning"), scope="row")
        cells = [_accuracy(row, chance), _difference(row)]
        cells += [_count(row, name) for name in ("num_right_to_wrong", "num_wrong_to_right", "num_tasks")]
        cells += [_part(row, name) for name in ("seen", "missed")][: len(heads) - 6]
        data = [
            element("td", cell, data_label=label, class_="rate" if label == heads[1] else "number")
            for label, cell in zip(heads[1:], cells, strict=True)
        ]
        body.append(element("tr", head, data))
    top = element("tr", [element("th", text, scope="col") for text in heads])
    return element("table", element("thead", top), element("tbody", body), class_="results")


def _part(row: Row, name: str) -> Html:
    """Return the accuracy where the agent's own zooms saw the evidence, or where they missed it."""
    value, count = row.get(f"accuracy_{name}"), row.get(f"num_{name}")
    return element("span", _NONE if value is None else f"{number_text(value, 'rate')} of {count:,}")


def _accuracy(row: Row, chance: float | None) -> Html:
    value = row.get("accuracy")
    if value is None:
        return element("span", _NONE)
    interval = Interval(*row["accuracy_ci95"]) if row.get("accuracy_ci95") else None
    style = "agent" if row.get("probe") == "model" or row.get("zooms") == "own" else "cold_start"
    bounds = f"{100 * interval.low:.1f} to {100 * interval.high:.1f}" if interval else ""
    numbers = element("span", element("b", number_text(value, "rate")), " ", element("span", bounds, class_="fine"))
    return element("span", interval_bar(value, interval, style, chance=chance), numbers, class_="numbers")


def _difference(row: Row) -> Html:
    value = row.get("difference")
    if value is None:
        return element("span", _NONE)
    low, high = row["difference_ci95"]
    return element(
        "span", f"{100 * value:+.1f} ", element("span", f"{100 * low:+.1f} to {100 * high:+.1f}", class_="fine")
    )


def _count(row: Row, key: str) -> Html:
    value = row.get(key)
    return element("span", _NONE if value is None else f"{value:,}")
