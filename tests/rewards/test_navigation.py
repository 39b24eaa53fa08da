import math
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videozoom.envs.captions.gold import gold_visits
from videozoom.envs.captions.tree import CaptionTree, Level, Node
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.rewards.facts import EpisodeFacts
from videozoom.rewards.navigation import cost_penalty, evidence_f1_reward, repeat_penalty, span_f1
from videozoom.rewards.overlap import intersection_s, union
from videozoom.rewards.rubric import Rubric

TREE = CaptionTree(duration_s=1024.0, width=4)
"""Spans of 256, 64 and 16 s."""
LONGVIDEO_R1 = Rubric.from_weights({"outcome": 1.0, "evidence_f1": 1.0, "repeat": 0.2})

Seconds = tuple[tuple[float, float], ...]
LEAF: Seconds = ((272, 288),)  # Node (2, 1, 2) exactly.
HALF: Seconds = ((272, 280),)
MEDIUM: Seconds = ((256, 320),)  # Node (2, 1) exactly.
TWO: Seconds = ((0, 16), (272, 288))
NEAR: Seconds = ((260, 270), (274, 284))  # 4 s apart: counts as [260, 284).
FAR: Seconds = ((260, 268), (274, 282))  # 6 s apart.
DOUBLE: Seconds = ((272, 284), (276, 288))  # Two annotators: counts as [272, 288).

M, L, WRONG, NEXT, FIRST = (2, 1), (2, 1, 2), (4, 4, 4), (2, 1, 3), (1, 1, 1)
LEAVES = tuple((2, 1, part) for part in range(1, 5))
# Columns: evidence; visits in order; answer (B is right); F1 as found, visited and evidence seconds; repeats; total.
TABLE: list[tuple[Seconds, tuple[Node, ...], str | None, float, float, float]] = [
    (LEAF, (), "B", 0, 0, 1.0),
    (LEAF, (), "A", 0, 0, 0.0),
    (LEAF, (), None, 0, 0, 0.0),
    (LEAF, (L,), "B", 1, 0, 2.0),  # Gold.
    (LEAF, (L, L), "B", 1, -1, 1.8),  # The released code gives 2.8, 3.6 and 6.0 for these three.
    (LEAF, (L, L, L), "B", 1, -2, 1.6),
    (LEAF, (L,) * 6, "B", 1, -5, 1.0),
    (LEAF, (L,), "A", 1, 0, 1.0),
    (LEAF, (L,), None, 1, 0, 1.0),
    (LEAF, (M,), "B", 2 * 16 / (64 + 16), 0, 1.4),
    (LEAF, (M, L), "B", 2 * 16 / (64 + 16), 0, 1.4),  # The leaf lies inside: it adds nothing (released: 1.8).
    (LEAF, (L, M), "B", 2 * 16 / (64 + 16), 0, 1.4),
    (LEAF, (M, NEXT), "B", 2 * 16 / (64 + 16), 0, 1.4),
    (LEAF, LEAVES, "B", 2 * 16 / (64 + 16), 0, 1.4),
    (LEAF, (WRONG,), "B", 0, 0, 1.0),
    (LEAF, (NEXT,), "B", 0, 0, 1.0),  # Touching is not seeing.
    (LEAF, ((3, 2),), "B", 0, 0, 1.0),
    (LEAF, (WRONG, WRONG), "B", 0, -1, 0.8),
    (LEAF, (WRONG, WRONG), "A", 0, -1, -0.2),
    (LEAF, (L, NEXT), "B", 2 * 16 / (32 + 16), 0, 1 + 2 / 3),
    (LEAF, (L, WRONG), "B", 2 * 16 / (32 + 16), 0, 1 + 2 / 3),
    (LEAF, (L, WRONG, L), "B", 2 * 16 / (32 + 16), -1 / 2, 1 + 2 / 3 - 0.1),
    (LEAF, (L, WRONG, NEXT), "B", 2 * 16 / (48 + 16), 0, 1.5),
    (LEAF, (M, M), "B", 2 * 16 / (64 + 16), -1, 1.2),
    (LEAF, (M, L, M, L), "B", 2 * 16 / (64 + 16), -1, 1.2),
    (LEAF, tuple((2, part) for part in range(1, 5)), "B", 2 * 16 / (256 + 16), 0, 1 + 2 / 17),
    (LEAF, tuple(TREE.nodes(Level.MEDIUM)), "B", 2 * 16 / (1024 + 16), 0, 1 + 2 / 65),
    (HALF, (L,), "B", 2 * 8 / (16 + 8), 0, 1 + 2 / 3),  # Gold: no node is shorter.
    (HALF, (M,), "B", 2 * 8 / (64 + 8), 0, 1 + 2 / 9),
    (MEDIUM, (M,), "B", 1, 0, 2.0),  # Gold.
    (MEDIUM, LEAVES, "B", 1, 0, 2.0),
    (MEDIUM, (M, *LEAVES), "B", 1, 0, 2.0),
    (MEDIUM, (L,), "B", 2 * 16 / (16 + 64), 0, 1.4),
    (MEDIUM, LEAVES[:3], "B", 2 * 48 / (48 + 64), 0, 1 + 6 / 7),
    (TWO, (FIRST, L), "B", 1, 0, 2.0),  # Gold.
    (TWO, (L, FIRST), "B", 1, 0, 2.0),
    (TWO, (L,), "B", 2 * 16 / (16 + 32), 0, 1 + 2 / 3),
    (TWO, (L, L), "B", 2 * 16 / (16 + 32), -1, 1 + 2 / 3 - 0.2),  # Not as good as the other one.
    (TWO, (L, FIRST, WRONG), "B", 2 * 32 / (48 + 32), 0, 1.8),
    (NEAR, LEAVES[:2], "B", 2 * 24 / (32 + 24), 0, 1 + 6 / 7),
    (NEAR, (L,), "B", 2 * 12 / (16 + 24), 0, 1.6),
    (FAR, LEAVES[:2], "B", 2 * 16 / (32 + 16), 0, 1 + 2 / 3),
    (DOUBLE, (L,), "B", 1, 0, 2.0),
]


