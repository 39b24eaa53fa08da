"""torch's flash attention for GPUs: private operators, called directly because they return and take the log-sum-exp.

Nothing but `attention_probe` says whether they are there and do what is expected. They take bfloat16 and float16, and
head sizes that are multiples of 8 and at most 256. With `torch.nn.attention.activate_flash_attention_impl` other
versions of FlashAttention stand behind the same operators.

Shape legend: Sq packed queries, Sk packed keys, N stretches, H query heads, K key-value heads, D head size.
"""

import torch
from torch import Tensor


def flash_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_bounds: Tensor,
    key_bounds: Tensor,
    most_queries: int,
    most_keys: int,
    *,
    is_causal: bool,
    scaling: float,
) -> tuple[Tensor, Tensor]:
    """Return attention of stretches of queries, each on its own stretch of keys.

    Args:
        query: `[Sq, H, D]`
        key: `[Sk, K, D]`
        value: Like `key`.
        query_bounds: `[N + 1]`, int32, from 0 to Sq: where stretches begin and end.
        key_bounds: Likewise to Sk.
        most_queries: Of a stretch.
        most_keys: Of a stretch.
        is_causal: Within each stretch; it has as many keys as queries then.
        scaling: Of the dot products.

    Returns:
        `[Sq, H, D]` and the log-sum-exp `[H, Sq]`, float32.
    """
    out, lse, *_ = torch.ops.aten._flash_attention_forward(
        query, key, value, query_bounds, key_bounds, most_queries, most_keys, 0.0, is_causal, False, scale=scaling
    )
    return out, lse


def flash_backward(
    grad_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    query_bounds: Tensor,
    key_bounds: Tensor,
    most_queries: int,
    most_keys: int,
    *,
    is_causal: bool,
    scaling: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return gradients of query, key and value in their shapes and type; see `AttentionBackend.backward`."""
    # The random state of dropout, of which there is none.
    state = torch.zeros(2, dtype=torch.uint64, device=query.device)
    grads: tuple[Tensor, Tensor, Tensor] = torch.ops.aten._flash_attention_backward(
        grad_out,
        query,
        key,
        value,
        out,
        # It is read by address, whatever its strides say.
        lse.contiguous(),
        query_bounds,
        key_bounds,
        most_queries,
        most_keys,
        0.0,
        is_causal,
        state,
        state[0],
        scale=scaling,
    )
    return grads
