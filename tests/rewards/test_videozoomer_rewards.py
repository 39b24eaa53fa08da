import itertools
from pathlib import Path
from typing import Any

import pytest

from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.rewards.facts import EpisodeFacts
from videozoom.rewards.rubric import RewardRules, Rubric
from videozoom.rewards.zooming import ManyFramesPenalty, num_zooms, zoom_used_penalty

TASK = Task("t", Path("v.mp4"), 64.0, "Which sign?", ("bars", "lines", "dots"), "B", (Span(12.0, 16.0),))
MULTI, ZOOM = EpisodeKind.MULTI_STEP, EpisodeKind.ZOOM_STEP


def answered(
    letter: str, *, zooms: int = 0, frames: int = 8, refused: int = 0, ill_formed: int = 0, kind: EpisodeKind = MULTI
) -> EpisodeFacts:
    """Return an episode with some zooms of some frames each, some refused steps, and an answer."""
    return EpisodeFacts(
        kind=kind,
        status=Status.ANSWERED,
        answer=letter,
        spans_s=tuple(Span(4.0 * index, 4.0 * index + 4.0) for index in range(zooms)),
        num_steps=zooms + refused + 1,
        num_malformed=refused,
        num_ill_formed=ill_formed,
        num_clip_frames=zooms * frames,
    )


def unanswered(*, zooms: int, refused: int, frames: int = 8) -> EpisodeFacts:
    """Return an episode that ended without an answer: the last round was a zoom, or nothing readable."""
    spans = tuple(Span(4.0 * index, 4.0 * index + 4.0) for index in range(zooms))
    return EpisodeFacts(MULTI, Status.MALFORMED, None, spans, zooms + refused, refused, num_clip_frames=zooms * frames)


# An episode; what it is worth as published: 0.9 for the answer, 0.1 for the form; what with penalties of 0.1 for any
# zoom, 0.05 for each, and 0.2 from 32 frames on: always, only where the answer is right, only where it is not; what
# if there must be a zoom.
TABLE = [
    # Right answers.
    (answered("B"), 1.0, 1.0, 1.0, 1.0, 0.0),
    (answered("B", zooms=1), 1.0, 0.85, 0.85, 1.0, 1.0),
    (answered("B", zooms=2), 1.0, 0.8, 0.8, 1.0, 1.0),
    (answered("B", zooms=4), 1.0, 0.5, 0.5, 1.0, 1.0),  # 0.1, four times 0.05, and 32 frames
    (answered("B", zooms=4, frames=7), 1.0, 0.7, 0.7, 1.0, 1.0),  # 28 frames
    (answered("B", zooms=2, frames=16), 1.0, 0.6, 0.6, 1.0, 1.0),
    (answered("B", zooms=4, frames=16), 1.0, 0.5, 0.5, 1.0, 1.0),
    (answered("B", ill_formed=1), 0.9, 0.9, 0.9, 0.9, 0.0),
    (answered("B", zooms=1, ill_formed=1), 0.9, 0.75, 0.75, 0.9, 0.9),
    (answered("B", zooms=1, ill_formed=2), 0.9, 0.75, 0.75, 0.9, 0.9),
    (answered("B", refused=1), 0.9, 0.75, 0.75, 0.9, 0.0),  # a refused zoom is no zoom, but costs one
    (answered("B", zooms=1, refused=1), 0.9, 0.7, 0.7, 0.9, 0.9),
    (answered("B", zooms=1, refused=3), 0.9, 0.6, 0.6, 0.9, 0.9),
    (answered("B", refused=4, ill_formed=1), 0.9, 0.6, 0.6, 0.9, 0.0),
    (answered("B", zooms=1, frames=32), 1.0, 0.65, 0.65, 1.0, 1.0),
    # Wrong answers: the form is worth 0.1 all the same.
    (answered("A"), 0.1, 0.1, 0.1, 0.1, 0.0),
    (answered("C"), 0.1, 0.1, 0.1, 0.1, 0.0),
    (answered("A", zooms=1), 0.1, -0.05, 0.1, -0.05, 0.1),
    (answered("A", zooms=2), 0.1, -0.1, 0.1, -0.1, 0.1),
    (answered("A", zooms=4), 0.1, -0.4, 0.1, -0.4, 0.1),
    (answered("A", zooms=2, frames=16), 0.1, -0.3, 0.1, -0.3, 0.1),
    (answered("A", ill_formed=1), 0.0, 0.0, 0.0, 0.0, 0.0),
    (answered("A", zooms=1, ill_formed=1), 0.0, -0.15, 0.0, -0.15, 0.0),
    (answered("A", refused=1), 0.0, -0.15, 0.0, -0.15, 0.0),
    (answered("A", zooms=1, refused=2), 0.0, -0.25, 0.0, -0.25, 0.0),
    # No answer: a zoom in the last round, or a text without one. The last step, whatever it was, costs nothing.
    (unanswered(zooms=0, refused=1), 0.0, -0.1, 0.0, -0.1, 0.0),
    (unanswered(zooms=4, refused=1), 0.0, -0.5, 0.0, -0.5, 0.0),
    (unanswered(zooms=1, refused=4), 0.0, -0.3, 0.0, -0.3, 0.0),
    (unanswered(zooms=0, refused=5), 0.0, -0.3, 0.0, -0.3, 0.0),
    (unanswered(zooms=2, refused=3, frames=16), 0.0, -0.5, 0.0, -0.5, 0.0),
    # Single zooms, which VideoZoomer does not have: 0.9 for a hit, 0.1 for the form, no penalties.
    (EpisodeFacts(ZOOM, Status.ZOOMED, None, (Span(12.0, 16.0),), 1, 0), 1.0, 1.0, 1.0, 1.0, 1.0),
    (EpisodeFacts(ZOOM, Status.ZOOMED, None, (Span(12.0, 16.0),), 1, 0, 1), 0.9, 0.9, 0.9, 0.9, 0.9),
    (EpisodeFacts(ZOOM, Status.ZOOMED, None, (Span(20.0, 24.0),), 1, 0), 0.1, 0.1, 0.1, 0.1, 0.1),
    (EpisodeFacts(ZOOM, Status.MALFORMED, None, (), 1, 1), 0.0, 0.0, 0.0, 0.0, 0.0),
    # The video could not be read.
    (EpisodeFacts(MULTI, Status.ERROR_DECODE, None, (), 1, 0), 0.0, 0.0, 0.0, 0.0, 0.0),
]
PENALTIES = {"zoom_used": 0.1, "cost": 0.05, "many_frames": 0.2}


