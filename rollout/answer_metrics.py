"""How right answers are, by the kind of question, in the measures that each kind is known by."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from videozoom.envs.tasks import QuestionKind, Task
from videozoom.rewards.answers import grounding_iou, number_error, word_error_rate
from videozoom.rollout.types import Trajectory

RECALL_IOUS = {"recall_03": 0.3, "recall_05": 0.5, "recall_07": 0.7}
"""IoU from which on a span is recalled: R@0.3, R@0.5 and R@0.7 of temporal grounding."""
_ROUNDING = 1e-9

Pairs = Sequence[tuple[Task, Trajectory]]


def by_kind(pairs: Pairs) -> dict[QuestionKind, Pairs]:
    """Return the pairs of each kind of question that there is, in the order of `QuestionKind`."""
    found = {kind: [(task, t) for task, t in pairs if task.kind is kind] for kind in QuestionKind}
    return {kind: chosen for kind, chosen in found.items() if chosen}


def kind_measures(kind: QuestionKind, pairs: Pairs) -> dict[str, float]:
    """Return the means of a kind's measures over at least one pair; without an answer, a measure has its worst value.

    Numerical: `number_error`, relative and at most 1. Transcription: `word_error_rate`. Temporal grounding: `iou` (the
    mean is known as mIoU) and `recall_03`, `recall_05`, `recall_07`. The others have none.

    Example:
        Spans with IoU 0.4 and 0.6, and an episode without an answer: iou 1/3, recall_03 2/3, recall_05 1/3.
    """
    if kind is QuestionKind.NUMERICAL:
        return {"number_error": _mean(pairs, number_error, missing=1.0, most=1.0)}
    if kind is QuestionKind.TRANSCRIPTION:
        return {"word_error_rate": _mean(pairs, word_error_rate, missing=1.0)}
    if kind is QuestionKind.TEMPORAL_GROUNDING:
        ious = [_measured(task, t, grounding_iou, missing=0.0) for task, t in pairs]
        recalls = {name: sum(it >= least - _ROUNDING for it in ious) / len(ious) for name, least in RECALL_IOUS.items()}
        return {"iou": math.fsum(ious) / len(ious), **recalls}
    return {}


def answer_metrics(pairs: Pairs) -> dict[str, float]:
    """Return the registered metrics of answers by kind; none where all questions are multiple choice."""
    kinds = by_kind(pairs)
    if set(kinds) <= {QuestionKind.MULTIPLE_CHOICE}:
        return {}
    return named(
        {
            kind: {"accuracy": sum(t.is_right(task) for task, t in chosen) / len(chosen), **kind_measures(kind, chosen)}
            for kind, chosen in kinds.items()
        }
    )


def named(kinds: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return what is known of each kind, its accuracy and its measures, under the registered names."""
    metrics = {}
    for kind, values in kinds.items():
        metrics[f"answer/right/{kind}/rate"] = values["accuracy"]
        for name in ("number_error", "word_error_rate", "iou"):
            if name in values:
                metrics[f"answer/{name}/mean"] = values[name]
        for name in RECALL_IOUS:
            if name in values:
                metrics[f"answer/{name}/rate"] = values[name]
    return metrics


def _mean(pairs: Pairs, measure: Callable[[Task, str], float], *, missing: float, most: float = math.inf) -> float:
    return math.fsum(min(most, _measured(task, t, measure, missing=missing)) for task, t in pairs) / len(pairs)


def _measured(task: Task, trajectory: Trajectory, measure: Callable[[Task, str], float], *, missing: float) -> float:
    return missing if trajectory.answer is None else measure(task, trajectory.answer)
