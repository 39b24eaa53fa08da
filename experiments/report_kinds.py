"""The table of results by the kind of question, where a run has several kinds."""

from collections.abc import Mapping, Sequence
from typing import Any

from videozoom.experiments.report_words import policy_words
from videozoom.rollout.markup import Html, element

MEASURES = {
    "number_error": "error",
    "word_error_rate": "WER",
    "iou": "mIoU",
    "recall_03": "R@0.3",
    "recall_05": "R@0.5",
    "recall_07": "R@0.7",
}
"""What is measured of answers, and how it is called."""
_HEADS = ("Kind", "Who looks", "Right answers", "95 % interval", "Measures", "Tasks")
_READING = (
    "What counts as right is set by reward_rules.answers. Error is that of numbers, relative to the true one and at "
    "most 1; WER the words to change in a transcription, per word; mIoU and R@ those of answered spans. No answer "
    "counts as the worst."
)


def kinds_section(rows: Mapping[str, Mapping[str, Any]], title: str = "") -> Html | None:
    """Return the table by kind, then by policy; `None` if there is multiple choice only.

    Args:
        rows: Results by policy.
        title: Name of the run where there are several.
    """
    by_policy = {policy: row.get("kinds", {}) for policy, row in rows.items()}
    kinds = list(dict.fromkeys(kind for found in by_policy.values() for kind in found))
    if not kinds:
        return None
    chosen = [(kind, policy, found[kind]) for kind in kinds for policy, found in by_policy.items() if kind in found]
    head = element("tr", [element("th", text, scope="col") for text in _HEADS])
    body = [_line(kind, policy, values) for kind, policy, values in chosen]
    return element(
        "div",
        element("h3", title) if title else None,
        element("table", element("thead", head), element("tbody", body), class_="results"),
        element("p", _READING, class_="fine"),
    )


def measures_text(values: Mapping[str, Any]) -> str:
    """Return the measures of a kind in words.

    Example:
        >>> measures_text({"accuracy": 0.5, "iou": 0.25, "recall_05": 0.0})
        'mIoU 0.25, R@0.5 0.00'
    """
    return ", ".join(f"{words} {values[name]:.2f}" for name, words in MEASURES.items() if name in values)


def _line(kind: str, policy: str, values: Mapping[str, Any]) -> Html:
    low, high = values["accuracy_ci95"]
    texts: Sequence[str] = (
        policy_words(policy).name,
        f"{100 * values['accuracy']:.1f} %",
        f"{100 * low:.1f} to {100 * high:.1f}",
        measures_text(values),
        str(values["num_tasks"]),
    )
    cells = [element("td", text, data_label=label) for label, text in zip(_HEADS[1:], texts, strict=True)]
    return element("tr", element("th", kind.replace("_", " "), scope="row"), cells, class_=f"style-{policy}")
