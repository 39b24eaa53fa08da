"""Attention kernels that also return the log-sum-exp, behind one interface.

With the log-sum-exp, attention over a set of keys can be computed in parts and merged; without it tokens that are
shared would have to be copied to everyone who sees them. torch's flash kernels return it, but not through its public
functions: each backend tries its kernels once, and what does not work here is replaced by the reference.

Shape legend: B batch, H query heads, KVH key-value heads, Lq queries, Lk keys, D head size.
"""

import logging
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

BACKEND_NAMES = ("auto", "cpu", "cuda", "reference")

_logger = logging.getLogger(__name__)


class AttentionBackendError(ValueError):
    """An attention backend cannot be had; the message names the config key that helps."""


class AttentionBackend(Protocol):
    """Attention whose results over several sets of keys can be merged."""

    name: str

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool, scaling: float, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return attention and its log-sum-exp, without a gradient.

        Args:
            query: `[B, H, Lq, D]`.
            key: `[B, KVH, Lk, D]`; query head h uses key head `h // (H // KVH)`.
            value: Like `key`.
            is_causal: Query i sees keys up to i; Lq and Lk are equal then.
            scaling: Of the dot products.
            mask: Added to the scaled dot products, or bool, true where a key is seen; of a shape that broadcasts from
                `[B or 1, 1, Lq or 1, Lk]`.

        Returns:
            `[B, H, Lq, D]` and `[B, H, Lq]`, the latter float32, float64 for float64 inputs. A query that sees no key
            gives 0 and -inf.
        """
        ...

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
        """Return what these keys contribute to the gradients of query, key and value.

        `out` and `lse` are those over all keys a query sees, not only these: `exp(scores - lse)` is then the
        probability among all of them. Gradients come in the inputs' shapes, float32 or float64.
        """
        ...


def backend_for(device: torch.device, dtype: torch.dtype, name: str = "auto") -> AttentionBackend:
    """Return the backend called `name`, or for `auto` the fastest that works for tensors of this device and type.

    Raises:
        AttentionBackendError: There is no such backend, or it does not work here.
    """
    if name not in BACKEND_NAMES:
        raise AttentionBackendError(f"policy.text_attention is {name!r}; allowed are {', '.join(BACKEND_NAMES)}")
    return _backend_for(device.type, dtype, name)


def merge(out_a: Tensor, lse_a: Tensor, out_b: Tensor, lse_b: Tensor) -> tuple[Tensor, Tensor]:
    """Return attention over the keys of both parts: outputs `[..., D]` and log-sum-exps `[...]`, float32 or better.

    A part that saw no key (log-sum-exp -inf) adds nothing; if neither did, the result is 0 and -inf.
    """
    lse = torch.logaddexp(lse_a, lse_b)
    # Both -inf: any finite number gives both parts the weight exp(-inf).
    safe = lse.masked_fill(lse == float("-inf"), 0.0)
    weight_a, weight_b = (lse_a - safe).exp().unsqueeze(-1), (lse_b - safe).exp().unsqueeze(-1)
    return out_a * weight_a + out_b * weight_b, lse


@cache
def _backend_for(device_type: str, dtype: torch.dtype, name: str) -> AttentionBackend:
    from videozoom.policies.attention_cpu import CpuBackend
    from videozoom.policies.attention_reference import ReferenceBackend

    if name == "reference" or (name == "auto" and device_type not in ("cpu",)):
        return ReferenceBackend()
    if name != "auto" and name != device_type:
        raise AttentionBackendError(
            f"policy.text_attention is {name!r}, but the model is on {device_type!r}; use 'auto' or 'reference'"
        )
    backend = CpuBackend()
    problem = backend.problem(dtype)
    if problem is None:
        return backend
    if name != "auto":
        raise AttentionBackendError(f"policy.text_attention is {name!r}, but {problem}; use 'auto' or 'reference'")
    _logger.warning("Attention uses the slower reference computation: %s.", problem)
    return ReferenceBackend()
