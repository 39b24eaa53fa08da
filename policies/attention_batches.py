"""Which calls of a kernel compute a plan's causal squares best on a CPU.

The kernel computes most of what a causal mask hides and throws it away: up to half of a square. Halves are two squares
and a rectangle between them, of which nothing is hidden. And a group has many leaves of about the same length, where a
call costs more for being a call than for the square. Under a causal mask nobody sees what is behind it, so shorter
squares can be padded at their end, exactly.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videozoom.policies.attention_plan import Array, AttentionPlan

_CALL_PAIRS = 2048
"""A call costs about as much as this many pairs of a query and a key: measured with 4 to 8 heads on one core."""
_LONGEST_SQUARE = 255
"""Halves of a longer square take less time than it does: measured with 4 and 8 heads."""


@dataclass(frozen=True, slots=True, eq=False)
class SquareBatch:
    """Squares of one call."""

    query_starts: Array
    """`[N]`"""
    key_starts: Array
    """`[N]`"""
    lengths: Array
    """`[N]`, ascending."""

    @property
    def length(self) -> int:
        """That of the longest, to which the others are padded."""
        return int(self.lengths[-1])

    def rows(self, starts: Array) -> Array:
        """Return the rows `[N, length]` of squares that start at `starts`; padding repeats a square's last row."""
        return starts[:, None] + np.minimum(np.arange(self.length), self.lengths[:, None] - 1)

    def is_kept(self) -> NDArray[np.bool_]:
        """Return `[N, length]`: which rows are not padding."""
        is_kept: NDArray[np.bool_] = np.arange(self.length) < self.lengths[:, None]
        return is_kept


def halved(plan: AttentionPlan, *, longest: int = _LONGEST_SQUARE) -> AttentionPlan:
    """Return a plan for the same pairs in which no square is longer than `longest`.

    Example:
        With `longest` 2, the square of rows 0 to 3 is those of 0 and 1 and of 2 and 3, and 2 and 3 on 0 and 1.
    """
    causal: list[tuple[int, int, int]] = []
    dense = plan.dense.tolist()
    waiting = plan.causal.tolist()[::-1]
    while waiting:
        query, key, length = waiting.pop()
        if length <= longest:
            causal.append((query, key, length))
            continue
        half = length // 2
        waiting += [(query + half, key + half, length - half), (query, key, half)]
        dense.append((query + half, query + length, key, key + half))
    return AttentionPlan(
        np.array(causal, np.int64).reshape(-1, 3),
        np.array(dense, np.int64).reshape(-1, 4),
        plan.num_queries,
        plan.num_keys,
    )


def square_batches(plan: AttentionPlan, *, call_pairs: int = _CALL_PAIRS) -> list[SquareBatch]:
    """Return the plan's squares in batches of least total cost: pairs computed, padding included, plus the calls.

    Example:
        Squares of 20, 1000, 18 and 20 tokens: one batch of 18, 20, 20 and one of 1000.
    """
    order = np.argsort(plan.causal[:, 2], kind="stable")
    squares = plan.causal[order]
    # Squares of equal length always go together: the cuts are between distinct lengths.
    lengths, firsts = np.unique(squares[:, 2], return_index=True)
    bounds = np.append(firsts, len(squares))
    cost = np.zeros(len(lengths) + 1)
    cut = np.zeros(len(lengths) + 1, np.int64)
    for end in range(1, len(lengths) + 1):
        costs = cost[:end] + (bounds[end] - bounds[:end]) * lengths[end - 1] ** 2 + call_pairs
        cut[end] = costs.argmin()
        cost[end] = costs[cut[end]]
    batches: list[SquareBatch] = []
    end = len(lengths)
    while end:
        part = squares[bounds[cut[end]] : bounds[end]]
        batches.append(SquareBatch(part[:, 0], part[:, 1], part[:, 2]))
        end = int(cut[end])
    return batches[::-1]
