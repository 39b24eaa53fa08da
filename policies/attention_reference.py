"""Attention from torch's public operations: slower, works everywhere, and what the other backends are tested against.

Shape legend: B batch, H query heads, KVH key-value heads, G query heads per key-value head, L length, D head size.
"""

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
        out = probabilities @ value.to(scores.dtype).unsqueeze(2)
        return out.flatten(1, 2).to(query.dtype), lse.flatten(1, 2)

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
        num_kv_heads = key.shape[1]
        grad_out, query, out = (_grouped(x, num_kv_heads, scores.dtype) for x in (grad_out, query, out))
        key, value = key.to(scores.dtype).unsqueeze(2), value.to(scores.dtype).unsqueeze(2)
        probabilities = (scores - lse.to(scores.dtype).unflatten(1, (num_kv_heads, -1)).unsqueeze(-1)).exp()
        grad_value = probabilities.mT @ grad_out
        grad_probabilities = grad_out @ value.mT
        grad_scores = probabilities * (grad_probabilities - (grad_out * out).sum(-1, keepdim=True)) * scaling
        return (grad_scores @ key).flatten(1, 2), (grad_scores.mT @ query).sum(2), grad_value.sum(2)

    def tree_attention(self, query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, scaling: float) -> Tensor:
        """Return `[1, Lq, H, D]`, differentiable by autograd: per node, its tokens on a copy of all keys they see."""
        num_groups = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(num_groups, 1) for x in (key, value))
        outs = query.new_zeros(query.shape).transpose(1, 2)
        parts: list[Tensor] = []
        for query_start, key_start, length in plan.causal.tolist():
            covers = (plan.dense[:, 0] <= query_start) & (query_start + length <= plan.dense[:, 1])
            rows = [torch.arange(start, end) for _, _, start, end in plan.dense[covers].tolist()]
            num_seen = sum(len(part) for part in rows)
            rows.append(torch.arange(key_start, key_start + length))
            row_ids = torch.cat(rows).to(key.device)
            mask = torch.ones(length, num_seen + length, dtype=torch.bool, device=key.device).tril(num_seen)
            parts.append(
                torch.nn.functional.scaled_dot_product_attention(
                    query[:, :, query_start : query_start + length],
                    key[:, :, row_ids],
                    value[:, :, row_ids],
                    attn_mask=mask,
                    scale=scaling,
                )
            )
        return torch.cat(parts, 2).transpose(1, 2) if parts else outs


def _grouped(x: Tensor, num_kv_heads: int, dtype: torch.dtype) -> Tensor:
    """Return `[B, H, L, D]` as `[B, KVH, G, L, D]`."""
    return x.to(dtype).unflatten(1, (num_kv_heads, -1))


def _scores(query: Tensor, key: Tensor, *, is_causal: bool, scaling: float, mask: Tensor | None) -> Tensor:
    """Return scaled dot products `[B, KVH, G, Lq, Lk]`, -inf where a key is not seen, float32 or better."""
    dtype = torch.promote_types(query.dtype, torch.float32)
    scores = _grouped(query, key.shape[1], dtype) @ key.to(dtype).unsqueeze(2).mT * scaling
    if is_causal:
        is_seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~is_seen, float("-inf"))
    if mask is not None:
        mask = mask.reshape((1,) * (4 - mask.dim()) + tuple(mask.shape)).unsqueeze(2)
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    return scores
