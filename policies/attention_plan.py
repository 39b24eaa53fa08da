"""What is attended to what in a packed token tree.

A token attends to everything on its path from the root. In depth-first order that is a causal square per node and,
per node with descendants, one rectangle: the descendants lie side by side behind it and see all of it.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.int64]


class PackedTree(Protocol):
    """The arrays of a token tree that say who descends from whom; N counts nodes, in depth-first order."""

    @property
    def starts(self) -> Array:
        """`[N]`, first packed row of each node."""
        ...

    @property
    def ends(self) -> Array:
        """`[N]`, the row behind its last."""
        ...

    @property
    def subtree_ends(self) -> Array:
        """`[N]`, the row behind its last descendant's last."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class AttentionPlan:
    """Squares and rectangles of the attention matrix that are computed; each pair of query and key is in one of them.

    Queries and keys are counted separately: keys are all packed rows, queries those that are computed now.

    Example:
        A root of 3 tokens with two leaves of 2 and 1: `causal` is `[[0, 0, 3], [3, 3, 2], [5, 5, 1]]`, `dense` is
        `[[3, 6, 0, 3]]`. If the root's keys are already known, its queries are gone: `[[0, 3, 2], [2, 5, 1]]` and
        `[[0, 3, 0, 3]]`.
    """

    causal: Array
    """`[n, 3]` of (query start, key start, length): the tokens of a node on themselves."""
    dense: Array
    """`[m, 4]` of (query start, query end, key start, key end): descendants of a node on its tokens, roots first."""
    num_queries: int
    num_keys: int
    prepared: dict[Any, Any] = field(default_factory=dict, repr=False)
    """What backends derive from the plan: every layer uses it again."""

    @classmethod
    def of(cls, tree: PackedTree, is_known: NDArray[np.bool_] | None = None) -> "AttentionPlan":
        """Return the plan of a tree.

        Args:
            tree: In depth-first order.
            is_known: `[S]`, rows whose keys and values are there already. They are no queries, and queries are counted
                without them. All ancestors of a known row are known; it may lie in the middle of a node.

        Raises:
            ValueError: `is_known` has another length than the tree, or a known row has an unknown ancestor.
        """
        num_keys = int(tree.subtree_ends.max(initial=0))
        known = np.zeros(num_keys, np.bool_) if is_known is None else np.asarray(is_known, np.bool_)
        if known.shape != (num_keys,):
            raise ValueError(f"is_known has shape {known.shape}, the tree has {num_keys} rows")
        queries_before = np.concatenate([[0], np.cumsum(~known)])
        causal: list[tuple[int, int, int]] = []
        dense: list[tuple[int, int, int, int]] = []
        for start, end, stop in zip(tree.starts.tolist(), tree.ends.tolist(), tree.subtree_ends.tolist(), strict=True):
            num_unknown = int(queries_before[end] - queries_before[start])
            middle = end - num_unknown
            if known[middle:end].any() or (num_unknown and known[end:stop].any()):
                raise ValueError(f"is_known: a row of the node [{start}, {end}) is unknown, but not all behind it are")
            # A node known in part is two nodes: the known one is the parent of the other.
            for key_start, key_end, is_square in ((start, middle, False), (middle, end, True)):
                if key_start == key_end:
                    continue
                first, behind, last = queries_before[[key_start, key_end, stop]].tolist()
                if is_square:
                    causal.append((first, key_start, key_end - key_start))
                if behind < last:
                    dense.append((behind, last, key_start, key_end))
        return cls(
            np.array(causal, np.int64).reshape(-1, 3),
            np.array(dense, np.int64).reshape(-1, 4),
            int(queries_before[-1]),
            num_keys,
        )

    @property
    def num_pairs(self) -> int:
        """Pairs of query and key that are computed."""
        lengths = self.causal[:, 2]
        squares = lengths * (lengths + 1) // 2
        rectangles = (self.dense[:, 1] - self.dense[:, 0]) * (self.dense[:, 3] - self.dense[:, 2])
        return int(squares.sum() + rectangles.sum())
