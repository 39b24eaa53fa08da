"""Whether an attention backend does here what it is meant to do: it calls operators that torch may change."""

import numpy as np
import torch
from torch import Tensor

from videozoom.policies.attention_backends import AttentionBackend
from videozoom.policies.attention_plan import AttentionPlan
from videozoom.policies.attention_reference import ReferenceBackend
from videozoom.policies.tree_attention import tree_attention

_TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
_HEADS, _KV_HEADS, _HEAD_SIZE = 4, 2, 16
_SCALING = 0.25


def problem(backend: AttentionBackend, device: torch.device, dtype: torch.dtype) -> str | None:
    """Return why `backend` cannot be used for tensors of this kind, or None if it agrees with the reference."""
    if dtype not in _TOLERANCES:
        return f"{dtype} is not supported"
    try:
        with torch.enable_grad():
            errors = [*_part_errors(backend, device, dtype), *_tree_errors(backend, device, dtype)]
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        return f"the {backend.name} attention of torch {torch.__version__} does not work with {dtype}: {reason}"
    # Written so that what is not a number counts as wrong.
    wrong = [error for error in errors if not error <= _TOLERANCES[dtype]]
    if wrong:
        return f"the {backend.name} attention of torch {torch.__version__} is wrong by {max(wrong):.1e} with {dtype}"
    return None


def _part_errors(backend: AttentionBackend, device: torch.device, dtype: torch.dtype) -> list[float]:
    """Compare single calls: causal, dense, and with a mask that hides everything from one query."""
    query, key, value, grad_out = _tensors(device, dtype, (5, 5, 5, 5))
    mask = torch.ones(1, 1, 5, 5, dtype=torch.bool, device=device)
    mask[..., 1:, 2] = mask[..., 3, :] = False
    reference, errors = ReferenceBackend(), []
    for is_causal, hidden in ((True, None), (False, None), (False, mask)):
        expected = reference.forward(query, key, value, is_causal=is_causal, scaling=_SCALING, mask=hidden)
        found = backend.forward(query, key, value, is_causal=is_causal, scaling=_SCALING, mask=hidden)
        # The log-sum-exp of a query that sees nothing is -inf in both.
        errors += [_difference(expected[0], found[0]), _difference(expected[1].exp(), found[1].exp())]
        if hidden is None:
            out, lse = expected[0], expected[1] + 0.5
            inputs = (grad_out, query, key, value, out, lse)
            grads = [x.backward(*inputs, is_causal=is_causal, scaling=_SCALING) for x in (reference, backend)]
            errors += [_difference(a, b) for a, b in zip(*grads, strict=True)]
    return errors


def _tree_errors(backend: AttentionBackend, device: torch.device, dtype: torch.dtype) -> list[float]:
    """Compare a tree of three levels, two of whose rows are known."""
    plan = AttentionPlan(
        causal=np.array([[0, 2, 1], [1, 3, 2], [3, 5, 3], [6, 8, 3], [9, 11, 1]]),
        dense=np.array([[0, 10, 0, 2], [1, 10, 2, 3], [3, 9, 3, 5]]),
        num_queries=10,
        num_keys=12,
    )
    *inputs, grad_out = _tensors(device, dtype, (10, 12, 12, 10))
    query, key, value = (x.requires_grad_() for x in inputs)
    results = []
    for each in (ReferenceBackend(), backend):
        out = tree_attention(query, key, value, plan, scaling=_SCALING, backend=each)
        results.append((out.detach(), *torch.autograd.grad(out, (query, key, value), grad_out.transpose(1, 2))))
    return [_difference(a, b) for a, b in zip(*results, strict=True)]


def _tensors(device: torch.device, dtype: torch.dtype, lengths: tuple[int, int, int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    heads = (_HEADS, _KV_HEADS, _KV_HEADS, _HEADS)
    return [
        # Laid out as a model does: heads within rows.
        torch.randn(1, length, num_heads, _HEAD_SIZE, generator=generator).to(device, dtype).transpose(1, 2)
        for length, num_heads in zip(lengths, heads, strict=True)
    ]


def _difference(first: Tensor, second: Tensor) -> float:
    return float((first.double() - second.double()).abs().max())
