"""What an answer is worth. The one place that compares an answer with what the task says.

Each kind of question has a grade from 0 to 1 and a threshold from which on the answer is right:

* multiple choice: 1 for the right option;
* numerical: 1 less the error, relative to the true number (absolute below 1);
* transcription: 1 less the word error rate;
* open: what a judge says;
* temporal grounding: the intersection over union with the true span, the best one if there are several.

Source: LOVE-R1, eq. 1, where answers are right or not; its released code has functions for the other kinds, which are
never called.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from videozoom.envs.answer_texts import read_number, read_times, words_of, write_times
from videozoom.envs.tasks import QuestionKind, Task
from videozoom.rewards.judges import Judge, SameWords
from videozoom.rewards.overlap import iou

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class AnswerRules:
    """When an answer is right, and whether a wrong one is worth something.

    Example:
        >>> AnswerRules(min_iou=0.7).is_right(task_at_12_to_16, "[12, 17]")  # 4 of 5 seconds
        True
    """

    number_tolerance: float = 0.01
    """Largest error of a right number, relative to the true one; absolute below 1."""
    max_word_error_rate: float = 0.0
    """Of a right transcription."""
    min_grade: float = 0.5
    """The judge's, of a right answer to an open question."""
    min_iou: float = 0.5
    """Of a right span with the true one."""
    is_graded: bool = False
    """Whether answers are worth their grade, not 1 or 0."""
    judge: Judge = field(default_factory=SameWords)
    """Of answers to open questions."""

    def __post_init__(self) -> None:
        """Raise `ValueError` on a number that makes no sense."""
        for name in ("number_tolerance", "max_word_error_rate"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise ValueError(f"{name} must be a number of at least 0, got {value}.")
        for name in ("min_grade", "min_iou"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be above 0 and at most 1, got {getattr(self, name)}.")

    def grade(self, task: Task, answer: str | None) -> float:
        """Return how good an answer is, from 0 to 1; one that cannot be read, or none, is worth 0."""
        if answer is None:
            return 0.0
        match task.kind:
            case QuestionKind.MULTIPLE_CHOICE:
                return float(answer == task.answer)
            case QuestionKind.NUMERICAL:
                return 1.0 - min(1.0, number_error(task, answer))
            case QuestionKind.TRANSCRIPTION:
                return 1.0 - min(1.0, word_error_rate(task, answer))
            case QuestionKind.OPEN:
                return min(1.0, max(0.0, self.judge.grade(task.question, task.answer, answer)))
            case QuestionKind.TEMPORAL_GROUNDING:
                return grounding_iou(task, answer)

    def is_right(self, task: Task, answer: str | None) -> bool:
        """Return whether an answer is good enough; none at all is wrong."""
        least = {
            QuestionKind.NUMERICAL: 1.0 - self.number_tolerance,
            QuestionKind.TRANSCRIPTION: 1.0 - self.max_word_error_rate,
            QuestionKind.OPEN: self.min_grade,
            QuestionKind.TEMPORAL_GROUNDING: self.min_iou,
        }.get(task.kind, 1.0)
        return answer is not None and self.grade(task, answer) >= least - _ROUNDING

    def score(self, task: Task, answer: str | None) -> float:
        """Return what an answer is worth: 1 or 0, or its grade with `is_graded`."""
        return self.grade(task, answer) if self.is_graded else float(self.is_right(task, answer))


DEFAULT_RULES = AnswerRules()


def score_answer(task: Task, answer: str | None, rules: AnswerRules = DEFAULT_RULES) -> float:
    """Return what an answer is worth, from 0 to 1: what rewards, evaluation and replay go by.

    Example:
        >>> score_answer(task_with_answer_b, "B"), score_answer(task_with_answer_42, "42.3 m")
        (1.0, 1.0)
    """
    return rules.score(task, answer)


def is_right(task: Task, answer: str | None, rules: AnswerRules = DEFAULT_RULES) -> bool:
    """Return whether an answer is right; none at all is wrong.

    Example:
        >>> is_right(task_with_answer_b, "B")
        True
    """
    return rules.is_right(task, answer)


def gold_answer(task: Task) -> str:
    """Return what an agent that knows everything answers; of several true spans the first.

    Example:
        >>> gold_answer(task_at_12_to_16)
        '[12, 16]'
    """
    is_grounding = task.kind is QuestionKind.TEMPORAL_GROUNDING and bool(task.evidence)
    return write_times(task.evidence[0]) if is_grounding else task.answer


def number_error(task: Task, answer: str) -> float:
    """Return how far a number is from the true one, relative to it, or absolute if that is below 1.

    Infinite if there is no number.

    Example:
        Against 200: 190 has the error 0.05; against 0.5: 0.75 has 0.25; against 50 %: 0.5 and 50 have 0.
    """
    given, wanted = read_number(answer), read_number(task.answer)
    if given is None or wanted is None:
        return math.inf
    return abs(given.matching(wanted) - wanted.value) / max(1.0, abs(wanted.value))


def word_error_rate(task: Task, answer: str) -> float:
    """Return the fewest words to insert, delete and replace, divided by the number of words of the truth.

    Example:
        Against "stop at the gate": "stop at gate" has 0.25, "no" has 1, and ten other words have 2.5.
    """
    wanted, given = words_of(task.answer), words_of(answer)
    return _num_edits(wanted, given) / max(1, len(wanted))


def grounding_iou(task: Task, answer: str) -> float:
    """Return the intersection over union of a span with the true one, the best of several; 0 without a span.

    Example:
        Against [12, 16): "[12, 18]" has 4 / 6.
    """
    span_s = read_times(answer)
    return max((iou(span_s, truth) for truth in task.evidence), default=0.0) if span_s is not None else 0.0


def _num_edits(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the Levenshtein distance of two sequences."""
    row = list(range(len(second) + 1))
    for number, word in enumerate(first, start=1):
        diagonal, row[0] = row[0], number
        for place, other in enumerate(second, start=1):
            above = row[place]
            row[place] = min(diagonal + (word != other), above + 1, row[place - 1] + 1)
            diagonal = above
    return row[-1]
