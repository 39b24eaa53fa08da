"""What is reported of an evaluation: one row per policy, as numbers, as metrics and as a table."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from videozoom.envs.tasks import QuestionKind, Span, Status, Task
from videozoom.experiments.progress import console
from videozoom.experiments.statistics import bootstrap_interval, wilson_interval
from videozoom.rewards.overlap import iou
from videozoom.rollout.answer_metrics import Pairs, by_kind, kind_measures, named
from videozoom.rollout.group_metrics import is_hit
from videozoom.rollout.types import Trajectory

VARIANT = ":"
"""Stands between a model's name and how its evaluation was changed, as in `model:blind`."""


def results_row(policy: str, pairs: Sequence[tuple[Task, Trajectory]]) -> dict[str, Any]:
    """Return what is reported of a policy; videos that could not be read are counted and left out of the rates.

    Intervals are 95 %: Wilson's of rates, the bootstrap's of means. A hit is any zoom of the episode, or caption that
    was read, whose span overlaps the evidence; hits and IoU are those of tasks with evidence. A measure that nothing
    was left for is `None`.
    """
    readable = [(task, t) for task, t in pairs if t.status is not Status.ERROR_DECODE]
    annotated = [(task, t) for task, t in readable if task.evidence]
    num_correct = sum(t.is_right(task) for task, t in readable)
    num_hits = sum(is_hit(task, t) for task, t in annotated)
    return {
        "policy": policy,
        "num_tasks": len(readable),
        "num_errors": len(pairs) - len(readable),
        "accuracy": _rate(num_correct, len(readable)),
        "accuracy_ci95": _interval(num_correct, len(readable)),
        "zoom_hit_rate": _rate(num_hits, len(annotated)),
        "zoom_hit_ci95": _interval(num_hits, len(annotated)),
        "reward_mean": _mean([t.reward.total for _, t in readable]),
        "reward_ci95": _mean_interval([t.reward.total for _, t in readable]),
        **_evidence_f1([t for _, t in readable]),
        "num_steps_mean": _mean([len(t.steps) for _, t in readable]),
        "span_s_mean": _mean([span.length_s for _, t in readable for span in t.spans_s]),
        "iou_mean": _mean([_best_iou(span, task) for task, t in annotated for span in t.spans_s]),
        "unparsed_rate": _rate(sum(t.answer is None for _, t in readable), len(readable)),
        "num_failed_replies": sum(bool(step.completion.error) for _, t in pairs for step in t.steps),
        **_kinds(readable),
    }


