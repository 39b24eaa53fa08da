"""LOVE-R1's rewards: cases worked by hand, and that nothing is worth more than the right thing.

As in the paper, a `multi_step` episode is worth its outcome and a `zoom_step` episode its overlap; as in the released
training code, the form is worth as much again, and without it the rest is worth nothing.
"""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from videozoom.envs.tasks import EpisodeKind, QuestionKind, Span, Status, Task
from videozoom.rewards.answers import AnswerRules, gold_answer
from videozoom.rewards.facts import EpisodeFacts
from videozoom.rewards.rubric import RewardRules, Rubric

MULTI, SINGLE = EpisodeKind.MULTI_STEP, EpisodeKind.ZOOM_STEP
CHOICE = Task("c", Path("v.mp4"), 64.0, "Which?", ("bars", "lines", "dots"), "B", (Span(12.0, 16.0), Span(40.0, 44.0)))
NUMBER = replace(CHOICE, kind=QuestionKind.NUMERICAL, options=(), answer="12")
SIGN = replace(CHOICE, kind=QuestionKind.TRANSCRIPTION, options=(), answer="stop here")
OPEN = replace(CHOICE, kind=QuestionKind.OPEN, options=(), answer="a red flag")
WHEN = replace(
    CHOICE, kind=QuestionKind.TEMPORAL_GROUNDING, options=(), answer="[12, 16]", evidence=(Span(12.0, 16.0),)
)
NOWHERE = replace(CHOICE, evidence=())
TASKS = (CHOICE, NUMBER, SIGN, OPEN, WHEN, NOWHERE)

PAPER = Rubric.love_r1()
RELEASED = Rubric.from_weights({"outcome": 1.0, "overlap": 1.0, "format": 1.0}, RewardRules(needs_format=True))
GRADED = Rubric.from_weights(
    {"outcome": 1.0, "overlap": 1.0, "format": 1.0},
    RewardRules(needs_format=True, overlap="iou", answers=AnswerRules(is_graded=True)),
)


def answered(text: str | None, *, zooms: int = 1, malformed: int = 0, status: Status = Status.ANSWERED) -> EpisodeFacts:
    spans_s = (Span(12.0, 16.0), Span(0.0, 4.0))[:zooms]
    return EpisodeFacts(MULTI, status, text, spans_s, zooms + malformed + (text is not None), malformed)


def zoomed(*span_s: Span, malformed: int = 0) -> EpisodeFacts:
    status = Status.ZOOMED if span_s else Status.MALFORMED
    return EpisodeFacts(SINGLE, status, None, span_s, 1, malformed or int(not span_s))


CASES: list[tuple[Task, EpisodeFacts, float, float, float]] = [
    # Task, episode, worth by the paper, by the released code (at most 2), and with grades (at most 2).
    (CHOICE, answered("B"), 1, 2, 2),
    (CHOICE, answered("B", zooms=0), 1, 2, 2),
    (CHOICE, answered("B", zooms=2), 1, 2, 2),
    (CHOICE, answered("A"), 0, 1, 1),
    (CHOICE, answered("C", zooms=0), 0, 1, 1),
    (CHOICE, answered("B", malformed=1), 1, 0, 0),
    (CHOICE, answered("A", malformed=1), 0, 0, 0),
    (CHOICE, answered("B", zooms=0, malformed=2), 1, 0, 0),
    (CHOICE, answered(None, status=Status.NO_ANSWER), 0, 1, 1),
    (CHOICE, answered(None, malformed=1, status=Status.NO_ANSWER), 0, 0, 0),
    (CHOICE, answered(None, malformed=3, zooms=0, status=Status.MALFORMED), 0, 0, 0),
    (CHOICE, answered(None, status=Status.ERROR_DECODE), 0, 0, 0),
    (NOWHERE, answered("B"), 1, 2, 2),
    (CHOICE, zoomed(Span(12.0, 16.0)), 1, 2, 2),
    (CHOICE, zoomed(Span(40.0, 44.0)), 1, 2, 2),
    (CHOICE, zoomed(Span(15.0, 20.0)), 1, 2, 1 + 1 / 8),
    (CHOICE, zoomed(Span(0.0, 64.0)), 1, 2, 1 + 4 / 64),
    (CHOICE, zoomed(Span(16.0, 20.0)), 0, 1, 1),  # They only touch.
    (CHOICE, zoomed(Span(20.0, 30.0)), 0, 1, 1),
    (CHOICE, zoomed(), 0, 0, 0),
    (NOWHERE, zoomed(Span(12.0, 16.0)), 0, 1, 1),
    (NUMBER, answered("12"), 1, 2, 2),
    (NUMBER, answered("12.0 s"), 1, 2, 2),
    (NUMBER, answered("9"), 0, 1, 1.75),
    (NUMBER, answered("12", malformed=1), 1, 0, 0),
    (NUMBER, answered("100"), 0, 1, 1),
    (SIGN, answered("Stop here!"), 1, 2, 2),
    (SIGN, answered("stop"), 0, 1, 1.5),
    (SIGN, answered("go away now"), 0, 1, 1),
    (OPEN, answered("A red flag."), 1, 2, 2),
    (OPEN, answered("a blue flag"), 0, 1, 1),
    (WHEN, answered("[12, 16]"), 1, 2, 2),
    (WHEN, answered("[12, 18]"), 1, 2, 1 + 4 / 6),
    (WHEN, answered("[14, 22]"), 0, 1, 1.2),
    (WHEN, answered("[30, 34]"), 0, 1, 1),
    (WHEN, zoomed(Span(14.0, 18.0)), 1, 2, 1 + 2 / 6),
]


