from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.rewards.facts import EpisodeFacts
from videozoom.rewards.overlap import OverlapMeasure, OverlapReward, any_overlap, intersection_s, iou, union
from videozoom.rewards.rubric import RewardRules, Rubric

TIMES = st.floats(0.0, 10_000.0, allow_nan=False)
SPANS = st.tuples(TIMES, TIMES).map(lambda times: Span(*sorted(times)))


@pytest.mark.parametrize(
    ("first", "second", "shared_s", "expected_iou"),
    [
        ((0, 10), (0, 10), 10.0, 1.0),
        ((0, 10), (5, 15), 5.0, 1 / 3),
        ((0, 6), (4, 8), 2.0, 0.25),
        ((0, 10), (2, 4), 2.0, 0.2),
        ((0, 64), (12, 16), 4.0, 0.0625),
        ((0, 4), (4, 8), 0.0, 0.0),  # Half-open: spans that touch share nothing.
        ((0, 4), (5, 8), 0.0, 0.0),
        ((0, 4), (3.5, 3.5), 0.0, 0.0),  # An empty span overlaps nothing.
        ((3, 3), (3, 3), 0.0, 0.0),
    ],
)
def test_intersection_and_iou_of_hand_worked_spans(
    first: tuple[float, float], second: tuple[float, float], shared_s: float, expected_iou: float
) -> None:
    assert intersection_s(Span(*first), Span(*second)) == shared_s
    assert iou(Span(*first), Span(*second)) == pytest.approx(expected_iou)


@given(SPANS, SPANS)
def test_iou_is_symmetric_and_bounded(first: Span, second: Span) -> None:
    assert iou(first, second) == iou(second, first)
    assert 0.0 <= iou(first, second) <= 1.0
    assert (iou(first, second) > 0.0) <= any_overlap(first, [second])


@given(SPANS)
def test_a_span_has_iou_1_with_itself_and_0_with_what_follows_it(span: Span) -> None:
    assert iou(span, span) == (1.0 if span.length_s > 0 else 0.0)
    assert iou(span, Span(span.end_s, span.end_s + 5.0)) == 0.0


@pytest.mark.parametrize(
    ("spans", "gap_s", "covered"),
    [
        ([], 0.0, []),
        ([(0, 4)], 0.0, [(0, 4)]),
        ([(8, 12), (0, 4)], 0.0, [(0, 4), (8, 12)]),
        ([(0, 4), (4, 8)], 0.0, [(0, 8)]),  # What touches becomes one.
        ([(0, 9), (2, 3), (8, 12)], 0.0, [(0, 12)]),
        ([(0, 4), (0, 4)], 0.0, [(0, 4)]),
        ([(3, 3), (5, 4)], 0.0, []),  # Empty and reversed spans cover nothing.
        ([(0, 4), (9, 10)], 5.0, [(0, 10)]),
        ([(0, 4), (9.5, 10)], 5.0, [(0, 4), (9.5, 10)]),
        ([(0, 20), (1, 2), (23, 24)], 5.0, [(0, 24)]),  # The gap counts from the furthest end so far.
    ],
)
def test_union_of_hand_worked_spans(
    spans: list[tuple[float, float]], gap_s: float, covered: list[tuple[float, float]]
) -> None:
    assert union([Span(*span) for span in spans], gap_s) == tuple(Span(*span) for span in covered)


@given(st.lists(SPANS, max_size=8))
def test_a_union_is_apart_in_order_and_no_longer_than_its_parts(spans: list[Span]) -> None:
    covered = union(spans)
    assert all(first.end_s < second.start_s for first, second in pairwise(covered))
    assert sum(span.length_s for span in covered) <= sum(span.length_s for span in spans) + 1e-6
    assert union(covered) == covered


def test_any_overlap_needs_one_of_the_others() -> None:
    others = [Span(0.0, 4.0), Span(8.0, 12.0)]
    assert any_overlap(Span(11.0, 20.0), others)
    assert not any_overlap(Span(4.0, 8.0), others)
    assert not any_overlap(Span(4.0, 8.0), [])


@pytest.mark.parametrize(
    ("span", "binary", "by_iou"),
    # Evidence at 4 to 8 s and at 20 to 24 s.
    [((6, 10), 1.0, 2 / 6), ((20, 24), 1.0, 1.0), ((0, 24), 1.0, 4 / 24), ((8, 20), 0.0, 0.0)],
)
def test_a_single_zoom_is_worth_that_it_touches_or_how_well_it_fits(
    span: tuple[float, float], binary: float, by_iou: float
) -> None:
    task = Task("t", Path("v.mp4"), 64.0, "Which?", ("a", "b"), "A", (Span(4.0, 8.0), Span(20.0, 24.0)))
    facts = EpisodeFacts(EpisodeKind.ZOOM_STEP, Status.ZOOMED, None, (Span(*span),), num_steps=1, num_malformed=0)
    assert OverlapReward(OverlapMeasure.BINARY)(task, facts) == binary
    assert OverlapReward(OverlapMeasure.IOU)(task, facts) == pytest.approx(by_iou)
    rubric = Rubric.from_weights({"overlap": 1.0}, RewardRules(overlap="iou"))
    assert rubric.score(task, facts).total == pytest.approx(by_iou)


def test_overlap_of_no_zoom_is_0_and_of_whole_episodes_undefined() -> None:
    task = Task("t", Path("v.mp4"), 64.0, "Which?", ("a", "b"), "A", (Span(4.0, 8.0),))
    nothing = EpisodeFacts(EpisodeKind.ZOOM_STEP, Status.NO_ANSWER, None, (), num_steps=1, num_malformed=1)
    whole = EpisodeFacts(EpisodeKind.MULTI_STEP, Status.ANSWERED, "A", (Span(4.0, 8.0),), num_steps=2, num_malformed=0)
    for measure in OverlapMeasure:
        assert OverlapReward(measure)(task, nothing) == 0.0
        assert OverlapReward(measure)(task, whole) is None
    with pytest.raises(ValueError, match="overlap must be one of binary, iou, got 'area'"):
        RewardRules(overlap="area")
