"""Attention over a packed token tree, and the hook by which a stock text model of transformers computes it.

Shape legend: H query heads, KVH key-value heads, Sq packed queries, Sk packed keys, D head size.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from videozoom.policies.attention_backends import AttentionBackend, backend_for
from videozoom.policies.attention_plan import AttentionPlan
from videozoom.policies.attention_reference import ReferenceBackend

TEXT_ATTENTION = "videozoom_text"


class TextModelError(ValueError):
    """A text model cannot compute token trees; the message names the config key that helps."""


class TreeBackend(Protocol):
    """A backend whose kernels compute parts of a tree; the reference is differentiated by autograd instead."""

    def tree_forward(
        self, query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, scaling: float
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return attention `[1, Sq, H, D]` and the tensors that `tree_backward` needs besides it."""
        ...

    def tree_backward(
        self, grad_out: Tensor, out: Tensor, saved: tuple[Tensor, ...], plan: AttentionPlan, scaling: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return gradients of query, key and value from that of the output `[1, Sq, H, D]`."""
        ...


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
        ValueError: The plan is for another number of queries or keys, or there are several sequences.
    """
    if (len(query), query.shape[2], key.shape[2]) != (1, plan.num_queries, plan.num_keys):
        raise ValueError(
            f"the plan has {plan.num_queries} queries on {plan.num_keys} keys, "
            f"but attention was given {query.shape[2]} on {key.shape[2]} in {len(query)} sequences"
        )
    if not plan.num_queries:
        return query.transpose(1, 2)
    if isinstance(backend, ReferenceBackend):
        return backend.tree_attention(query, key, value, plan, scaling)
    apply: Callable[..., Tensor] = _TreeAttention.apply
    return apply(query, key, value, plan, scaling, backend)


def use_text_attention(text_model: Any) -> None:
    """Let a Qwen2.5-VL text model take `attention_plan` and `decode`; without either it attends as before.

    What is passed to its forward besides what it knows reaches the attention of every layer, also under activation
    checkpointing with `use_reentrant=False`:

    * `attention_plan`, an `AttentionPlan`: the tokens are packed rows of a tree, those that are queries of the plan.
      A cache must return keys and values of all rows. `attention_backend` says what computes it.
    * `decode`, an object whose `attend(layer_idx, query, key, value, scaling)` returns attention `[B, Lq, H, D]`.

    Raises:
        TextModelError: The model attends in a way that token trees do not.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    config = text_model.config
    if config.model_type != "qwen2_5_vl_text":
        raise TextModelError(
            f"token trees are computed with 'qwen2_5_vl_text' models, not {config.model_type!r}: "
            "policy.checkpoint must name a Qwen2.5-VL model"
        )
    if set(config.layer_types) != {"full_attention"} or config.attention_dropout:
        raise TextModelError(
            "token trees are computed with full attention and without dropout in it: policy.checkpoint names a model "
            f"with {', '.join(sorted(set(config.layer_types)))} and attention_dropout {config.attention_dropout:g}"
        )
    AttentionInterface.register(TEXT_ATTENTION, _text_attention)
    AttentionMaskInterface.register(TEXT_ATTENTION, sdpa_mask)
    config._attn_implementation = TEXT_ATTENTION


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
        backend: TreeBackend,
    ) -> Tensor:
        out, saved = backend.tree_forward(query, key, value, plan, scaling)
        ctx.save_for_backward(out, *saved)
        ctx.plan, ctx.scaling, ctx.backend = plan, scaling, backend
        return out

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        out, *saved = ctx.saved_tensors
        grads = ctx.backend.tree_backward(grad_out, out, tuple(saved), ctx.plan, ctx.scaling)
        return (*grads, None, None, None)
