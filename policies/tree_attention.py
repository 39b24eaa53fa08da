"""Attention over a packed token tree, and the hook by which a stock text model of transformers computes it.

Shape legend: H query heads, KVH key-value heads, Sq packed queries, Sk packed keys, D head size.
"""

from typing import Any

import torch
from torch import Tensor

from videozoom.policies.attention_backends import AttentionBackend, backend_for, merge
from videozoom.policies.attention_plan import AttentionPlan
from videozoom.policies.attention_reference import ReferenceBackend

TEXT_ATTENTION = "videozoom_text"


def tree_attention(
    query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, *, scaling: float, backend: AttentionBackend
) -> Tensor:
    """Return attention `[1, Sq, H, D]` in which every token sees its path from the root; differentiable.

    Args:
        query: `[1, H, Sq, D]`, the rows that `plan` counts as queries.
        key: `[1, KVH, Sk, D]`, all packed rows.
        value: Like `key`.
        plan: Which parts of the attention matrix there are.
        scaling: Of the dot products.
        backend: What computes a part.

    Raises:
        ValueError: The plan is for another number of queries or keys.
    """
    if (query.shape[2], key.shape[2]) != (plan.num_queries, plan.num_keys):
        raise ValueError(
            f"the plan has {plan.num_queries} queries on {plan.num_keys} keys, "
            f"but attention was given {query.shape[2]} on {key.shape[2]}"
        )
    if isinstance(backend, ReferenceBackend):
        return backend.tree_attention(query, key, value, plan, scaling)
    out: Tensor = _TreeAttention.apply(query, key, value, plan, scaling, backend)
    return out


def use_text_attention(text_model: Any) -> None:
    """Let a Qwen2.5-VL text model take `attention_plan` and `decode`; without either it attends as before."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(TEXT_ATTENTION, _text_attention)
    AttentionMaskInterface.register(TEXT_ATTENTION, sdpa_mask)
    text_model.config._attn_implementation = TEXT_ATTENTION


def _text_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    attention_plan: AttentionPlan | None = None,
    attention_backend: AttentionBackend | None = None,
    decode: Any = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Return attention `[B, Lq, H, D]`; called by every layer with what was passed to the text model."""
    if attention_plan is not None:
        backend = attention_backend or backend_for(query.device, query.dtype)
        return tree_attention(query, key, value, attention_plan, scaling=scaling, backend=backend), None
    if decode is not None:
        return decode.attend(module.layer_idx, query, key, value, scaling), None
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    out: Tensor = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)[0]
    return out, None


class _TreeAttention(torch.autograd.Function):
    """Parts by a flash kernel, merged by log-sum-exp; backward with the merged output and log-sum-exp per part."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        plan: AttentionPlan,
        scaling: float,
        backend: AttentionBackend,
    ) -> Tensor:
        dtype = torch.promote_types(query.dtype, torch.float32)
        out = torch.empty(query.shape, dtype=dtype, device=query.device)
        lse = torch.empty(query.shape[:3], dtype=dtype, device=query.device)
        for q, k, length in plan.causal.tolist():
            rows, keys = slice(q, q + length), slice(k, k + length)
            out[:, :, rows], lse[:, :, rows] = backend.forward(
                query[:, :, rows], key[:, :, keys], value[:, :, keys], is_causal=True, scaling=scaling
            )
        for q, q_end, k, k_end in plan.dense.tolist():
            rows, keys = slice(q, q_end), slice(k, k_end)
            part = backend.forward(
                query[:, :, rows], key[:, :, keys], value[:, :, keys], is_causal=False, scaling=scaling
            )
            out[:, :, rows], lse[:, :, rows] = merge(out[:, :, rows], lse[:, :, rows], *part)
        result = out.to(query.dtype)
        ctx.save_for_backward(query, key, value, result, lse)
        ctx.plan, ctx.scaling, ctx.backend = plan, scaling, backend
        return result.transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, lse = ctx.saved_tensors
        grad_out = grad_out.transpose(1, 2)
        grads = [torch.zeros(x.shape, dtype=lse.dtype, device=x.device) for x in (query, key, value)]
        parts = [(q, q + n, k, k + n, True) for q, k, n in ctx.plan.causal.tolist()]
        parts += [(*part, False) for part in ctx.plan.dense.tolist()]
        for q, q_end, k, k_end, is_causal in parts:
            rows, keys = slice(q, q_end), slice(k, k_end)
            added = ctx.backend.backward(
                grad_out[:, :, rows],
                query[:, :, rows],
                key[:, :, keys],
                value[:, :, keys],
                out[:, :, rows],
                lse[:, :, rows],
                is_causal=is_causal,
                scaling=ctx.scaling,
            )
            for grad, part, where in zip(grads, added, (rows, keys, keys), strict=True):
                grad[:, :, where] += part
        return (*(grad.to(query.dtype) for grad in grads), None, None, None)
