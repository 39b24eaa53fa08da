"""The sequences of one or several groups as a trie: every token that sequences share from their start on is there once.

Sequences are sorted by what their tokens are (a token id, or a place in a clip), so that those that begin alike are
neighbours. How many tokens each has in common with the one before says everything about the tree: what comes after
them are its own rows, and appended in that order all rows are in depth-first order.

Legend: S packed row (one distinct token), N node (a run of rows without a branch), T token of one sequence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from videozoom.envs.observation import VideoClip
from videozoom.policies.rendering import RenderedPrompt
from videozoom.policies.token_keys import Array, SortedKeys


class TokenBudgetError(ValueError):
    """A sequence is longer than what may be computed in one pass."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenTree:
    """A forest of tokens, packed depth-first; a token sees itself and its ancestors.

    Example:
        Completions `x y` and `x z` of prompt `p q`, and `r` of prompt `s`, are 7 rows in 4 nodes:
        `p q x` (rows 0 to 2), its children `y` and `z` (a row each), and `s r` (rows 5 and 6).
    """

    token_ids: Array
    """`[S]`, in depth-first order."""
    position_ids: Array
    """`[3, S]`: time, row, column; those of the token in its sequence."""
    feature_rows: Array
    """`[S]`: row in the features of `clips`, one clip after the other; -1 for text. A clip may stand in two places."""
    clips: tuple[VideoClip, ...]
    """Distinct clips, in order of first appearance in the input."""
    starts: Array
    """`[N]`: first row of each node, ascending."""
    ends: Array
    """`[N]`: the row after its last."""
    subtree_ends: Array
    """`[N]`: the row after the last of its descendants."""
    parents: Array
    """`[N]`: index of the parent node, -1 for roots."""
    paths: tuple[Array, ...]
    """For each input sequence `[T]`: the row of each of its tokens."""

    @classmethod
    def of(cls, sequences: Sequence[RenderedPrompt], *, min_saving: int = 0) -> "TokenTree":
        """Return the tree of sequences, completions included.

        Args:
            sequences: At least one, each with at least one token.
            min_saving: A node that saves fewer tokens, its length times the number of its children but one, is copied
                into its children instead: many small nodes can cost more than they save.
        """
        keys = SortedKeys.of(sequences)
        shared = keys.shared
        rows = _Rows.of(keys.lengths, shared)
        if min_saving > 0:
            shared = rows.without_small_nodes(shared, min_saving)
            rows = _Rows.of(keys.lengths, shared)
        paths: list[Array] = [np.zeros(0, np.int64)] * len(sequences)
        for index, path in zip(keys.order, rows.paths, strict=True):
            paths[index] = path
        own = list(zip(keys.order, shared.tolist(), strict=True))
        return cls(
            token_ids=np.concatenate([sequences[index].token_ids[start:] for index, start in own]),
            position_ids=np.concatenate([sequences[index].position_ids[:, start:] for index, start in own], axis=1),
            feature_rows=keys.feature_rows(np.concatenate([keys.keys[index][start:] for index, start in own])),
            clips=tuple(keys.clips.values()),
            starts=rows.starts,
            ends=rows.ends,
            subtree_ends=rows.subtree_ends(),
            parents=rows.parents,
            paths=tuple(paths),
        )

    @property
    def num_tokens(self) -> int:
        """Rows, S."""
        return len(self.token_ids)

    @property
    def num_nodes(self) -> int:
        """Nodes, N."""
        return len(self.starts)

    @property
    def num_pairs(self) -> int:
        """Pairs of a query and a key it sees, itself included: the sum of all depths."""
        lengths = self.ends - self.starts
        return int((self.node_depths() * lengths + lengths * (lengths + 1) // 2).sum())

    def predicting_rows(self, num_completion_tokens: Sequence[int]) -> tuple[Array, Array]:
        """Return the rows that predict completion tokens, and those of the tokens, one sequence after the other.

        A token is predicted by the row before it in its path, which is not the row before it in the tree: the end of a
        shared prompt predicts the first token of many completions.

        Args:
            num_completion_tokens: For each sequence, how many tokens at its end; fewer than it has.
        """
        rows = [path[len(path) - n - 1 : len(path) - 1] for path, n in self._ends(num_completion_tokens)]
        targets = [path[len(path) - n :] for path, n in self._ends(num_completion_tokens)]
        return np.concatenate(rows), np.concatenate(targets)

    def _ends(self, counts: Sequence[int]) -> Iterator[tuple[Array, int]]:
        for path, count in zip(self.paths, counts, strict=True):
            if not 0 <= count < len(path):
                raise ValueError(f"{count} completion tokens in a sequence of {len(path)}")
            yield path, count

    def node_depths(self) -> Array:
        """Return `[N]`: how many tokens are above each node."""
        depths = [0] * self.num_nodes
        lengths = (self.ends - self.starts).tolist()
        for node, parent in enumerate(self.parents.tolist()):
            if parent >= 0:
                depths[node] = depths[parent] + lengths[parent]
        return np.array(depths, np.int64)


def split(
    sequences: Sequence[RenderedPrompt], max_tokens: int, *, key: str = "grpo.max_tokens_per_batch"
) -> list[list[int]]:
    """Return the sequences in parts whose trees have at most `max_tokens` rows each, as indices into `sequences`.

    Parts follow the depth-first order, and are those that compute the fewest rows altogether: a group is cut only if it
    does not fit, and then where little is shared.

    Args:
        sequences: Completions included.
        max_tokens: Rows of a tree; small nodes that are copied come on top.
        key: Name of that setting.

    Raises:
        TokenBudgetError: A sequence alone is longer.
    """
    keys = SortedKeys.of(sequences)
    longest = int(keys.lengths.max(initial=0))
    if longest > max_tokens:
        raise TokenBudgetError(
            f"a sequence of {longest} tokens does not fit into one pass of at most {max_tokens}: "
            f"set {key} to at least {longest}, or give videos fewer tokens"
        )
    # Sequences i to j in one part have as many rows as i's tokens and the own ones of those after it.
    own_until = np.concatenate([[0], np.cumsum(keys.lengths - keys.shared)])
    cost = np.zeros(len(sequences) + 1, np.int64)
    cut = np.zeros(len(sequences) + 1, np.int64)
    first = 0
    for end in range(1, len(sequences) + 1):
        while own_until[end] - own_until[first] + keys.shared[first] > max_tokens:
            first += 1
        # A part costs what its first sequence shares with the part before, and one more, so that ties make few parts.
        costs = cost[first:end] + keys.shared[first:end] + 1
        best = int(costs.argmin())
        cost[end], cut[end] = costs[best], first + best
    parts: list[list[int]] = []
    end = len(sequences)
    while end:
        parts.append(keys.order[cut[end] : end])
        end = int(cut[end])
    return parts[::-1]


class _Rows(NamedTuple):
    """Rows and nodes of the tree that sorted sequences make with what they share."""

    paths: list[Array]
    """In sorted order."""
    starts: Array
    ends: Array
    parents: Array
    branches: list[tuple[int, int]]
    """Sorted position of each sequence that leaves the one before in its middle, and the node it leaves from."""

    @classmethod
    def of(cls, lengths: Array, shared: Array) -> "_Rows":
        ends = np.cumsum(lengths - shared)
        num_rows = int(ends[-1])
        paths: list[Array] = []
        before = np.zeros(0, np.int64)
        parent_rows = np.arange(-1, num_rows - 1)
        for end, length, common in zip(ends.tolist(), lengths.tolist(), shared.tolist(), strict=True):
            start = end - (length - common)
            if start < end:
                parent_rows[start] = before[common - 1] if common else -1
            before = np.concatenate([before[:common], np.arange(start, end)])
            paths.append(before)
        num_children = np.bincount(parent_rows + 1, minlength=num_rows + 1)
        # A row begins a node if it has no parent, or is one of several children.
        is_start = (parent_rows < 0) | (num_children[parent_rows + 1] > 1)
        starts = np.flatnonzero(is_start)
        nodes = np.cumsum(is_start) - 1
        parents = np.where(parent_rows[starts] < 0, -1, nodes[parent_rows[starts]])
        firsts = ends - (lengths - shared)
        branches = [
            (position, int(nodes[parent_rows[firsts[position]]]))
            for position in range(1, len(lengths))
            if 0 < shared[position] < lengths[position - 1]
        ]
        return cls(paths, starts, np.append(starts[1:], num_rows), parents, branches)

    def subtree_ends(self) -> Array:
        ends: list[int] = self.ends.tolist()
        for node, parent in reversed(list(enumerate(self.parents.tolist()))):
            if parent >= 0:
                ends[parent] = max(ends[parent], ends[node])
        return np.array(ends, np.int64)

    def without_small_nodes(self, shared: Array, min_saving: int) -> Array:
        """Return what sequences share when nodes that save less than `min_saving` tokens are no longer shared."""
        num_children = np.bincount(self.parents + 1, minlength=len(self.starts) + 1)[1:].tolist()
        lengths = (self.ends - self.starts).tolist()
        # Per node: how many tokens above it are still shared, and whether its own are.
        kept_above: list[int] = []
        depths: list[int] = []
        is_copied: list[bool] = []
        for node, parent in enumerate(self.parents.tolist()):
            depth = 0 if parent < 0 else depths[parent] + lengths[parent]
            above = 0 if parent < 0 else kept_above[parent] if is_copied[parent] else depth
            saving = (num_children[node] - 1) * (depth + lengths[node] - above)
            depths.append(depth)
            kept_above.append(above)
            is_copied.append(num_children[node] > 1 and saving < min_saving)
        shared = shared.copy()
        for position, node in self.branches:
            if is_copied[node]:
                shared[position] = kept_above[node]
        return shared