def rubric(penalties_when: str) -> Rubric:
    return Rubric.videozoomer(RewardRules(penalties_when=penalties_when, many_frames=32), **PENALTIES)


RUBRICS = [
    Rubric.videozoomer(),
    rubric("always"),
    rubric("correct"),
    rubric("incorrect"),
    Rubric.videozoomer(RewardRules(needs_zoom=True)),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: str(TABLE.index(row)))
def test_rewards_of_hand_worked_episodes(row: tuple[Any, ...]) -> None:
    facts, *expected = row
    assert [it.score(TASK, facts).total for it in RUBRICS] == pytest.approx(expected)


def test_penalties_are_off_unless_asked_for() -> None:
    facts = answered("B", zooms=4, frames=16)
    assert Rubric.videozoomer().score(TASK, facts).parts == {"outcome": 1.0, "format": 1.0}
    weights = dict.fromkeys(PENALTIES, 0.0)
    parts = Rubric.videozoomer(**weights).score(TASK, facts).parts  # measured, not trained on
    assert parts == {"outcome": 1.0, "format": 1.0, "zoom_used": -1.0, "cost": -4.0, "many_frames": -1.0}


def every_episode() -> list[EpisodeFacts]:
    counts = itertools.product(range(5), range(5), range(3), (1, 8, 16))
    episodes = [
        answered(letter, zooms=zooms, refused=refused, ill_formed=ill_formed, frames=frames)
        for zooms, refused, ill_formed, frames in counts
        for letter in "ABC"
    ]
    return episodes + [unanswered(zooms=zooms, refused=refused) for zooms in range(5) for refused in range(1, 5)]


@pytest.mark.parametrize("index", range(len(RUBRICS)))
def test_nothing_is_worth_more_than_the_right_answer_in_form(index: int) -> None:
    gold = max(RUBRICS[index].score(TASK, answered("B", zooms=zooms)).total for zooms in (0, 1))
    assert gold == pytest.approx(1.0)
    assert max(RUBRICS[index].score(TASK, facts).total for facts in every_episode()) <= gold


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_wrong_answer_is_worth_less_than_a_right_one_of_the_same_form(index: int) -> None:
    for facts in every_episode():
        if facts.answer == "A":
            zooms, refused, frames = len(facts.spans_s), facts.num_malformed, facts.num_clip_frames
            right = answered(
                "B", zooms=zooms, refused=refused, ill_formed=facts.num_ill_formed, frames=frames // max(1, zooms)
            )
            assert RUBRICS[index].score(TASK, facts).total < RUBRICS[index].score(TASK, right).total


def test_what_counts_as_a_zoom() -> None:
    assert [num_zooms(it) for it in (answered("B"), answered("B", zooms=2), unanswered(zooms=2, refused=1))] == [
        0,
        2,
        3,
    ]
    assert [zoom_used_penalty(TASK, it) for it in (answered("B"), answered("B", refused=1))] == [0.0, -1.0]


def test_penalties_do_not_concern_single_zooms() -> None:
    facts = EpisodeFacts(ZOOM, Status.ZOOMED, None, (Span(12.0, 16.0),), 1, 0, num_clip_frames=99)
    assert zoom_used_penalty(TASK, facts) is None
    assert ManyFramesPenalty(1)(TASK, facts) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"penalties_when": "never"}, "penalties_when must be one of always, correct, incorrect, got 'never'"),
        ({"many_frames": 0}, "many_frames must be at least 1, got 0"),
    ],
)
def test_rules_that_make_no_sense_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RewardRules(**values)
