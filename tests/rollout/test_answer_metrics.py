"""Measures of answers by the kind of question, worked by hand; and their way through trace rows."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from videozoom.envs.actions import Answer
from videozoom.envs.messages import Prompt
from videozoom.envs.tasks import EpisodeKind, QuestionKind, Span, Status, Task
from videozoom.policies.base import Completion
from videozoom.rewards.facts import RewardBreakdown
from videozoom.rollout.answer_metrics import answer_metrics, by_kind, kind_measures, named
from videozoom.rollout.metrics import check_names
from videozoom.rollout.trace_rows import task_from_row, trace_row, trajectory_from_row
from videozoom.rollout.types import Step, Trajectory

CHOICE = Task("c", Path("v.mp4"), 64.0, "Which?", ("bars", "lines"), "B", (Span(10.0, 20.0),))
NUMBER = replace(CHOICE, kind=QuestionKind.NUMERICAL, options=(), answer="200")
SIGN = replace(CHOICE, kind=QuestionKind.TRANSCRIPTION, options=(), answer="stop at the gate")
OPEN = replace(CHOICE, kind=QuestionKind.OPEN, options=(), answer="a flag")
WHEN = replace(CHOICE, kind=QuestionKind.TEMPORAL_GROUNDING, options=(), answer="[10, 20]")


def ended(answer: str | None, is_right: bool | None = None) -> Trajectory:
    status = Status.NO_ANSWER if answer is None else Status.ANSWERED
    steps = (Step(Prompt(()), Completion(""), Answer(answer)),) if answer is not None else ()
    reward = RewardBreakdown(0.0, {}, is_right)
    return Trajectory("t", EpisodeKind.MULTI_STEP, 0, (0,), steps, status, answer, (), reward)


@pytest.mark.parametrize(
    ("task", "answers", "expected"),
    [
        (NUMBER, ["200", "190", "-1e9", None], {"number_error": (0.0 + 0.05 + 1.0 + 1.0) / 4}),
        (
            SIGN,
            ["stop at the gate", "stop at gate", "a b c d e f g h", None],
            {"word_error_rate": (0.25 + 2.0 + 1.0) / 4},
        ),
        (
            WHEN,
            ["[10, 20]", "[10, 15]", "[10, 17]", "[10, 13]", None],
            {"iou": 2.5 / 5, "recall_03": 4 / 5, "recall_05": 3 / 5, "recall_07": 2 / 5},
        ),
        (OPEN, ["a flag", "a pole"], {}),
        (CHOICE, ["B", "A"], {}),
    ],
)
def test_measures_of_each_kind(task: Task, answers: list[str | None], expected: dict[str, float]) -> None:
    assert kind_measures(task.kind, [(task, ended(it)) for it in answers]) == pytest.approx(expected)


def test_metrics_are_of_every_kind_that_there_is_and_none_with_multiple_choice_only() -> None:
    choices = [(CHOICE, ended("B")), (CHOICE, ended("A"))]
    assert answer_metrics(choices) == {}
    metrics = answer_metrics([*choices, (NUMBER, ended("200")), (WHEN, ended("[0, 1]"))])
    assert metrics == {
        "answer/right/multiple_choice/rate": 0.5,
        "answer/right/numerical/rate": 1.0,
        "answer/right/temporal_grounding/rate": 0.0,
        "answer/number_error/mean": 0.0,
        "answer/iou/mean": 0.0,
        **{f"answer/recall_{it}/rate": 0.0 for it in ("03", "05", "07")},
    }
    check_names(metrics)
    assert list(by_kind([*choices, (NUMBER, ended("1"))])) == [QuestionKind.MULTIPLE_CHOICE, QuestionKind.NUMERICAL]
    assert named({"open": {"accuracy": 1.0, "accuracy_ci95": [0, 1]}}) == {"answer/right/open/rate": 1.0}


def test_what_a_judge_said_counts_whatever_the_default_rules_would_say() -> None:
    assert ended("a pole", is_right=True).is_right(OPEN)
    assert not ended("a flag", is_right=False).is_right(OPEN)
    assert ended("A flag.").is_right(OPEN)
    assert not ended(None).is_right(OPEN)
    assert answer_metrics([(OPEN, ended("a pole", is_right=True))]) == {"answer/right/open/rate": 1.0}


@pytest.mark.parametrize(("task", "answer"), [(CHOICE, "B"), (NUMBER, "200 m"), (OPEN, "a pole"), (WHEN, "[10, 12]")])
def test_traces_keep_kind_answer_and_verdict(task: Task, answer: str) -> None:
    trajectory = ended(answer, is_right=True)
    row = json.loads(json.dumps(trace_row(task, trajectory, phase="eval", policy="mine", iteration=0)))
    again = trajectory_from_row(row)
    assert task_from_row(row) == replace(task, task_id="c")
    assert (again.answer, again.reward.is_right, again.steps[-1].action) == (answer, True, Answer(answer))
    assert ("kind" in row["task"]) is (task.kind is not QuestionKind.MULTIPLE_CHOICE)
    assert row["schema_version"] == 2
