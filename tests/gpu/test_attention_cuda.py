"""The CUDA kernels against attention written out in float64: `pytest -m gpu tests/gpu` on a machine with a GPU."""

import numpy as np
import pytest
import torch
from attention_trees import Tree, dense_attention, random_inputs, random_known, random_tree, tree_of

from videozoom.policies.attention_backends import backend_for
from videozoom.policies.attention_plan import AttentionPlan
from videozoom.policies.tree_attention import tree_attention

pytestmark = pytest.mark.gpu

SCALING = 0.1


def relative_errors(tree: Tree, is_known: np.ndarray, dtype: torch.dtype, *, heads: int, kv_heads: int) -> list[float]:
    """Norm of the difference to the norm: of the output, and of the gradients of query, key and value."""
    plan = AttentionPlan.of(tree, is_known)
    *inputs, grad_out = (
        x.detach().cuda()
        for x in random_inputs(
            plan.num_queries, plan.num_keys, heads=heads, kv_heads=kv_heads, size=64, dtype=dtype, seed=0
        )
    )
    query, key, value = (x.requires_grad_() for x in inputs)
    backend = backend_for(query.device, dtype, "cuda")
    out = tree_attention(query, key, value, plan, scaling=SCALING, backend=backend)
    found = (out, *torch.autograd.grad(out, (query, key, value), grad_out))
    exact = [x.detach().double().cpu().requires_grad_() for x in (query, key, value)]
    right = dense_attention(*exact, tree.sees()[~is_known], SCALING)
    expected = (right, *torch.autograd.grad(right, exact, grad_out.double().cpu()))
    return [float(((a.double().cpu() - b).norm() / b.norm()).detach()) for a, b in zip(found, expected, strict=True)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_kernels_are_used(dtype: torch.dtype) -> None:
    assert backend_for(torch.device("cuda"), dtype).name == "cuda"


def test_float32_gets_the_reference() -> None:
    assert backend_for(torch.device("cuda"), torch.float32).name == "reference"


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("heads", "kv_heads"), [(2, 2), (8, 2), (7, 1)])
def test_random_trees(seed: int, heads: int, kv_heads: int) -> None:
    tree = random_tree(seed, longest=150)
    is_known = random_known(tree, seed) if seed % 2 else np.zeros(tree.ends.max(), np.bool_)
    assert max(relative_errors(tree, is_known, torch.bfloat16, heads=heads, kv_heads=kv_heads)) < 0.01


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.01), (torch.float16, 0.002)])
def test_a_tree_like_that_of_a_group(dtype: torch.dtype, tolerance: float) -> None:
    branches = [node for branch in range(8) for node in ((190, 0), (30, 1 + 3 * branch), (40, 1 + 3 * branch))]
    tree = tree_of((2048, -1), *branches)
    nothing = np.zeros(tree.ends.max(), np.bool_)
    assert max(relative_errors(tree, nothing, dtype, heads=8, kv_heads=2)) < tolerance
