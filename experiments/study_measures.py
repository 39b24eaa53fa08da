"""What studies measure: numbers of single episodes, whose means are compared, and of whole trainings or evaluations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from videozoom.envs.actions import Malformed
from videozoom.envs.tasks import Status, Task
from videozoom.rewards.answers import is_right
from videozoom.rewards.overlap import any_overlap, iou
from videozoom.rollout.group_metrics import is_hit
from videozoom.rollout.types import Trajectory

COUNTED_STEPS = 5
"""Episodes of up to so many steps have measures of their own."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A number that studies compare.

    Example:
        >>> MEASURES["accuracy"].unit
        'rate'
    """

    label: str
    unit: str
    """`rate` is shown in per cent."""
    is_of_episodes: bool = True
    """Whether each episode has a value; otherwise it is one number of a whole training or evaluation."""


MEASURES: dict[str, Measure] = {
    "accuracy": Measure("Right answers", "rate"),
    "zoom_hit_rate": Measure("A zoom sees the evidence", "rate"),
    "first_zoom_hit_rate": Measure("First zoom sees the evidence", "rate"),
    "right_without_hit": Measure("Right, though no zoom sees the evidence", "rate"),
    "num_steps": Measure("Steps", ""),
    "span_s": Measure("Length of zooms", "s"),
    "iou": Measure("IoU of zooms and evidence", ""),
    "no_answer": Measure("No readable answer", "rate"),
    "malformed_steps": Measure("Refused or unreadable steps", ""),
    "visual_tokens": Measure("Visual tokens read", ""),
    **{f"share_{n}_steps": Measure(f"Share of {n}-step episodes", "rate") for n in range(1, COUNTED_STEPS + 1)},
    **{f"accuracy_{n}_steps": Measure(f"Right answers in {n} steps", "rate") for n in range(1, COUNTED_STEPS + 1)},
    "sampled_hit_rate": Measure("A sampled zoom sees the evidence", "rate", is_of_episodes=False),
    "training_cpu_s": Measure("CPU time of training", "s", is_of_episodes=False),
    "eval_cpu_s": Measure("CPU time of evaluation", "s", is_of_episodes=False),
    "eval_peak_mib": Measure("Memory that evaluation adds", "MiB", is_of_episodes=False),
}
"""Measures by the names that study files use. One that an episode has no value for is missing there: the length of
zooms where there is none, or accuracy in 2 steps where there were 3. Evaluation is greedy: where two spans are about as
likely, its zooms all go to one of them. `sampled_hit_rate` is of the training's own whole episodes, in the last
iterations before the weights that are evaluated (`study_results.LAST_ITERATIONS`)."""


def episode_row(task: Task, trajectory: Trajectory) -> dict[str, Any]:
    """Return the measures of one episode, and its task; only the task and why, if its video could not be read."""
    if trajectory.status is Status.ERROR_DECODE:
        return {"task_id": task.task_id, "error": trajectory.error}
    accuracy = float(is_right(task, trajectory.answer))
    num_steps = len(trajectory.steps)
    return {
        "task_id": task.task_id,
        "accuracy": accuracy,
        **_zoom_measures(task, trajectory, is_correct=accuracy > 0),
        "num_steps": float(num_steps),
        "no_answer": float(trajectory.answer is None),
        "malformed_steps": float(_num_refused(trajectory)),
        "visual_tokens": float(sum(step.completion.num_visual_tokens for step in trajectory.steps)),
        **{f"share_{n}_steps": float(num_steps == n) for n in range(1, COUNTED_STEPS + 1)},
        **({f"accuracy_{num_steps}_steps": accuracy} if num_steps <= COUNTED_STEPS else {}),
    }


def mean_by_measure(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Return the mean of a measure over the episodes that have it, `None` if none has.

    Example:
        >>> mean_by_measure([{"accuracy": 1.0}, {"accuracy": 0.0}, {"error": "torn"}], "accuracy")
        0.5
    """
    values = [row[name] for row in rows if name in row]
    return sum(values) / len(values) if values else None


def _zoom_measures(task: Task, trajectory: Trajectory, *, is_correct: bool) -> dict[str, float]:
    spans = trajectory.spans_s
    measures: dict[str, float] = {}
    if spans:
        measures["span_s"] = sum(span.length_s for span in spans) / len(spans)
    if not task.evidence:
        return measures
    has_hit = is_hit(task, trajectory)
    measures["zoom_hit_rate"] = float(has_hit)
    measures["first_zoom_hit_rate"] = float(bool(spans) and any_overlap(spans[0], task.evidence))
    measures["right_without_hit"] = float(is_correct and not has_hit)
    if spans:
        measures["iou"] = sum(max(iou(span, evidence) for evidence in task.evidence) for span in spans) / len(spans)
    return measures


def _num_refused(trajectory: Trajectory) -> int:
    """Return the number of steps that were neither an accepted look nor an answer."""
    return sum(isinstance(step.action, Malformed) for step in trajectory.steps)