def task_with(evidence: Seconds) -> Task:
    spans = tuple(Span(*span) for span in evidence)
    return Task("t", Path("v.mp4"), TREE.duration_s, "Which sign?", ("bars", "lines"), "B", spans)


def facts_of(visits: tuple[Node, ...], answer: str | None, tree: CaptionTree = TREE) -> EpisodeFacts:
    status = Status.NO_ANSWER if answer is None else Status.ANSWERED
    spans = tuple(map(tree.span, visits))
    return EpisodeFacts(EpisodeKind.MULTI_STEP, status, answer, spans, len(visits) + 1, num_malformed=0)


@pytest.mark.parametrize(("evidence", "visits", "answer", "f1", "repeat", "total"), TABLE)
def test_hand_worked_episodes(
    evidence: Seconds, visits: tuple[Node, ...], answer: str | None, f1: float, repeat: float, total: float
) -> None:
    breakdown = LONGVIDEO_R1.score(task_with(evidence), facts_of(visits, answer))
    assert breakdown.parts == {
        "outcome": float(answer == "B"),
        "evidence_f1": pytest.approx(f1, abs=1e-12),
        "repeat": pytest.approx(repeat),
    }
    assert breakdown.total == pytest.approx(total)


def released_score(task: Task, facts: EpisodeFacts) -> float:
    """Return the score of the released code, which adds up what every visit finds."""
    found_s = sum(intersection_s(span, wanted) for span in facts.spans_s for wanted in task.evidence)
    coverage = found_s / sum(span.length_s for span in task.evidence)
    precision = found_s / sum(span.length_s for span in union(facts.spans_s))
    f1 = 2 * coverage * precision / (coverage + precision) if found_s else 0.0
    return float(facts.answer == task.answer) + f1 + 0.2 * (repeat_penalty(task, facts) or 0.0)


@pytest.mark.parametrize(
    ("visits", "released"), [((L,), 2.0), ((L, L), 2.8), ((L,) * 3, 3.6), ((L,) * 6, 6.0), ((M, L), 1.8)]
)
def test_the_mistake_that_is_mended_would_be_noticed(visits: tuple[Node, ...], released: float) -> None:
    task, facts = task_with(LEAF), facts_of(visits, "B")
    assert released_score(task, facts) == pytest.approx(released)
    assert LONGVIDEO_R1.score(task, facts).total <= 2.0


NODES = [*TREE.nodes(Level.MEDIUM), *TREE.nodes(Level.LOW)]
TIMES = st.integers(0, 1024)
EVIDENCE = st.lists(st.tuples(TIMES, TIMES).map(sorted).filter(lambda span: span[0] < span[1]), min_size=1, max_size=4)
VISITS = st.lists(st.sampled_from(NODES), max_size=14).map(tuple)


