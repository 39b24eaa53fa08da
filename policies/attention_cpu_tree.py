"""Attention over a packed token tree on a CPU.

Queries are brought into a layout in which any stretch of rows is a view with the query heads that share keys folded
into the length. What depends only on the plan is worked out once for all layers.

Shape legend: H query heads, K key-value heads, G query heads per key-value head, S packed rows, N squares of a call,
L rows of a square, D head size. `_` stands for D where a tensor has it.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from videozoom.policies.attention_backends import merge_
from videozoom.policies.attention_batches import SquareBatch, halved, square_batches
from videozoom.policies.attention_cpu_kernel import flash_backward, flash_forward
from videozoom.policies.attention_plan import Array, AttentionPlan


def tree_forward(
    query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, scaling: float
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return attention `[1, S, H, D]` and what `tree_backward` needs of it; see `TreeBackend`."""
    calls = _Calls.of(plan)
    query_KSGD, key_KSD, value_KSD = _grouped(query, key.shape[1]), key[0], value[0]
    num_groups = query_KSGD.shape[2]
    out_KSGD = torch.empty(query_KSGD.shape, dtype=torch.promote_types(query.dtype, torch.float32))
    lse_KSG = torch.empty(query_KSGD.shape[:3], dtype=out_KSGD.dtype)
    for squares in calls.squares:
        out, lse = flash_forward(
            squares.queries.split(query_KSGD),
            squares.keys.expanded(key_KSD, num_groups),
            squares.keys.expanded(value_KSD, num_groups),
            is_causal=True,
            scaling=scaling,
        )
        squares.queries.put(out_KSGD, out)
        squares.queries.put(lse_KSG, lse)
    for start, end, key_start, key_end in calls.rectangles:
        out, lse = flash_forward(
            _folded(query_KSGD, start, end),
            key_KSD[None, :, key_start:key_end],
            value_KSD[None, :, key_start:key_end],
            is_causal=False,
            scaling=scaling,
        )
        merge_(_folded(out_KSGD, start, end), _folded(lse_KSG, start, end), out, lse)
    return _ungrouped(out_KSGD).to(query.dtype), (query_KSGD, key, value, lse_KSG)


