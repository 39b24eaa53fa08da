import numpy as np
import pytest
from attention_trees import random_known, random_tree, tree_of

from videozoom.policies.attention_batches import halved, square_batches
from videozoom.policies.attention_plan import AttentionPlan


def covered(plan: AttentionPlan) -> np.ndarray:
    """`[Lq, Lk]`: how often each pair of query and key is computed."""
    counts = np.zeros((plan.num_queries, plan.num_keys), np.int64)
    for query, key, length in plan.causal:
        counts[query : query + length, key : key + length] += np.tri(length, dtype=np.int64)
    for first, last, key_first, key_last in plan.dense:
        counts[first:last, key_first:key_last] += 1
    return counts


def test_a_plan_by_hand() -> None:
    plan = AttentionPlan.of(tree_of((3, -1), (2, 0), (1, 0)))
    assert plan.causal.tolist() == [[0, 0, 3], [3, 3, 2], [5, 5, 1]]
    assert plan.dense.tolist() == [[3, 6, 0, 3]]
    assert (plan.num_queries, plan.num_keys, plan.num_pairs) == (6, 6, 6 + 3 + 1 + 9)


def test_a_plan_with_known_rows_by_hand() -> None:
    tree = tree_of((3, -1), (2, 0), (1, 0))
    plan = AttentionPlan.of(tree, np.array([1, 1, 1, 0, 0, 0], np.bool_))
    assert plan.causal.tolist() == [[0, 3, 2], [2, 5, 1]]
    assert plan.dense.tolist() == [[0, 3, 0, 3]]
    # Known up to the middle of the root: its last row attends to the first two as a descendant would.
    plan = AttentionPlan.of(tree, np.array([1, 1, 0, 0, 0, 0], np.bool_))
    assert plan.causal.tolist() == [[0, 2, 1], [1, 3, 2], [3, 5, 1]]
    assert plan.dense.tolist() == [[0, 4, 0, 2], [1, 4, 2, 3]]


@pytest.mark.parametrize("seed", range(40))
def test_every_pair_is_computed_once_and_no_other(seed: int) -> None:
    tree = random_tree(seed)
    np.testing.assert_array_equal(covered(AttentionPlan.of(tree)), tree.sees())
    is_known = random_known(tree, seed)
    plan = AttentionPlan.of(tree, is_known)
    np.testing.assert_array_equal(covered(plan), tree.sees()[~is_known])
    assert plan.num_pairs == tree.sees()[~is_known].sum()


@pytest.mark.parametrize("known", [[0, 0, 0, 1, 0], [0, 1, 0, 0, 0], [1, 1, 0, 1, 0]])
def test_a_known_row_under_an_unknown_one_is_refused(known: list[int]) -> None:
    with pytest.raises(ValueError, match=r"is_known: a row of the node \[0, 3\)"):
        AttentionPlan.of(tree_of((3, -1), (1, 0), (1, 0)), np.array(known, np.bool_))


def test_known_rows_of_another_tree_are_refused() -> None:
    with pytest.raises(ValueError, match="is_known has shape"):
        AttentionPlan.of(tree_of((3, -1)), np.zeros(4, np.bool_))


def test_halves_by_hand() -> None:
    plan = halved(AttentionPlan.of(tree_of((5, -1), (1, 0))), longest=2)
    assert plan.causal.tolist() == [[0, 0, 2], [2, 2, 1], [3, 3, 2], [5, 5, 1]]
    assert plan.dense.tolist() == [[5, 6, 0, 5], [2, 5, 0, 2], [3, 5, 2, 3]]


@pytest.mark.parametrize("seed", range(10))
def test_halves_are_the_same_pairs(seed: int) -> None:
    tree = random_tree(seed)
    plan = AttentionPlan.of(tree, random_known(tree, seed))
    for longest in (1, 5, 100):
        halves = halved(plan, longest=longest)
        np.testing.assert_array_equal(covered(halves), covered(plan))
        assert halves.causal[:, 2].max() <= longest


def test_batches_by_hand() -> None:
    plan = AttentionPlan.of(tree_of((300, -1), (20, 0), (18, 0), (20, 0)))
    small, large = square_batches(plan)
    assert small.lengths.tolist() == [18, 20, 20]
    assert small.query_starts.tolist() == [320, 300, 338]
    assert large.lengths.tolist() == [300]
    # Calls that cost nothing are not saved by padding.
    assert [batch.lengths.tolist() for batch in square_batches(plan, call_pairs=0)] == [[18], [20, 20], [300]]


def test_padding_repeats_the_last_row() -> None:
    plan = AttentionPlan.of(tree_of((2, -1), (3, -1)))
    (batch,) = square_batches(plan)
    assert batch.rows(batch.query_starts).tolist() == [[0, 1, 1], [2, 3, 4]]
    assert batch.is_kept().tolist() == [[True, True, False], [True, True, True]]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("call_pairs", [0, 100, 10**9])
def test_batches_hold_every_square_once(seed: int, call_pairs: int) -> None:
    plan = AttentionPlan.of(random_tree(seed))
    batches = square_batches(plan, call_pairs=call_pairs)
    squares = [np.stack([b.query_starts, b.key_starts, b.lengths], 1) for b in batches]
    assert sorted(np.concatenate(squares).tolist()) == plan.causal.tolist()
    assert call_pairs < 10**9 or len(batches) == 1
