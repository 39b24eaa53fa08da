"""Attention on a GPU by torch's flash kernels for packed sequences. Written and reviewed, not yet run on hardware.

Until it has, `attention_probe` decides: a kernel that does not agree with the reference is not used. All causal squares
of a tree are one call, and so are the rectangles of one level: a call takes many stretches of queries, each on its own
stretch of keys. The kernels know grouped heads.

Shape legend: B batch, H query heads, K key-value heads, L length, S packed rows, N stretches of a call, D head size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
import torch
from torch import Tensor

from videozoom.policies.attention_backends import merge_
from videozoom.policies.attention_cuda_kernel import flash_backward, flash_forward
from videozoom.policies.attention_plan import Array, AttentionPlan
from videozoom.policies.attention_reference import ReferenceBackend


class CudaBackend:
    """Flash attention on a GPU."""

    name = "cuda"

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool, scaling: float, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `AttentionBackend`. The kernels take no masks: those are left to the reference."""
        if mask is not None:
            return ReferenceBackend().forward(query, key, value, is_causal=is_causal, scaling=scaling, mask=mask)
        batch, num_heads, length, size = query.shape
        call = _batch_call(batch, length, key.shape[2], query.device, is_causal)
        out, lse = call.forward(_packed(query), _packed(key), _packed(value), scaling)
        return out.view(batch, length, num_heads, size).transpose(1, 2), lse.view(num_heads, batch, length).transpose(
            0, 1
        )

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
        call = _batch_call(len(query), query.shape[2], key.shape[2], query.device, is_causal)
        grads = call.backward(
            _packed(grad_out),
            _packed(query),
            _packed(key),
            _packed(value),
            _packed(out),
            lse.transpose(0, 1).flatten(1),
            scaling,
        )
        grad_query, grad_key, grad_value = (
            grad.to(lse.dtype).unflatten(0, (len(x), -1)).transpose(1, 2)
            for grad, x in zip(grads, (query, key, value), strict=True)
        )
        return grad_query, grad_key, grad_value

    def tree_forward(
        self, query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, scaling: float
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `TreeBackend`."""
        query_SHD, key_SKD, value_SKD = (_packed(x) for x in (query, key, value))
        squares, *levels = _calls(plan, query.device)
        out, lse_HS = squares.forward(query_SHD, key_SKD, value_SKD, scaling)
        out_SHD = out.to(lse_HS.dtype)
        for level in levels:
            part_out, part_lse = level.forward(query_SHD, key_SKD, value_SKD, scaling)
            out, lse = out_SHD[level.queries], lse_HS[:, level.queries]
            merge_(out, lse.T, part_out, part_lse.T)
            if isinstance(level.queries, Tensor):
                # A slice was merged in place, an index made a copy.
                out_SHD[level.queries], lse_HS[:, level.queries] = out, lse
        return out_SHD.to(query.dtype).unsqueeze(0), (query, key, value, lse_HS)

    def tree_backward(
        self, grad_out: Tensor, out: Tensor, saved: tuple[Tensor, ...], plan: AttentionPlan, scaling: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `TreeBackend`."""
        query, key, value, lse_HS = saved
        query_SHD, key_SKD, value_SKD = (_packed(x) for x in (query, key, value))
        grads = [torch.zeros(x.shape, dtype=lse_HS.dtype, device=x.device) for x in (query_SHD, key_SKD, value_SKD)]
        for call in _calls(plan, query.device):
            parts = call.backward(grad_out[0], query_SHD, key_SKD, value_SKD, out[0], lse_HS, scaling)
            for grad, part, rows in zip(grads, parts, (call.queries, call.keys, call.keys), strict=True):
                # No row is in a call twice.
                grad[rows] += part
        grad_query, grad_key, grad_value = (grad.to(query.dtype).transpose(0, 1).unsqueeze(0) for grad in grads)
        return grad_query, grad_key, grad_value


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """Stretches of queries, each attending to a stretch of keys, in one kernel."""

    queries: slice | Tensor
    """Which rows are queries, one stretch after the other."""
    keys: slice | Tensor
    query_bounds: Tensor
    """`[N + 1]`, int32: where stretches end among those rows."""
    key_bounds: Tensor
    most_queries: int
    most_keys: int
    is_causal: bool

    @classmethod
    def of(cls, queries: Array, keys: Array, device: torch.device, *, is_causal: bool) -> Self:
        """Return the call on stretches `[N, 2]` of queries and of keys, each of (start, end)."""
        return cls(
            _rows(queries, device),
            _rows(keys, device),
            _bounds(queries, device),
            _bounds(keys, device),
            int((queries[:, 1] - queries[:, 0]).max()),
            int((keys[:, 1] - keys[:, 0]).max()),
            is_causal,
        )

    def forward(self, query_SHD: Tensor, key_SKD: Tensor, value_SKD: Tensor, scaling: float) -> tuple[Tensor, Tensor]:
        """Return output `[rows, H, D]` and log-sum-exp `[H, rows]` of the call's queries."""
        return flash_forward(
            query_SHD[self.queries],
            key_SKD[self.keys],
            value_SKD[self.keys],
            self.query_bounds,
            self.key_bounds,
            self.most_queries,
            self.most_keys,
            is_causal=self.is_causal,
            scaling=scaling,
        )

    def backward(
        self,
        grad_out_SHD: Tensor,
        query_SHD: Tensor,
        key_SKD: Tensor,
        value_SKD: Tensor,
        out_SHD: Tensor,
        lse_HS: Tensor,
        scaling: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return gradients of the call's queries, keys and values; `out_SHD` and `lse_HS` are the merged ones."""
        return flash_backward(
            grad_out_SHD[self.queries],
            query_SHD[self.queries],
            key_SKD[self.keys],
            value_SKD[self.keys],
            out_SHD[self.queries],
            lse_HS[:, self.queries],
            self.query_bounds,
            self.key_bounds,
            self.most_queries,
            self.most_keys,
            is_causal=self.is_causal,
            scaling=scaling,
        )


@lru_cache(maxsize=256)
def _batch_call(batch: int, num_queries: int, num_keys: int, device: torch.device, is_causal: bool) -> _Call:
    """Return the call on a batch of equal lengths, one packed after the other; all layers of a step ask for it."""
    bounds = np.arange(batch)[:, None] + np.array([0, 1])
    return _Call.of(bounds * num_queries, bounds * num_keys, device, is_causal=is_causal)


def levels(dense: Array) -> list[Array]:
    """Return a plan's rectangles in groups in which no query and no key occurs twice, as few as the tree is deep.

    Example:
        A root with a child that has children, and another child that has: `[root]`, `[first child, second child]`.
    """
    groups: list[list[Sequence[int]]] = []
    for rectangle in dense.tolist():
        # Rectangles come in depth-first order: one that begins behind the last of a group overlaps none of it.
        group = next((group for group in groups if group[-1][1] <= rectangle[0]), None)
        if group is None:
            groups.append([rectangle])
        else:
            group.append(rectangle)
    return [np.array(group, np.int64) for group in groups]


def _calls(plan: AttentionPlan, device: torch.device) -> list[_Call]:
    """Return the squares and then each level of rectangles, worked out at the first layer."""
    if ("cuda", device) not in plan.prepared:
        squares = plan.causal[:, [0, 0, 1, 1]] + plan.causal[:, [2]] * np.array([0, 1, 0, 1])
        plan.prepared["cuda", device] = [
            _Call.of(part[:, :2], part[:, 2:], device, is_causal=is_causal)
            for part, is_causal in [(squares, True), *((level, False) for level in levels(plan.dense))]
        ]
    calls: list[_Call] = plan.prepared["cuda", device]
    return calls


def _rows(stretches: Array, device: torch.device) -> slice | Tensor:
    """Return the rows of stretches; a slice, which copies nothing, if they lie side by side."""
    if (stretches[1:, 0] == stretches[:-1, 1]).all():
        return slice(int(stretches[0, 0]), int(stretches[-1, 1]))
    return torch.from_numpy(np.concatenate([np.arange(start, end) for start, end in stretches])).to(device)


def _bounds(stretches: Array, device: torch.device) -> Tensor:
    lengths = stretches[:, 1] - stretches[:, 0]
    return torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)).to(device)


def _packed(x: Tensor) -> Tensor:
    """Return `[B, heads, L, D]` as `[B * L, heads, D]`; of a batch of one a view."""
    return x.transpose(1, 2).flatten(0, 1)