def tree_backward(
    grad_out: Tensor, out: Tensor, saved: tuple[Tensor, ...], plan: AttentionPlan, scaling: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return gradients of query, key and value; see `TreeBackend`."""
    calls = _Calls.of(plan)
    query_KSGD, key, value, lse_KSG = saved
    key_KSD, value_KSD = key[0], value[0]
    num_kv_heads, num_groups = key.shape[1], query_KSGD.shape[2]
    grad_out_KSGD, out_KSGD = (_grouped(x.transpose(1, 2), num_kv_heads) for x in (grad_out, out))
    # Every row is in one square; only known keys are in none.
    create = torch.empty if plan.num_queries == plan.num_keys else torch.zeros
    grad_query_KSGD = torch.empty(query_KSGD.shape, dtype=lse_KSG.dtype)
    grad_key_KSD, grad_value_KSD = (
        create(x.shape[2], num_kv_heads, x.shape[3], dtype=lse_KSG.dtype).transpose(0, 1) for x in (key, value)
    )
    for squares in calls.squares:
        grad_query, grad_key, grad_value = flash_backward(
            squares.queries.split(grad_out_KSGD, zero_padding=True),
            squares.queries.split(query_KSGD),
            squares.keys.expanded(key_KSD, num_groups),
            squares.keys.expanded(value_KSD, num_groups),
            squares.queries.split(out_KSGD),
            squares.queries.split(lse_KSG),
            is_causal=True,
            scaling=scaling,
        )
        squares.queries.put(grad_query_KSGD, grad_query)
        squares.keys.put_sum(grad_key_KSD, grad_key)
        squares.keys.put_sum(grad_value_KSD, grad_value)
    # The kernel works on heads in parallel: folded ones are one.
    arranged, num_copies = (_folded, 1) if torch.get_num_threads() <= num_kv_heads else (_apart, num_groups)
    for start, end, key_start, key_end in calls.rectangles:
        grad_query, grad_key, grad_value = flash_backward(
            arranged(grad_out_KSGD, start, end),
            arranged(query_KSGD, start, end),
            key_KSD[:, key_start:key_end].expand(num_copies, -1, -1, -1),
            value_KSD[:, key_start:key_end].expand(num_copies, -1, -1, -1),
            arranged(out_KSGD, start, end),
            arranged(lse_KSG, start, end),
            is_causal=False,
            scaling=scaling,
        )
        arranged(grad_query_KSGD, start, end).add_(grad_query)
        grad_key_KSD[:, key_start:key_end].add_(grad_key.sum(0, dtype=lse_KSG.dtype))
        grad_value_KSD[:, key_start:key_end].add_(grad_value.sum(0, dtype=lse_KSG.dtype))
    grad_query = _ungrouped(grad_query_KSGD).transpose(1, 2)
    return grad_query.to(key.dtype), grad_key_KSD[None].to(key.dtype), grad_value_KSD[None].to(key.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """The rows of one call's squares, queries or keys."""

    num_squares: int
    padded: slice | Tensor
    """`[N * L]`; a slice, which is faster, if they lie side by side."""
    own: Tensor
    """Rows that are not padding."""
    kept: Tensor | None
    """Where those stand in `padded`; None if they are all."""
    padding: Tensor | None
    """Where the others stand."""

    @classmethod
    def of(cls, batch: SquareBatch, starts: Array) -> Self:
        rows, is_kept = batch.rows(starts).ravel(), batch.is_kept().ravel()
        own = torch.from_numpy(rows[is_kept])
        if not is_kept.all():
            kept, padding = (torch.from_numpy(np.flatnonzero(places)) for places in (is_kept, ~is_kept))
            return cls(len(starts), torch.from_numpy(rows), own, kept, padding)
        is_stretch = (np.diff(rows) == 1).all()
        return cls(len(starts), slice(int(rows[0]), int(rows[-1]) + 1) if is_stretch else own, own, None, None)

    def take(self, x_KS_: Tensor) -> Tensor:
        """Return `[K, N * L, ...]`."""
        return x_KS_[:, self.padded] if isinstance(self.padded, slice) else x_KS_.index_select(1, self.padded)

    def split(self, x_KSG_: Tensor, *, zero_padding: bool = False) -> Tensor:
        """Return `[G, K * N, L, ...]`.

        Nobody sees padding, but it sees what is before it: without a gradient it gives none.
        """
        rows = self.take(x_KSG_)
        if zero_padding and self.padding is not None:
            rows.index_fill_(1, self.padding, 0.0)
        split: Tensor = rows.unflatten(1, (self.num_squares, -1)).movedim(3, 0).flatten(1, 2)
        return split

    def expanded(self, x_KSD: Tensor, num_groups: int) -> Tensor:
        """Return `[G, K * N, L, D]`, every head G times without a copy."""
        rows: Tensor = self.take(x_KSD).unflatten(1, (self.num_squares, -1)).flatten(0, 1)
        return rows.expand(num_groups, -1, -1, -1)

    def put(self, x_KSG_: Tensor, part: Tensor) -> None:
        """Write what `split` gave of rows back into them."""
        part = part.unflatten(1, (-1, self.num_squares)).movedim(0, 3).flatten(1, 2)
        self._write(x_KSG_, part)

    def put_sum(self, x_KSD: Tensor, part: Tensor) -> None:
        """Write sums over what `expanded` gave of rows into them."""
        self._write(x_KSD, part.sum(0, dtype=x_KSD.dtype).unflatten(0, (-1, self.num_squares)).flatten(1, 2))

    def _write(self, x_KS_: Tensor, part: Tensor) -> None:
        if isinstance(self.padded, slice):
            x_KS_[:, self.padded] = part
        else:
            part = part if self.kept is None else part.index_select(1, self.kept)
            x_KS_.index_copy_(1, self.own, part.to(x_KS_.dtype))


@dataclass(frozen=True, slots=True)
class _Squares:
    queries: _Rows
    keys: _Rows


@dataclass(frozen=True, slots=True, eq=False)
class _Calls:
    """What is asked of the kernel."""

    squares: list[_Squares]
    rectangles: list[tuple[int, int, int, int]]
    """See `AttentionPlan.dense`."""

    @classmethod
    def of(cls, plan: AttentionPlan) -> "_Calls":
        """Return the calls of a plan, worked out at the first layer."""
        if "cpu" not in plan.prepared:
            plan_in_halves = halved(plan)
            squares = [
                _Squares(_Rows.of(batch, batch.query_starts), _Rows.of(batch, batch.key_starts))
                for batch in square_batches(plan_in_halves)
            ]
            plan.prepared["cpu"] = cls(squares, plan_in_halves.dense.tolist())
        calls: _Calls = plan.prepared["cpu"]
        return calls


def _grouped(x: Tensor, num_kv_heads: int) -> Tensor:
    """Return `[1, H, S, D]` as `[K, S, G, D]`, contiguous."""
    grouped: Tensor = x[0].unflatten(0, (num_kv_heads, -1)).transpose(1, 2).contiguous()
    return grouped


def _ungrouped(x_KSGD: Tensor) -> Tensor:
    """Return `[1, S, H, D]`, contiguous."""
    return x_KSGD.transpose(0, 1).flatten(1, 2).unsqueeze(0)


def _folded(x_KSG_: Tensor, start: int, end: int) -> Tensor:
    """Return rows as a view `[1, K, L * G, ...]`."""
    return x_KSG_[:, start:end].flatten(1, 2).unsqueeze(0)


def _apart(x_KSG_: Tensor, start: int, end: int) -> Tensor:
    """Return rows as a view `[G, K, L, ...]`."""
    return x_KSG_[:, start:end].movedim(2, 0)
