"""Vision attention over many short windows in one call.

transformers' scaled-dot-product path loops over windows in Python, one call each: a fast view of 768 frames takes
hundreds of calls per layer. Here windows of equal length form one batch. Same mathematics, same results.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

# transformers hands over the window boundaries only to implementations whose name contains "flash".
BATCHED_WINDOWS = "videozoom_batched_windows_as_flash"


def batched_window_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens_q: Tensor,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, None]:
    """Return attention `[1, S, heads, size]` of packed windows; inputs are `[1, heads, S, size]`, bidirectional."""
    bounds = cu_seq_lens_q.tolist()
    lengths = [end - start for start, end in pairwise(bounds)]
    if len(set(lengths)) == 1:
        return _attend_equal(query, key, value, len(lengths), scaling), None
    parts: list[Tensor] = []
    index = 0
    while index < len(lengths):
        stop = index
        while stop < len(lengths) and lengths[stop] == lengths[index]:
            stop += 1
        window = slice(bounds[index], bounds[stop])
        parts.append(_attend_equal(query[:, :, window], key[:, :, window], value[:, :, window], stop - index, scaling))
        index = stop
    return torch.cat(parts, dim=1), None


def _attend_equal(query: Tensor, key: Tensor, value: Tensor, num_windows: int, scaling: float) -> Tensor:
    """Attend within `num_windows` windows of equal length."""

    def split(x: Tensor) -> Tensor:
        _, heads, length, size = x.shape
        return x.reshape(heads, num_windows, length // num_windows, size).transpose(0, 1)

    out = torch.nn.functional.scaled_dot_product_attention(split(query), split(key), split(value), scale=scaling)
    return out.transpose(1, 2).reshape(1, query.shape[2], query.shape[1], query.shape[3])


def use_batched_windows(vision_tower: Any) -> None:
    """Switch a Qwen2.5-VL vision tower from transformers' window loop to `batched_window_attention`."""
    from transformers import AttentionInterface

    AttentionInterface.register(BATCHED_WINDOWS, batched_window_attention)
    vision_tower.config._attn_implementation = BATCHED_WINDOWS
