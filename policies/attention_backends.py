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


def check_cuda() -> None:
    """Raise `AttentionBackendError` if this torch can never have the backend called `cuda`."""
    if not torch.backends.cuda.is_built():
        raise AttentionBackendError(
            f"policy.text_attention is 'cuda', but torch {torch.__version__} is built without CUDA; "
            "install one with it, or use 'auto' or 'reference'"
        )


def merge(out_a: Tensor, lse_a: Tensor, out_b: Tensor, lse_b: Tensor) -> tuple[Tensor, Tensor]:
    """Return attention over the keys of both parts: outputs `[..., D]` and log-sum-exps `[...]`, float32 or better.

    A part that saw no key (log-sum-exp -inf) adds nothing; if neither did, the result is 0 and -inf.
    """
    lse = torch.logaddexp(lse_a, lse_b)
    # Both -inf: any finite number gives both parts the weight exp(-inf).
    safe = lse.masked_fill(lse == float("-inf"), 0.0)
    weight_a, weight_b = (lse_a - safe).exp().unsqueeze(-1), (lse_b - safe).exp().unsqueeze(-1)
    return out_a * weight_a + out_b * weight_b, lse


def merge_(out: Tensor, lse: Tensor, part_out: Tensor, part_lse: Tensor) -> None:
    """Merge a part into `out` and `lse` in place: what `merge` does, where every query sees a key of one of them."""
    out.lerp_(part_out.to(out.dtype), torch.sigmoid(part_lse - lse).unsqueeze(-1))
    torch.logaddexp(lse, part_lse, out=lse)


@cache
def _backend_for(device_type: str, dtype: torch.dtype, name: str) -> AttentionBackend:
    # Each of these modules imports this one.
    from videozoom.policies.attention_cpu import CpuBackend
    from videozoom.policies.attention_cuda import CudaBackend
    from videozoom.policies.attention_probe import problem
    from videozoom.policies.attention_reference import ReferenceBackend

    backends: dict[str, AttentionBackend] = {"cpu": CpuBackend(), "cuda": CudaBackend()}
    if name == "reference":
        return ReferenceBackend()
    if name not in ("auto", device_type):
        reason = f"the model is on {device_type!r}"
    elif device_type not in backends:
        reason = f"there is no flash attention for {device_type!r} devices"
    else:
        backend = backends[device_type]
        found = problem(backend, torch.device(device_type), dtype)
        if found is None:
            return backend
        reason = found
    if name != "auto":
        raise AttentionBackendError(f"policy.text_attention is {name!r}, but {reason}: use 'auto' or 'reference'")
    _logger.warning("Attention uses the slower reference, as policy.text_attention: reference would: %s.", reason)
    return ReferenceBackend()
