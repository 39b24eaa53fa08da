"""What the CUDA backend asks of its kernels, on a CPU: a written-out kernel for packed sequences stands in for them."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from attention_trees import dense_attention, random_inputs, random_known, random_tree, tree_of
from torch import Tensor

from videozoom.policies import attention_cuda, attention_probe
from videozoom.policies.attention_cuda import CudaBackend, levels
from videozoom.policies.attention_cuda_kernel import flash_backward, flash_forward
from videozoom.policies.attention_plan import AttentionPlan
from videozoom.policies.attention_reference import ReferenceBackend
from videozoom.policies.tree_attention import tree_attention


def stretches(query_bounds: Tensor, key_bounds: Tensor, most_queries: int, most_keys: int):
    for bounds in (query_bounds, key_bounds):
        assert bounds.dtype == torch.int32
        assert bounds.is_contiguous()
    bounds = [[slice(a, b) for a, b in pairwise(x.tolist())] for x in (query_bounds, key_bounds)]
    lengths = [[part.stop - part.start for part in parts] for parts in bounds]
    # Grids and buffers are sized by these; an empty stretch has no log-sum-exp.
    assert [max(x) for x in lengths] == [most_queries, most_keys]
    assert min(map(min, lengths)) > 0
    return zip(*bounds, strict=True)


def batched(x: Tensor, rows: slice) -> Tensor:
    assert x.dim() == 3
    assert x.stride(-1) == 1
    return x[rows].transpose(0, 1).unsqueeze(0)


def forward(query, key, value, query_bounds, key_bounds, most_queries, most_keys, *, is_causal, scaling):
    lse_dtype = torch.promote_types(query.dtype, torch.float32)
    out, lse = torch.empty(query.shape, dtype=query.dtype), torch.full(query.shape[1::-1], torch.nan, dtype=lse_dtype)
    assert int(query_bounds[-1]) == len(query)
    assert int(key_bounds[-1]) == len(key) == len(value)
    for q, k in stretches(query_bounds, key_bounds, most_queries, most_keys):
        part, part_lse = ReferenceBackend().forward(
            batched(query, q), batched(key, k), batched(value, k), is_causal=is_causal, scaling=scaling
        )
        out[q], lse[:, q] = part[0].transpose(0, 1), part_lse[0]
    return out, lse


def backward(
    grad_out, query, key, value, out, lse, query_bounds, key_bounds, most_queries, most_keys, *, is_causal, scaling
):
    assert lse.shape == query.shape[1::-1]
    grads = [torch.full(x.shape, torch.nan, dtype=x.dtype) for x in (query, key, value)]
    for q, k in stretches(query_bounds, key_bounds, most_queries, most_keys):
        inputs = (batched(grad_out, q), batched(query, q), batched(key, k), batched(value, k), batched(out, q))
        parts = ReferenceBackend().backward(*inputs, lse[None, :, q], is_causal=is_causal, scaling=scaling)
        for grad, part, rows in zip(grads, parts, (q, k, k), strict=True):
            grad[rows] = part[0].transpose(0, 1)
    return tuple(grads)


@pytest.fixture(autouse=True)
def written_out_kernels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace both kernels and return the calls."""
    calls: list[str] = []

    def logged(name: str, kernel):
        def call(*args, **options):
            calls.append(name)
            return kernel(*args, **options)

        return call

    monkeypatch.setattr(attention_cuda, "flash_forward", logged("forward", forward))
    monkeypatch.setattr(attention_cuda, "flash_backward", logged("backward", backward))
    return calls


@pytest.mark.parametrize("seed", range(12))
def test_a_tree_is_exact(seed: int) -> None:
    tree = random_tree(seed)
    is_known = random_known(tree, seed) if seed % 2 else np.zeros(tree.ends.max(), np.bool_)
    plan = AttentionPlan.of(tree, is_known)
    *inputs, grad_out = random_inputs(plan.num_queries, plan.num_keys, heads=4, kv_heads=2, dtype=torch.float64, seed=1)
    query, key, value = inputs
    out = tree_attention(query, key, value, plan, scaling=0.4, backend=CudaBackend())
    expected = dense_attention(query, key, value, tree.sees()[~is_known], 0.4)
    found = (out, *torch.autograd.grad(out, inputs, grad_out))
    for a, b in zip(found, (expected, *torch.autograd.grad(expected, inputs, grad_out)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


def test_calls_are_as_few_as_the_tree_is_deep(written_out_kernels: list[str]) -> None:
    tree = tree_of((9, -1), (3, 0), (2, 1), (2, 1), (4, 0), (1, 4), (2, 4), (5, 0))
    plan = AttentionPlan.of(tree)
    query, key, value, grad_out = random_inputs(28, 28, heads=2, kv_heads=1, dtype=torch.float64, seed=1)
    out = tree_attention(query, key, value, plan, scaling=0.4, backend=CudaBackend())
    assert written_out_kernels == ["forward"] * 3
    out.backward(grad_out)
    assert written_out_kernels == ["forward"] * 3 + ["backward"] * 3


def test_levels_by_hand() -> None:
    tree = tree_of((3, -1), (2, 0), (1, 1), (1, 1), (2, 0), (1, 4), (1, 4), (2, -1), (1, 7))
    groups = levels(AttentionPlan.of(tree).dense)
    assert [group[:, 2:].tolist() for group in groups] == [[[0, 3], [11, 13]], [[3, 5], [7, 9]]]


def test_single_calls_agree_with_the_reference() -> None:
    errors = attention_probe._part_errors(CudaBackend(), torch.device("cpu"), torch.float64)
    assert max(errors) < 1e-12


def test_the_signatures_are_those_of_the_installed_torch() -> None:
    """Shapes and arguments only: tensors without data."""
    query, key, lse = (
        torch.empty(shape, device="meta", dtype=dtype)
        for shape, dtype in (((12, 4, 16), torch.bfloat16), ((12, 2, 16), torch.bfloat16), ((4, 12), torch.float32))
    )
    bounds = torch.empty(3, dtype=torch.int32, device="meta")
    options = {"is_causal": True, "scaling": 1.0}
    out, found_lse = flash_forward(query, key, key, bounds, bounds, 7, 7, **options)
    assert (out.shape, found_lse.shape) == (query.shape, lse.shape)
    grads = flash_backward(query, query, key, key, query, lse, bounds, bounds, 7, 7, **options)
    assert [grad.shape for grad in grads] == [query.shape, key.shape, key.shape]
