"""Attention by torch's flash kernel for CPUs, called directly because it returns the log-sum-exp.

Shape legend: B batch, H query heads, KVH key-value heads, G query heads per key-value head, L length, D head size.
"""

import torch
from torch import Tensor

# Private operators of torch: `problem` says whether they are there and do what is expected of them.
_FORWARD = "_scaled_dot_product_flash_attention_for_cpu"
_BACKWARD = "_scaled_dot_product_flash_attention_for_cpu_backward"


class CpuBackend:
    """Flash attention on a CPU."""

    name = "cpu"

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool, scaling: float, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `AttentionBackend`."""
        num_groups = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(num_groups, 1) for x in (key, value))
        if mask is not None and mask.dtype == torch.bool:
            mask = torch.zeros(mask.shape, dtype=query.dtype, device=mask.device).masked_fill(~mask, float("-inf"))
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, is_causal, attn_mask=mask, scale=scaling
        )
        if mask is not None:
            # The kernel says 0 for a query that sees nothing.
            lse = lse.masked_fill((mask == float("-inf")).all(-1), float("-inf"))
        return out, lse

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
        num_groups = query.shape[1] // num_kv_heads
        key, value = (x.repeat_interleave(num_groups, 1) for x in (key, value))
        grad_query, grad_key, grad_value = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
            grad_out, query, key, value, out, lse, 0.0, is_causal, scale=scaling
        )
        dtype = lse.dtype
        return (
            grad_query.to(dtype),
            grad_key.to(dtype).unflatten(1, (num_kv_heads, num_groups)).sum(2),
            grad_value.to(dtype).unflatten(1, (num_kv_heads, num_groups)).sum(2),
        )

    def problem(self, dtype: torch.dtype) -> str | None:
        """Return why this backend cannot be used for tensors of type `dtype`, or None if it can."""
        return None