@given(EVIDENCE, VISITS, st.sampled_from(["A", "B", None]))
def test_no_episode_exceeds_the_gold_one(evidence: list[list[int]], visits: tuple[Node, ...], answer: str) -> None:
    task = task_with(tuple((float(start), float(end)) for start, end in evidence))
    gold = facts_of(gold_visits(TREE, task.evidence, max_visits=14), "B")
    highest = LONGVIDEO_R1.score(task, gold).total
    assert LONGVIDEO_R1.score(task, facts_of(visits, answer)).total <= highest + 1e-9
    assert 1.0 < highest <= 2.0


@given(EVIDENCE, VISITS.filter(bool), st.data())
def test_visiting_again_never_raises_the_score(
    evidence: list[list[int]], visits: tuple[Node, ...], data: st.DataObject
) -> None:
    task = task_with(tuple((float(start), float(end)) for start, end in evidence))
    again = (*visits, data.draw(st.sampled_from(visits)))
    once, twice = (LONGVIDEO_R1.score(task, facts_of(it, "B")).total for it in (visits, again))
    assert twice < once


@pytest.mark.parametrize(
    "evidence",
    [
        ((5.0, 11.0),),
        ((0.0, 64.0),),
        ((3.0, 4.0), (40.0, 50.0)),
        ((15.0, 17.0), (30.0, 34.0)),
        ((1.0, 9.0), (14.0, 31.0)),
    ],
)
@pytest.mark.parametrize("max_visits", [1, 2, 3, 12])
def test_no_other_set_of_visits_scores_higher_than_the_gold_one(evidence: Seconds, max_visits: int) -> None:
    tree = CaptionTree(64.0, width=2)
    task = task_with(evidence)
    gold = gold_visits(tree, task.evidence, max_visits)
    nodes = [*tree.nodes(Level.MEDIUM), *tree.nodes(Level.LOW)]
    every = [chosen for count in range(max_visits + 1) for chosen in combinations(nodes, count)]
    scores = {chosen: evidence_f1_reward(task, facts_of(chosen, "B", tree)) or 0.0 for chosen in every}
    highest = max(scores.values())
    assert evidence_f1_reward(task, facts_of(gold, "B", tree)) == pytest.approx(highest)
    assert len(gold) == min(len(chosen) for chosen, score in scores.items() if score > highest - 1e-9)


@pytest.mark.parametrize(("num_steps", "cost"), [(1, 0.0), (2, -1.0), (15, -14.0), (0, 0.0)])
def test_each_step_before_the_last_costs(num_steps: int, cost: float) -> None:
    facts = EpisodeFacts(EpisodeKind.MULTI_STEP, Status.ANSWERED, "B", (), num_steps, 0)
    assert cost_penalty(task_with(LEAF), facts) == cost
    assert math.copysign(1.0, cost_penalty(task_with(LEAF), facts) or 0.0) == (1.0 if cost == 0.0 else -1.0)


def test_with_a_cost_a_short_way_to_the_same_evidence_is_worth_more() -> None:
    rubric = Rubric.from_weights({"outcome": 1.0, "evidence_f1": 1.0, "repeat": 0.2, "cost": 0.01})
    task = task_with(MEDIUM)
    at_once, by_leaves = (rubric.score(task, facts_of(visits, "B")).total for visits in ((M,), LEAVES))
    assert (at_once, by_leaves) == (pytest.approx(1.99), pytest.approx(1.96))


def test_single_steps_and_tasks_without_evidence_are_not_scored() -> None:
    zoom = EpisodeFacts(EpisodeKind.ZOOM_STEP, Status.ZOOMED, None, (Span(272.0, 288.0),), 1, 0)
    rewards = (evidence_f1_reward, repeat_penalty, cost_penalty)
    assert [reward(task_with(LEAF), zoom) for reward in rewards] == [None, None, None]
    assert evidence_f1_reward(task_with(()), facts_of((L,), "B")) is None


def test_an_empty_visit_covers_nothing() -> None:
    assert span_f1([Span(4.0, 4.0)], [Span(0.0, 8.0)]) == 0.0
    assert span_f1([], [Span(0.0, 8.0)]) == 0.0
