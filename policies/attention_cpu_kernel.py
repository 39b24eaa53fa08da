"""torch's flash attention for CPUs: private operators, called directly because they return and take the log-sum-exp.

Nothing but `attention_probe` says whether they are there and do what is expected.

Shape legend: B batch, H heads, Lq queries, Lk keys, D head size.
"""

import torch
from torch import Tensor


def flash_forward(
    query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool, scaling: float, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return attention `[B, H, Lq, D]` and log-sum-exp `[B, H, Lq]`; inputs may have any strides but the last.

    `mask` is added to the scores and of the inputs' type. The log-sum-exp of a query that sees nothing is 0.
    """
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, is_causal, attn_mask=mask, scale=scaling
    )
    return out, lse


def flash_backward(
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
    """Return gradients of query, key and value in their shapes and type; see `AttentionBackend.backward`."""
    grads: tuple[Tensor, Tensor, Tensor] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        grad_out, query, key, value, out, lse, 0.0, is_causal, scale=scaling
    )
    return grads