def _evidence_f1(trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    """Return how well the evidence was found where the rubric measures it; nothing elsewhere."""
    values = [t.reward.parts["evidence_f1"] for t in trajectories if "evidence_f1" in t.reward.parts]
    return {"evidence_f1_mean": _mean(values), "evidence_f1_ci95": _mean_interval(values)} if values else {}


def _kinds(pairs: Pairs) -> dict[str, Any]:
    """Return the rows of each kind of question; nothing where all are multiple choice."""
    kinds = by_kind(pairs)
    if set(kinds) <= {QuestionKind.MULTIPLE_CHOICE}:
        return {}
    return {"kinds": {str(kind): _kind_row(kind, chosen) for kind, chosen in kinds.items()}}


def _kind_row(kind: QuestionKind, pairs: Pairs) -> dict[str, Any]:
    num_correct = sum(t.is_right(task) for task, t in pairs)
    return {
        "num_tasks": len(pairs),
        "accuracy": _rate(num_correct, len(pairs)),
        "accuracy_ci95": _interval(num_correct, len(pairs)),
        "reward_mean": _mean([t.reward.total for _, t in pairs]),
        **kind_measures(kind, pairs),
    }


def visual_tokens(trajectory: Trajectory) -> int:
    """Return the visual tokens of an episode's largest prompt: each frame that was shown counts once.

    Steps of rules have no tokens; those of a model that answers for them have.
    """
    return max((step.completion.num_visual_tokens for step in trajectory.steps), default=0)


def failure_note(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Return how many replies of a chat server were of no use; `None` if all were."""
    num_failed = sum(row["num_failed_replies"] for row in rows)
    if not num_failed:
        return None
    replies = "1 reply" if num_failed == 1 else f"{num_failed} replies"
    return f"{replies} could not be used and count as no action; traces.jsonl says why, under steps.error"


def eval_metrics(row: Mapping[str, Any], dataset: str = "held_out") -> dict[str, float]:
    """Return a results row as registered metrics, to be logged beside training."""
    low, high = row["accuracy_ci95"] or (None, None)
    values = {
        "accuracy": row["accuracy"],
        "accuracy_ci95_low": low,
        "accuracy_ci95_high": high,
        "num_tasks": float(row["num_tasks"]),
        "num_steps/mean": row["num_steps_mean"],
        "zoom_hit_rate": row["zoom_hit_rate"],
    }
    values |= named(row.get("kinds", {}))
    return {f"eval/{dataset}/{name}": value for name, value in values.items() if value is not None}


def print_results(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print results rows as a table for people, narrow enough for 80 columns."""
    from rich.table import Table

    table = Table(title="Held-out tasks, 95 % intervals", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("policy", "right %", "zoom hit %", "steps", "span s", "IoU", "no answer", "tasks", "CPU s"):
        is_text, is_whole = column == "policy", "%" in column or column == "policy"
        table.add_column(column, justify="left" if is_text else "right", no_wrap=is_whole)
    for row in rows:
        table.add_row(
            row["policy"],
            _with_interval(row.get("accuracy"), row.get("accuracy_ci95")),
            _with_interval(row.get("zoom_hit_rate"), row.get("zoom_hit_ci95")),
            *(_number(row.get(name), digits) for name, digits in _PLAIN_COLUMNS.items()),
        )
    console.print(table)
    _print_kinds(rows)


def _print_kinds(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print how right answers are by the kind of question, where there are others than multiple choice."""
    from rich.table import Table

    from videozoom.experiments.report_kinds import measures_text

    if not any(row.get("kinds") for row in rows):
        return
    table = Table(title="By kind of question", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("policy", "kind", "right %", "measures", "tasks"):
        table.add_column(column, justify="right" if column in ("right %", "tasks") else "left")
    for row in rows:
        for kind, values in row.get("kinds", {}).items():
            right = _with_interval(values["accuracy"], values["accuracy_ci95"])
            table.add_row(row["policy"], kind, right, measures_text(values), str(values["num_tasks"]))
    console.print(table)


def print_probes(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Print the tables of probes, audit and budgets, as far as there are any."""
    from rich.table import Table

    titles = {"probes": ("probe", "Probes: one thing taken away"), "audit": ("zooms", "Zooms replaced")}
    for name, (key, title) in titles.items():
        if not tables.get(name):
            continue
        table = Table(title=title, box=None, padding=(0, 1, 0, 0), pad_edge=False)
        for column in (key, "right %", "difference, points", "lost", "gained", "tasks"):
            table.add_column(column, justify="left" if column == key else "right", no_wrap=True)
        for row in tables[name]:
            counts = (row.get("num_right_to_wrong"), row.get("num_wrong_to_right"), row["num_tasks"])
            accuracy = _with_interval(row["accuracy"], row["accuracy_ci95"])
            table.add_row(str(row[key]), accuracy, _points(row), *(_number(it, 0) for it in counts))
        console.print(table)
    if tables.get("budgets"):
        table = Table(title="Uniform frames of the whole video", box=None, padding=(0, 1, 0, 0), pad_edge=False)
        for column in ("frames", "visual tokens", "right %"):
            table.add_column(column, justify="right", no_wrap=True)
        for row in tables["budgets"]:
            accuracy = _with_interval(row["accuracy"], row["accuracy_ci95"])
            table.add_row(str(row["num_frames"]), _number(row["visual_tokens_mean"], 0), accuracy)
        console.print(table)


def _points(row: Mapping[str, Any]) -> str:
    if row.get("difference") is None:
        return "-"
    low, high = (f"{100 * end:+.1f}" for end in row["difference_ci95"])
    return f"{100 * row['difference']:+.1f} ({low} to {high})"


_PLAIN_COLUMNS = {
    "num_steps_mean": 2,
    "span_s_mean": 1,
    "iou_mean": 2,
    "unparsed_rate": 3,
    "num_tasks": 0,
    "cpu_seconds_training": 0,
}


def _best_iou(span: Span, task: Task) -> float:
    return max(iou(span, evidence) for evidence in task.evidence)


def _rate(num_hits: int, num_all: int) -> float | None:
    return num_hits / num_all if num_all else None


def _interval(num_hits: int, num_all: int) -> list[float] | None:
    return list(wilson_interval(num_hits, num_all)) if num_all else None


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _mean_interval(values: Sequence[float]) -> list[float] | None:
    return list(bootstrap_interval(values)) if values else None


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None or interval is None:
        return "-"
    low, high = (f"{100 * end:.0f}" for end in interval)
    return f"{100 * value:.3g} ({low}-{high})"
