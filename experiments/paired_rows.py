"""Two evaluations of the same tasks, compared task by task: differences with intervals, and who changed sides."""

from collections.abc import Mapping, Sequence
from typing import Any

from videozoom.envs.tasks import Status, Task
from videozoom.experiments.result_rows import results_row
from videozoom.experiments.statistics import paired_difference
from videozoom.rollout.group_metrics import is_hit
from videozoom.rollout.types import Trajectory

Pairs = Sequence[tuple[Task, Trajectory]]
_KEPT = ("num_tasks", "num_errors", "accuracy", "accuracy_ci95", "zoom_hit_rate", "unparsed_rate")


def paired_row(before: Pairs, after: Pairs, *, is_baseline: bool = False) -> dict[str, Any]:
    """Return accuracy after a change, its difference to before, and how many tasks changed sides.

    The difference is the mean over the tasks of both, with the bootstrap interval of pairs; a task whose video could
    not be read in either is left out. A task may differ between the two in its options.

    Args:
        before: What is compared with.
        after: The same tasks, changed.
        is_baseline: Whether this is what others are compared with, which has no difference.
    """
    row = results_row("", after)
    kept = {name: row[name] for name in _KEPT}
    if is_baseline:
        return kept
    right_before, right_after = _right(before), _right(after)
    shared = sorted(right_before.keys() & right_after.keys())
    if not shared:
        return kept
    pairs = [(right_before[task_id], right_after[task_id]) for task_id in shared]
    difference = paired_difference([float(first) for first, _ in pairs], [float(second) for _, second in pairs])
    return kept | {
        "num_pairs": len(shared),
        "difference": difference.mean,
        "difference_ci95": list(difference.interval),
        "num_right_to_wrong": pairs.count((True, False)),
        "num_wrong_to_right": pairs.count((False, True)),
    }


def audit_row(
    before: Pairs, after: Pairs, traces: Mapping[str, Trajectory], *, is_baseline: bool = False
) -> dict[str, Any]:
    """Return `paired_row`, and accuracy apart for tasks whose own zooms saw the evidence and those whose did not.

    Args:
        before: Episodes with the agent's own zooms.
        after: Those with other ones.
        traces: The agent's own episodes by task.
        is_baseline: As in `paired_row`.
    """
    row = paired_row(before, after, is_baseline=is_baseline)
    annotated = [(task, trajectory) for task, trajectory in after if task.evidence]
    for name, is_seen in (("seen", True), ("missed", False)):
        some = [(task, it) for task, it in annotated if is_hit(task, traces[task.task_id]) is is_seen]
        part = results_row("", some)
        row |= {f"accuracy_{name}": part["accuracy"], f"num_{name}": part["num_tasks"]}
    return row


def _right(pairs: Pairs) -> dict[str, bool]:
    return {task.task_id: it.is_right(task) for task, it in pairs if it.status is not Status.ERROR_DECODE}
