import numpy as np
import pytest
import torch
from attention_trees import dense_attention, random_inputs, random_known, random_tree, tree_of

from videozoom.policies import attention_cpu_tree
from videozoom.policies.attention_backends import backend_for
from videozoom.policies.attention_batches import square_batches
from videozoom.policies.attention_plan import AttentionPlan
from videozoom.policies.tree_attention import tree_attention

SCALING = 0.4


def errors(
    tree, is_known, *, heads: int, kv_heads: int, backend: str, dtype=torch.float64, seed: int = 0
) -> list[float]:
    """Largest differences to attention under a full mask: of the output, and of the gradients of query, key, value."""
    plan = AttentionPlan.of(tree, is_known)
    *inputs, grad_out = random_inputs(
        plan.num_queries, plan.num_keys, heads=heads, kv_heads=kv_heads, dtype=dtype, seed=seed
    )
    query, key, value = inputs
    out = tree_attention(query, key, value, plan, scaling=SCALING, backend=backend_for(query.device, dtype, backend))
    expected = dense_attention(query, key, value, tree.sees()[~is_known], SCALING)
    found = (out, *torch.autograd.grad(out, inputs, grad_out))
    right = (expected, *torch.autograd.grad(expected, inputs, grad_out))
    assert [x.dtype for x in found] == [dtype] * 4
    return [float((a - b).detach().abs().max()) for a, b in zip(found, right, strict=True)]


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize(("heads", "kv_heads"), [(2, 2), (4, 2), (4, 1)])
@pytest.mark.parametrize("seed", range(12))
def test_a_tree_is_exact(seed: int, heads: int, kv_heads: int, backend: str) -> None:
    tree = random_tree(seed, max_depth=1 + seed % 4)
    nothing = np.zeros(tree.ends.max(), np.bool_)
    out, *grads = errors(tree, nothing, heads=heads, kv_heads=kv_heads, backend=backend, seed=seed)
    assert out < 1e-12
    assert max(grads) < 1e-11


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("seed", range(12))
def test_a_tree_with_known_rows_is_exact(seed: int, backend: str) -> None:
    tree = random_tree(seed)
    is_known = random_known(tree, seed)
    out, *grads = errors(tree, is_known, heads=4, kv_heads=2, backend=backend, seed=seed)
    assert out < 1e-12
    assert max(grads) < 1e-11


@pytest.mark.parametrize("call_pairs", [0, 10**9])
def test_any_batches_of_squares_are_exact(call_pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_cpu_tree, "square_batches", lambda plan: square_batches(plan, call_pairs=call_pairs))
    tree = random_tree(3, longest=70)
    assert max(errors(tree, random_known(tree, 5), heads=4, kv_heads=2, backend="cpu")) < 1e-11


def test_heads_on_many_cores_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 64)
    tree = random_tree(2)
    assert max(errors(tree, random_known(tree, 5), heads=4, kv_heads=2, backend="cpu")) < 1e-11


def test_long_nodes_are_exact() -> None:
    # The kernel works on blocks of up to 256 queries and 512 keys, and long squares are halved.
    tree = tree_of((1100, -1), (700, 0), (30, 1), (1, 1), (530, 0))
    nothing = np.zeros(tree.ends.max(), np.bool_)
    assert max(errors(tree, nothing, heads=2, kv_heads=1, backend="cpu")) < 1e-11


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-6), (torch.bfloat16, 0.06)])
def test_other_types_are_as_exact_as_they_can_be(dtype: torch.dtype, tolerance: float) -> None:
    tree = random_tree(7)
    nothing = np.zeros(tree.ends.max(), np.bool_)
    assert max(errors(tree, nothing, heads=4, kv_heads=2, backend="cpu", dtype=dtype)) < tolerance


def test_leaks_and_gaps_are_seen_by_these_tests() -> None:
    """Negative control: a pair too many or too few is an error of another size."""
    tree = tree_of((5, -1), (4, 0), (4, 0))
    chain = tree_of((13, -1))
    nothing = np.zeros(13, np.bool_)
    for wrong in (chain, tree_of((5, -1), (4, 0), (4, -1))):
        plan = AttentionPlan.of(wrong, nothing)
        query, key, value, _ = random_inputs(13, 13, heads=2, kv_heads=1, dtype=torch.float64, seed=0)
        out = tree_attention(query, key, value, plan, scaling=SCALING, backend=backend_for(query.device, query.dtype))
        assert (out - dense_attention(query, key, value, tree.sees(), SCALING)).abs().max() > 0.1


def test_inputs_of_another_length_than_the_plan_are_refused() -> None:
    """Negative control for a cache that was dropped: its keys are missing."""
    tree = tree_of((5, -1), (4, 0))
    plan = AttentionPlan.of(tree, np.arange(9) < 5)
    query, key, value, _ = random_inputs(4, 4, heads=2, kv_heads=1, dtype=torch.float64, seed=0)
    with pytest.raises(ValueError, match="the plan has 4 queries on 9 keys, but attention was given 4 on 4"):
        tree_attention(query, key, value, plan, scaling=SCALING, backend=backend_for(query.device, query.dtype))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_plan_without_queries_gives_nothing(backend: str) -> None:
    plan = AttentionPlan.of(tree_of((5, -1), (4, 0)), np.ones(9, np.bool_))
    query, key, value, _ = random_inputs(0, 9, heads=2, kv_heads=1, dtype=torch.float64, seed=0)
    out = tree_attention(
        query, key, value, plan, scaling=SCALING, backend=backend_for(query.device, query.dtype, backend)
    )
    assert out.shape == (1, 0, 2, 8)
