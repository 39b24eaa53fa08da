"""Alarms of a run: what went wrong, when, and what to do."""

from collections.abc import Mapping, Sequence
from typing import Any

from videozoom.experiments.report_words import policy_words
from videozoom.rollout.markup import Html, element

Row = Mapping[str, Any]


def alarms_box(alarms: Sequence[Row], name: str = "") -> Html | None:
    """Return what alarms were raised in a run, one line for each kind and training; `None` without any.

    Args:
        alarms: Rows of `alarms.jsonl`: events that begin (`on`) or end (`over`).
        name: Of the run, where a page has several.
    """
    kinds: dict[tuple[str, str], list[Row]] = {}
    for row in alarms:
        kinds.setdefault((str(row.get("phase", "")), str(row.get("alarm", ""))), []).append(row)
    lines = [_line(phase, events) for (phase, _), events in kinds.items()]
    if not lines:
        return None
    count = "1 alarm" if len(lines) == 1 else f"{len(lines)} alarms"
    title = f"{count} in {name}" if name else count
    return element("div", element("p", element("b", title)), element("ul", lines), class_="alarms", role="note")


def _line(phase: str, events: Sequence[Row]) -> Html:
    begun = [row for row in events if row.get("state") != "over"]
    first = begun[0] if begun else events[0]
    is_over = events[-1].get("state") == "over"
    when = ", ".join(f"{row.get('progress/iteration', '?')}" for row in begun) or "?"
    span = f"{policy_words(phase).name}, iteration {when}" if phase else f"iteration {when}"
    ended = f", over at iteration {events[-1].get('progress/iteration', '?')}" if is_over else ", not over"
    texts = [str(first[key]) for key in ("what", "meaning", "advice") if first.get(key)]
    return element(
        "li", element("b", str(first.get("alarm", "alarm")).replace("_", " ")), f" ({span}{ended}). ", " ".join(texts)
    )