@pytest.mark.parametrize(("task", "facts", "paper", "released", "graded"), CASES)
def test_cases_worked_by_hand(task: Task, facts: EpisodeFacts, paper: float, released: float, graded: float) -> None:
    assert PAPER.score(task, facts).total == pytest.approx(paper)
    assert RELEASED.score(task, facts).total == pytest.approx(released)
    assert GRADED.score(task, facts).total == pytest.approx(graded)


def test_there_are_cases_enough_of_every_kind() -> None:
    assert len(CASES) >= 30
    assert {task.kind for task, *_ in CASES} == set(QuestionKind)
    assert {facts.kind for _, facts, *_ in CASES} == set(EpisodeKind)


def fuzzed(task: Task, rng: random.Random) -> EpisodeFacts:
    """Return what any episode could have been like."""
    texts = (
        "A",
        "B",
        "Z",
        "12",
        "-1e9",
        "nan",
        "stop here stop here",
        "a red flag or a blue one",
        "[0, 64]",
        "[12, 16]",
    )
    times = [Span(*sorted(rng.uniform(0.0, 64.0) for _ in range(2))) for _ in range(rng.randint(0, 6))]
    spans_s = (*times, *task.evidence * rng.randint(0, 3))
    status = rng.choice(tuple(Status))
    return EpisodeFacts(
        rng.choice((MULTI, SINGLE)),
        status,
        rng.choice((None, *texts, gold_answer(task))),
        spans_s,
        rng.randint(1, 9),
        rng.randint(0, 4),
        rng.randint(0, 2),
        rng.randint(0, 200),
    )


@pytest.mark.parametrize(("rubric", "most"), [(PAPER, 1.0), (RELEASED, 2.0), (GRADED, 2.0)])
def test_gold_is_worth_the_most_and_nothing_more(rubric: Rubric, most: float) -> None:
    rng = random.Random(0)
    for task in TASKS:
        assert rubric.score(task, answered(gold_answer(task))).total == most
        totals = [rubric.score(task, fuzzed(task, rng)).total for _ in range(1500)]
        assert 0.0 <= min(totals) <= max(totals) <= most
        assert len(set(totals)) > 1
    assert rubric.score(CHOICE, zoomed(Span(12.0, 16.0))).total == most


def test_the_verdict_is_of_answers_only() -> None:
    assert PAPER.score(CHOICE, answered("B")).is_right is True
    assert PAPER.score(CHOICE, answered("A")).is_right is False
    assert PAPER.score(CHOICE, answered(None, status=Status.NO_ANSWER)).is_right is False
    assert PAPER.score(CHOICE, zoomed(Span(12.0, 16.0))).is_right is None
    assert GRADED.score(WHEN, answered("[14, 22]")).is_right is False


def test_a_wrong_form_takes_the_rest_only_if_so_told() -> None:
    kept = Rubric.from_weights({"outcome": 1.0, "overlap": 1.0, "format": 1.0})
    assert kept.score(CHOICE, answered("B", malformed=1)).total == 1.0
    assert RELEASED.score(CHOICE, answered("B", malformed=1)).parts == {"outcome": 0.0, "format": 0.0}
