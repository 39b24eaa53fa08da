"""Text attention in double precision, for float32 models on CPUs.

The sampler attends one token at a time over a cache, the learner over whole sequences: the same sums in another order.
In float32 the sharp attention of a trained model turns that rounding into differences of log-probabilities above 1e-5;
with the attention alone in float64 they stay well below, at a few percent of the cost of a step.
"""

from typing import Any

import torch
from torch import Tensor

PRECISE = "videozoom_precise"


def precise_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Return transformers' scaled-dot-product attention, on CPUs computed in float64 and rounded once."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if query.device.type != "cpu":
        # The model was moved to a GPU after it was loaded.
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    output, _ = sdpa_attention_forward(module, query.double(), key.double(), value.double(), attention_mask, **options)
    return output.to(query.dtype), None


def use_precise_attention(text_model: Any) -> None:
    """Switch a Qwen2.5-VL text model to `precise_attention`; with a cache, its past may be kept in float32."""
    from transformers import AttentionInterface

    AttentionInterface.register(PRECISE, precise_attention)
    text_model.config._attn_implementation = PRECISE
