"""Attention from torch's public operations: slower, works everywhere, and what the other backends are tested against.

Shape legend: B batch, H query heads, K key-value heads, G query heads per key-value head, Lq queries, Lk keys,
D head size.
"""

import numpy as np
import torch
from torch import Tensor

from videozoom.policies.attention_plan import AttentionPlan


class ReferenceBackend:
    """The definition of attention, written out."""

    name = "reference"

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool, scaling: float, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `AttentionBackend`."""
        scores = _scores(query, key, is_causal=is_causal, scaling=scaling, mask=mask)
        lse = scores.logsumexp(-1)
        probabilities = (scores - lse.masked_fill(lse == float("-inf"), 0.0).unsqueeze(-1)).exp()
        out = probabilities.flatten(2, 3) @ value.to(scores.dtype)
        return out.reshape(query.shape).to(query.dtype), lse.reshape(query.shape[:3])

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
        """See `AttentionBackend`. Source: FlashAttention-2 (arXiv:2307.08691), Sec. 3.1.2, without the tiling."""
        scores = _scores(query, key, is_causal=is_causal, scaling=scaling, mask=None)
        dtype, num_kv_heads = scores.dtype, key.shape[1]
        query_, grad_out, out, lse = (_folded(x.to(dtype), num_kv_heads) for x in (query, grad_out, out, lse))
        key, value = key.to(dtype), value.to(dtype)
        probabilities = (scores.flatten(2, 3) - lse.unsqueeze(-1)).exp()
        grad_value = probabilities.mT @ grad_out
        grad_scores = probabilities * (grad_out @ value.mT - (grad_out * out).sum(-1, keepdim=True)) * scaling
        return (grad_scores @ key).reshape(query.shape), grad_scores.mT @ query_, grad_value

    def tree_attention(self, query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, scaling: float) -> Tensor:
        """Return `[1, Lq, H, D]`, for autograd to differentiate: each node's tokens on a copy of all keys they see."""
        num_groups = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(num_groups, 1) for x in (key, value))
        outs: list[Tensor] = []
        for start, key_start, length in plan.causal.tolist():
            is_above = (plan.dense[:, 0] <= start) & (start + length <= plan.dense[:, 1])
            stretches = [(first, last) for _, _, first, last in plan.dense[is_above].tolist()]
            rows = np.concatenate([np.arange(*stretch) for stretch in (*stretches, (key_start, key_start + length))])
            row_ids = torch.from_numpy(rows).to(key.device)
            is_seen = torch.ones(length, len(rows), dtype=torch.bool, device=key.device).tril(len(rows) - length)
            out = torch.nn.functional.scaled_dot_product_attention(
                query[:, :, start : start + length],
                key[:, :, row_ids],
                value[:, :, row_ids],
                attn_mask=is_seen,
                scale=scaling,
            )
            outs.append(out)
        return torch.cat(outs, 2).transpose(1, 2)


def _folded(x: Tensor, num_kv_heads: int) -> Tensor:
    """Return `[B, K * G, L, ...]` as `[B, K, G * L, ...]`: heads that share keys, one after the other."""
    folded: Tensor = x.unflatten(1, (num_kv_heads, -1)).flatten(2, 3)
    return folded


def _scores(query: Tensor, key: Tensor, *, is_causal: bool, scaling: float, mask: Tensor | None) -> Tensor:
    """Return scaled dot products `[B, K, G, Lq, Lk]`, -inf where a key is not seen, float32 or better."""
    dtype = torch.promote_types(query.dtype, torch.float32)
    scores: Tensor = _folded(query.to(dtype), key.shape[1]) @ key.to(dtype).mT * scaling
    scores = scores.unflatten(2, (-1, query.shape[2]))
    if is_causal:
        is_seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~is_seen, float("-inf"))
    if mask is not None:
        mask = mask.unsqueeze(2)
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    return scores
