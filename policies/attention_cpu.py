"""Attention on a CPU by torch's flash kernel.

Keys are never repeated for the query heads that share them. Where all queries see the same keys, those heads are folded
into the length. Where a causal mask tells queries apart, they are a batch over keys expanded with stride 0.

Shape legend: B batch, H query heads, K key-value heads, G query heads per key-value head, L length, D head size.
"""

import torch
from torch import Tensor

from videozoom.policies.attention_cpu_kernel import flash_backward, flash_forward
from videozoom.policies.attention_cpu_tree import tree_backward, tree_forward
from videozoom.policies.attention_plan import AttentionPlan


class CpuBackend:
    """Flash attention on a CPU."""

    name = "cpu"

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool, scaling: float, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `AttentionBackend`."""
        num_kv_heads = key.shape[1]
        if mask is not None:
            mask = _additive(mask, query, key, is_causal=is_causal)
        elif is_causal:
            out, lse = flash_forward(
                _split(query, num_kv_heads),
                _expanded(key, query),
                _expanded(value, query),
                is_causal=True,
                scaling=scaling,
            )
            return _joined(out, len(query)), _joined(lse, len(query))
        out, lse = flash_forward(_folded(query, num_kv_heads), key, value, is_causal=False, scaling=scaling, mask=mask)
        if mask is not None:
            # The kernel gives 0 for a query that sees nothing.
            lse = lse.masked_fill(mask.amax(-1) == float("-inf"), float("-inf"))
        return out.reshape(query.shape), lse.reshape(query.shape[:3])

    def backward(
        self,
        grad_out: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        out: Tensor,
        lse: Tensor,
        *,
        is_causal: bool,
        scaling: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `AttentionBackend`."""
        num_kv_heads = key.shape[1]
        split = _split if is_causal else _folded
        grad_query, grad_key, grad_value = flash_backward(
            split(grad_out, num_kv_heads),
            split(query, num_kv_heads),
            _expanded(key, query) if is_causal else key,
            _expanded(value, query) if is_causal else value,
            split(out, num_kv_heads),
            split(lse, num_kv_heads),
            is_causal=is_causal,
            scaling=scaling,
        )
        if is_causal:
            grad_query = _joined(grad_query, len(query))
            grad_key, grad_value = (x.sum(0, dtype=lse.dtype).view(key.shape) for x in (grad_key, grad_value))
        return grad_query.reshape(query.shape).to(lse.dtype), grad_key.to(lse.dtype), grad_value.to(lse.dtype)

    def tree_forward(
        self, query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, scaling: float
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `TreeBackend`."""
        return tree_forward(query, key, value, plan, scaling)

    def tree_backward(
        self, grad_out: Tensor, out: Tensor, saved: tuple[Tensor, ...], plan: AttentionPlan, scaling: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `TreeBackend`."""
        return tree_backward(grad_out, out, saved, plan, scaling)


def _folded(x: Tensor, num_kv_heads: int) -> Tensor:
    """Return `[B, K * G, L, ...]` as `[B, K, G * L, ...]`."""
    folded: Tensor = x.unflatten(1, (num_kv_heads, -1)).flatten(2, 3)
    return folded


def _split(x: Tensor, num_kv_heads: int) -> Tensor:
    """Return `[B, K * G, L, ...]` as `[G, B * K, L, ...]`."""
    split: Tensor = x.unflatten(1, (num_kv_heads, -1)).movedim(2, 0).flatten(1, 2)
    return split


def _joined(x: Tensor, batch: int) -> Tensor:
    """Return `[G, B * K, L, ...]` as `[B, K * G, L, ...]`."""
    joined: Tensor = x.unflatten(1, (batch, -1)).movedim(0, 2).flatten(1, 2)
    return joined


def _expanded(x: Tensor, query: Tensor) -> Tensor:
    """Return `[B, K, L, D]` as `[G, B * K, L, D]`, every key-value head G times without a copy."""
    return x.flatten(0, 1).expand(query.shape[1] // x.shape[1], -1, -1, -1)


def _additive(mask: Tensor, query: Tensor, key: Tensor, *, is_causal: bool) -> Tensor:
    """Return a mask in the type of the scores, for queries whose heads are folded into the length."""
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=query.dtype).masked_fill(~mask, float("-inf"))
    mask = mask.to(query.dtype)
    if is_causal:
        is_hidden = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).triu(1)
        mask = mask.masked_fill(is_hidden, float("-inf"))
    return mask.repeat(1, 1, query.shape[1] // key.shape[1], 1) if mask.shape[2] > 1 else mask
