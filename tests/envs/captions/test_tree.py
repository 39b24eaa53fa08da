import pytest
from hypothesis import given
from hypothesis import strategies as st

from videozoom.envs.captions.tree import LEVELS, CaptionTree, Level, Node, WidthRule, level_of
from videozoom.envs.tasks import Span
from videozoom.rewards.overlap import union

DURATIONS_S = st.floats(0.5, 40_000.0, allow_nan=False)
WIDTHS = st.integers(2, 8)


@pytest.mark.parametrize(
    ("duration_s", "width"),
    # 4.5 ** 3 * 16 = 1458 and so on are where the width grows.
    [(16, 4), (1200, 4), (1457, 4), (1459, 5), (2661, 5), (2663, 6), (3600, 6), (6749, 7), (6751, 8), (36000, 8)],
)
def test_width_follows_the_published_rule(duration_s: float, width: int) -> None:
    assert WidthRule().width(duration_s) == width


@pytest.mark.parametrize(
    ("rule", "duration_s", "width"),
    [(WidthRule(least=3), 400.0, 3), (WidthRule(leaf_s=4.0), 256.0, 4), (WidthRule(leaf_s=1.0, most=5), 3600.0, 5)],
)
def test_width_can_be_ruled_otherwise(rule: WidthRule, duration_s: float, width: int) -> None:
    assert rule.width(duration_s) == width


@pytest.mark.parametrize("bad", [{"leaf_s": 0.0}, {"least": 1}, {"least": 5, "most": 4}])
def test_widths_that_make_no_sense_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"leaf_s|least"):
        WidthRule(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("node", "span"),
    [
        ((1,), (0, 16)),
        ((4,), (48, 64)),
        ((2, 1), (16, 20)),
        ((2, 4), (28, 32)),
        ((2, 1, 2), (17, 18)),
        ((1, 1, 1), (0, 1)),
        ((4, 4, 4), (63, 64)),
    ],
)
def test_spans_of_hand_worked_nodes(node: Node, span: tuple[float, float]) -> None:
    assert CaptionTree(64.0, width=4).span(node) == Span(*span)


@pytest.mark.parametrize("node", [(), (0,), (5,), (1, 0), (1, 5), (-1, 1), (1, 1, 1, 1), (1.0,), "1", 1, None])
def test_what_is_no_node_has_no_span(node: Node) -> None:
    tree = CaptionTree(64.0, width=4)
    assert node not in tree
    with pytest.raises(ValueError, match="no node of a tree of width 4"):
        tree.span(node)


@given(DURATIONS_S, WIDTHS)
def test_each_level_covers_the_video_without_gaps_and_shares_boundaries_with_the_one_above(
    duration_s: float, width: int
) -> None:
    tree = CaptionTree(duration_s, width)
    for level in LEVELS:
        spans = [tree.span(node) for node in tree.nodes(level)]
        assert len(spans) == width ** (LEVELS.index(level) + 1)
        # Equal floats, not nearly equal ones.
        assert [span.start_s for span in spans] == [0.0, *(span.end_s for span in spans[:-1])]
        assert spans[-1].end_s == duration_s
    for node in (*tree.nodes(Level.HIGH), *tree.nodes(Level.MEDIUM)):
        children = [tree.span((*node, part)) for part in range(1, width + 1)]
        assert union(children) == (tree.span(node),)


def test_levels_are_those_of_the_depth() -> None:
    assert [level_of(node) for node in [(1,), (1, 2), (1, 2, 3)]] == [Level.HIGH, Level.MEDIUM, Level.LOW]
    assert [len(list(CaptionTree(64.0, 6).nodes(level))) for level in LEVELS] == [6, 36, 216]
