"""Caption trees in the report: which parts an agent read, level by level, and how it got to the evidence."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from videozoom.envs.captions.tree import LEVELS, Level, Node, level_of
from videozoom.envs.tasks import Span
from videozoom.experiments.report_traces import Rows
from videozoom.experiments.report_words import main_policy, policy_words
from videozoom.rewards.overlap import any_overlap
from videozoom.rollout.markup import Html, element
from videozoom.rollout.trace_rows import TraceRow


def nodes_read(row: TraceRow) -> list[tuple[Node, Span]]:
    """Return the nodes whose captions an episode read, with their spans, in order."""
    actions = [step["action"] for step in row["steps"] if step["action"]["type"] == "get_caption"]
    # One that was asked for at the last step was not read.
    return [(tuple(it["node"]), Span(*span)) for it, span in zip(actions, row["spans_s"], strict=False)]


def reading_section(evaluations: Mapping[str, Rows], title: str = "") -> Html | None:
    """Return a table of what was read on each level, and the paths of some episodes; `None` without captions.

    Args:
        evaluations: Of a run.
        title: Whose they are, where a page has several.
    """
    policy = main_policy(list(evaluations))
    if policy is None or not any(nodes_read(row) for row in evaluations[policy]):
        return None
    rows = evaluations[policy]
    caption = f"Captions that {policy_words(policy).name} read on {len(rows):,} held-out tasks. On the evidence: their "
    caption += "span overlaps it. Read twice: the same caption again in one episode."
    return element(
        "div",
        element("h3", title) if title else None,
        element("p", caption, class_="fine"),
        _levels_table(rows),
        element(
            "p",
            "Paths: part of the video, part of that part, and so on; bold where the span holds evidence.",
            class_="fine",
        ),
        element("ol", [_path(row) for row in rows[:8]], class_="paths"),
    )


def _levels_table(rows: Rows) -> Html:
    heads = ("Level", "Read per episode", "On the evidence", "Read twice", "Episodes")
    body = []
    for level in LEVELS:
        read = [[(node, span) for node, span in nodes_read(row) if level_of(node) == level] for row in rows]
        everything = [(row, span) for row, found in zip(rows, read, strict=True) for _, span in found]
        if not everything:
            continue
        cells = (
            f"{fmean(map(len, read)):.2f}",
            f"{100 * fmean(_is_on_evidence(row, span) for row, span in everything):.0f} %",
            f"{100 * (1 - sum(len(dict(found)) for found in read) / len(everything)):.0f} %",
            f"{100 * fmean(bool(found) for found in read):.0f} %",
        )
        data = [element("td", it, data_label=head, class_="number") for head, it in zip(heads[1:], cells, strict=True)]
        body.append(element("tr", element("th", _LEVEL_WORDS[level], scope="row"), data))
    head = element("tr", [element("th", text, scope="col") for text in heads])
    return element("table", element("thead", head), element("tbody", body), class_="results plain")


_LEVEL_WORDS = {Level.HIGH: "high: parts of the video", Level.MEDIUM: "medium", Level.LOW: "low: the shortest parts"}


def _path(row: TraceRow) -> Html:
    steps: list[Html] = []
    for node, span in nodes_read(row):
        name = ".".join(map(str, node))
        steps.append(
            element("b" if _is_on_evidence(row, span) else "span", name, title=f"{span.start_s:g} to {span.end_s:g} s")
        )
    return element("li", _joined(steps), " ", element("span", row["task"]["question"], class_="fine"))


def _joined(parts: Sequence[Html]) -> list[Html | str]:
    joined: list[Html | str] = []
    for part in parts:
        joined += [" \N{RIGHTWARDS ARROW} ", part] if joined else [part]
    return joined or ["nothing"]


def _is_on_evidence(row: TraceRow, span: Span) -> bool:
    return any_overlap(span, [Span(*it) for it in row["task"]["evidence"]])
