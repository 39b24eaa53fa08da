import pytest

from videozoom.envs.captions.gold import gold_visits
from videozoom.envs.captions.tree import CaptionTree, Node
from videozoom.envs.tasks import Span

TREE = CaptionTree(duration_s=64.0, width=4)
"""Spans of 16, 4 and 1 s."""


@pytest.mark.parametrize(
    ("evidence", "visits"),
    [
        ([], ()),
        ([(17, 18)], ((2, 1, 2),)),
        ([(17.2, 17.4)], ((2, 1, 2),)),
        ([(16, 20)], ((2, 1),)),  # One medium-level caption instead of its four low-level ones.
        ([(16, 18)], ((2, 1, 1), (2, 1, 2))),
        ([(16, 19)], ((2, 1, 1), (2, 1, 2), (2, 1, 3))),
        ([(0, 1), (40, 41)], ((1, 1, 1), (3, 3, 1))),
        ([(40, 41), (0, 1)], ((1, 1, 1), (3, 3, 1))),  # In order of time.
        ([(0, 1), (4, 5)], ((1, 1), (1, 2, 1))),  # 3 s apart: one span of 5 s.
        # 1.9 s: both leaves find 1.9 of 2 s visited, F1 3.8 / 3.9; one finds 1 of 1, F1 2 / 2.9.
        ([(17, 18.9)], ((2, 1, 2), (2, 1, 3))),
        # 0.1 s of the second leaf is not worth its second: 2 * 1.1 / 3.1 is below 2 / 2.1.
        ([(17, 18.1)], ((2, 1, 2),)),
    ],
)
def test_gold_visits_of_hand_worked_evidence(evidence: list[tuple[float, float]], visits: tuple[Node, ...]) -> None:
    assert gold_visits(TREE, [Span(*span) for span in evidence], max_visits=14) == visits


def test_the_best_of_few_visits_are_chosen() -> None:
    evidence = [Span(0.0, 1.0), Span(20.0, 24.0), Span(40.0, 41.0)]
    assert gold_visits(TREE, evidence, max_visits=1) == ((2, 2),)
    assert gold_visits(TREE, evidence, max_visits=0) == ()
    assert len(gold_visits(TREE, evidence, max_visits=3)) == 3
