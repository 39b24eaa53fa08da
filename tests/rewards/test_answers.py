"""What answers of every kind are worth, worked by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from videozoom.envs.tasks import QuestionKind, Span, Task
from videozoom.rewards.answers import (
    AnswerRules,
    gold_answer,
    grounding_iou,
    is_right,
    number_error,
    score_answer,
    word_error_rate,
)
from videozoom.rewards.judges import RougeL, SameWords

CHOICE = Task("c", Path("v.mp4"), 64.0, "Which?", ("bars", "lines"), "B", (Span(12.0, 16.0),))


def task(kind: QuestionKind | str, answer: str, *evidence: Span) -> Task:
    return replace(CHOICE, kind=QuestionKind(kind), options=(), answer=answer, evidence=evidence or CHOICE.evidence)


METRES, HALF, SHARE = task("numerical", "200"), task("numerical", "0.5"), task("numerical", "50 %")
SIGN = task("transcription", "Stop at the gate")
OPEN = task("open", "a red flag waves")
WHEN = task("temporal_grounding", "[12, 16]")
TWICE = task("temporal_grounding", "[12, 16]", Span(12.0, 16.0), Span(30.0, 34.0))


@pytest.mark.parametrize(
    ("asked", "answer", "grade", "right"),
    [
        (CHOICE, "B", 1.0, True),
        (CHOICE, "A", 0.0, False),
        (METRES, "200", 1.0, True),
        (METRES, "200.0 m", 1.0, True),
        (METRES, "202", 0.99, True),
        (METRES, "203", 0.985, False),
        (METRES, "190", 0.95, False),
        (METRES, "-200", 0.0, False),
        (METRES, "many", 0.0, False),
        (METRES, "200 %", 1.0, True),
        (METRES, "20000 %", 1.0, True),
        (HALF, "0.509", 0.991, True),
        (HALF, "0.75", 0.75, False),
        (HALF, "50 %", 1.0, True),
        (HALF, "50", 0.0, False),
        (SHARE, "0.5", 1.0, True),
        (SHARE, "50", 1.0, True),
        (SHARE, "49", 0.98, False),
        (SIGN, "STOP at the gate!", 1.0, True),
        (SIGN, "stop at gate", 0.75, False),
        (SIGN, "stop at the red gate", 0.75, False),
        (SIGN, "no", 0.0, False),
        (SIGN, "one two three four five six seven eight nine ten", 0.0, False),
        (OPEN, "A red flag waves.", 1.0, True),
        (OPEN, "a flag", 0.0, False),
        (WHEN, "[12, 16]", 1.0, True),
        (WHEN, "from 12 to 20 s", 0.5, True),
        (WHEN, "[12, 18]", 4 / 6, True),
        (WHEN, "[14, 18]", 2 / 6, False),
        (WHEN, "[16, 20]", 0.0, False),
        (WHEN, "[12, 12]", 0.0, False),
        (WHEN, "12", 0.0, False),
        (TWICE, "[30, 34]", 1.0, True),
        (TWICE, "[12, 34]", 4 / 22, False),
    ],
)
def test_grades_and_what_is_right(asked: Task, answer: str, grade: float, right: bool) -> None:
    rules = AnswerRules()
    assert rules.grade(asked, answer) == pytest.approx(grade)
    assert is_right(asked, answer) is right
    assert score_answer(asked, answer) == float(right)
    assert score_answer(asked, answer, AnswerRules(is_graded=True)) == pytest.approx(grade)


@pytest.mark.parametrize("asked", [CHOICE, METRES, HALF, SHARE, SIGN, OPEN, WHEN, TWICE])
def test_gold_answers_are_worth_the_most_and_no_answer_nothing(asked: Task) -> None:
    for is_graded in (False, True):
        assert score_answer(asked, gold_answer(asked), AnswerRules(is_graded=is_graded)) == 1.0
        assert score_answer(asked, None, AnswerRules(is_graded=is_graded)) == 0.0
    assert not is_right(asked, None)


@pytest.mark.parametrize(
    ("rules", "asked", "answer", "right"),
    [
        (AnswerRules(number_tolerance=0.05), METRES, "190", True),
        (AnswerRules(number_tolerance=0.0), METRES, "200.1", False),
        (AnswerRules(number_tolerance=0.0), METRES, "200", True),
        (AnswerRules(max_word_error_rate=0.25), SIGN, "stop at gate", True),
        (AnswerRules(max_word_error_rate=0.24), SIGN, "stop at gate", False),
        (AnswerRules(min_iou=0.7), WHEN, "[12, 18]", False),
        (AnswerRules(min_iou=0.3), WHEN, "[14, 18]", True),
        (AnswerRules(judge=RougeL()), OPEN, "a flag", True),
        (AnswerRules(judge=RougeL(), min_grade=0.7), OPEN, "a flag", False),
    ],
)
def test_thresholds(rules: AnswerRules, asked: Task, answer: str, right: bool) -> None:
    assert rules.is_right(asked, answer) is right


def test_what_is_right_does_not_depend_on_whether_answers_are_graded() -> None:
    graded = AnswerRules(is_graded=True)
    assert (graded.is_right(WHEN, "[14, 18]"), graded.score(WHEN, "[14, 18]")) == (False, pytest.approx(1 / 3))
    assert (graded.is_right(WHEN, "[12, 18]"), graded.score(WHEN, "[12, 18]")) == (True, pytest.approx(2 / 3))


def test_measures() -> None:
    assert number_error(METRES, "190") == 0.05
    assert number_error(METRES, "none") == float("inf")
    assert number_error(HALF, "0.75") == 0.25
    assert word_error_rate(SIGN, "stop the gate now") == 0.5
    assert word_error_rate(SIGN, " ".join("abcdefghij")) == 2.5
    assert grounding_iou(WHEN, "[12, 18]") == pytest.approx(2 / 3)
    assert grounding_iou(replace(WHEN, evidence=()), "[12, 18]") == 0.0


@pytest.mark.parametrize(
    ("reference", "answer", "rouge", "same"),
    [
        ("a red flag waves", "a flag", 2 * 2 / 6, 0.0),
        ("a red flag waves", "waves flag red a", 2 * 1 / 8, 0.0),
        ("a red flag", "A red flag!", 1.0, 1.0),
        ("a red flag", "blue sky", 0.0, 0.0),
        ("one two three four", "one three five four", 2 * 3 / 8, 0.0),
    ],
)
def test_judges_without_a_model(reference: str, answer: str, rouge: float, same: float) -> None:
    assert RougeL().grade("?", reference, answer) == pytest.approx(rouge)
    assert SameWords().grade("?", reference, answer) == same


class Odd:
    """A judge that grades outside of its range."""

    def __init__(self, grade: float) -> None:
        self._grade = grade

    def grade(self, question: str, reference: str, answer: str) -> float:
        return self._grade


@pytest.mark.parametrize(("said", "grade"), [(7.0, 1.0), (-1.0, 0.0), (0.4, 0.4)])
def test_no_judge_gives_more_than_one_or_less_than_nothing(said: float, grade: float) -> None:
    assert AnswerRules(judge=Odd(said)).grade(OPEN, "x") == grade


@pytest.mark.parametrize(
    "values",
    [{"number_tolerance": -0.1}, {"max_word_error_rate": float("nan")}, {"min_iou": 0.0}, {"min_grade": 1.1}],
)
def test_numbers_that_make_no_sense_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        AnswerRules(**values)  # type: ignore[arg-type]
