"""Random packed trees, and attention on them written out over a full mask."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Tree:
    """What `AttentionPlan.of` needs of a token tree, and the parents."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    subtree_ends: NDArray[np.int64]
    parents: NDArray[np.int64]

    def sees(self) -> NDArray[np.bool_]:
        """`[S, S]`: whether a row sees another, by walking from parent to parent."""
        num_rows = int(self.ends.max())
        sees = np.zeros((num_rows, num_rows), np.bool_)
        for node, (start, end) in enumerate(zip(self.starts, self.ends, strict=True)):
            for row in range(start, end):
                sees[row, start : row + 1] = True
                parent = self.parents[node]
                while parent >= 0:
                    sees[row, self.starts[parent] : self.ends[parent]] = True
                    parent = self.parents[parent]
        return sees


def tree_of(*nodes: tuple[int, int]) -> Tree:
    """Return the tree of nodes given as (length, parent) in depth-first order."""
    lengths = np.array([length for length, _ in nodes])
    parents = np.array([parent for _, parent in nodes])
    ends = np.cumsum(lengths)
    subtree_ends = ends.copy()
    for node in range(len(nodes) - 1, -1, -1):
        if parents[node] >= 0:
            subtree_ends[parents[node]] = max(subtree_ends[parents[node]], subtree_ends[node])
    return Tree(ends - lengths, ends, subtree_ends, parents)


def random_tree(seed: int, *, max_depth: int = 4, longest: int = 24) -> Tree:
    """Return a forest of one or two trees of up to `max_depth` levels; every third node has a single row."""
    rng = np.random.default_rng(seed)
    nodes: list[tuple[int, int]] = []

    def grow(parent: int, depth: int) -> None:
        nodes.append((1 if rng.random() < 0.33 else int(rng.integers(1, longest)), parent))
        node = len(nodes) - 1
        if depth < max_depth:
            for _ in range(rng.integers(0, 4)):
                grow(node, depth + 1)

    for _ in range(rng.integers(1, 3)):
        grow(-1, 1)
    return tree_of(*nodes)


def random_known(tree: Tree, seed: int) -> NDArray[np.bool_]:
    """Return known rows with all their ancestors; some end in the middle of a node, and the last is never known."""
    rng = np.random.default_rng(seed)
    is_known = np.zeros(tree.ends.max(), np.bool_)
    for start, end, parent in zip(tree.starts, tree.ends, tree.parents, strict=True):
        if parent < 0 or is_known[tree.ends[parent] - 1]:
            share = rng.choice([0.0, rng.random(), 1.0])
            is_known[start : start + round(share * (end - start))] = True
    is_known[-1] = False
    return is_known


def random_inputs(
    num_queries: int, num_keys: int, *, heads: int, kv_heads: int, size: int = 8, dtype: torch.dtype, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return query, key and value, with gradients, and a gradient of the output; laid out as a model does."""
    generator = torch.Generator().manual_seed(seed)

    def draw(length: int, num_heads: int) -> Tensor:
        return torch.randn(1, length, num_heads, size, generator=generator, dtype=torch.float64).to(dtype)

    query, key, value = (
        draw(length, count).transpose(1, 2).requires_grad_()
        for length, count in ((num_queries, heads), (num_keys, kv_heads), (num_keys, kv_heads))
    )
    return query, key, value, draw(num_queries, heads)


def dense_attention(query: Tensor, key: Tensor, value: Tensor, sees: NDArray[np.bool_], scaling: float) -> Tensor:
    """Return attention `[1, Lq, H, D]` under a full mask `[Lq, Lk]`, by matrix products and a softmax."""
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    scores = query @ key.mT * scaling
    return (scores.masked_fill(~torch.from_numpy(sees), float("-inf")).softmax(-1) @ value).transpose(1, 2)
