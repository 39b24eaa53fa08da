"""Decoding of many rows over a shared token tree: what rows share is read once for all of them.

Every row has a path through the tree. Long nodes that several rows share stay where they are: one dense attention call
for all their rows. The rest of each path is copied into a buffer of the row's own, where its new tokens follow. The
parts are merged by log-sum-exp. Copying the shared prefix per row, as a batched cache does, reads it once per row and
token instead.

Shape legend: B row, T own token, L token of a shared node, R row of a shared node, D size of a head.
Source: cascade attention, as in FlashInfer and Hydragen (arXiv:2402.05099).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videozoom.policies.attention_backends import AttentionBackend, merge
from videozoom.policies.packed_cache import PackedCache
from videozoom.policies.token_tree import TokenTree

_MIN_SHARED = 64
"""Shorter nodes are copied: a call of their own would cost more than it saves."""
_STACK_BYTES = 1 << 28
"""Nodes of about the same length are copied side by side into one call while that takes less than this."""
_STACK_RATIO = 1.25
"""Longest to shortest node of one call."""


@dataclass(frozen=True, slots=True)
class SharedNode:
    """A stretch of packed rows that several rows of the batch see."""

    start: int
    end: int
    depth: int
    """Shared nodes above it."""
    rows: tuple[int, ...]
    """Positions in the batch."""

    @property
    def length(self) -> int:
        """Tokens."""
        return self.end - self.start


def shared_nodes(tree: TokenTree, paths: Sequence[NDArray[np.int64]]) -> list[SharedNode]:
    """Return the nodes worth one call for all their rows, parents first.

    Args:
        tree: The prompts.
        paths: For each row of the batch the packed rows of its prompt.
    """
    rows_of: defaultdict[int, list[int]] = defaultdict(list)
    for row, path in enumerate(paths):
        last = int(path[-1])
        node = int(np.searchsorted(tree.starts, last, side="right")) - 1
        if last + 1 < tree.ends[node]:
            # The prompt ends within a longer one.
            node = int(tree.parents[node])
        while node >= 0:
            rows_of[node].append(row)
            node = int(tree.parents[node])
    depths: dict[int, int] = {}
    nodes = []
    for index in sorted(rows_of):
        above = depths.get(int(tree.parents[index]), 0)
        is_shared = len(rows_of[index]) > 1 and tree.ends[index] - tree.starts[index] >= _MIN_SHARED
        depths[index] = above + is_shared
        if is_shared:
            nodes.append(SharedNode(int(tree.starts[index]), int(tree.ends[index]), above, tuple(rows_of[index])))
    return nodes


class _Stack:
    """Shared nodes of one depth that are attended to in one call."""

    def __init__(self, nodes: Sequence[SharedNode], cache: PackedCache) -> None:
        self._nodes = nodes
        device = cache.keys[0].device
        longest = max(node.length for node in nodes)
        self._spans: Tensor | None = None
        self._mask: Tensor | None = None
        if len(nodes) > 1:
            lengths = torch.tensor([node.length for node in nodes], device=device)
            starts = torch.tensor([node.start for node in nodes], device=device)
            offsets = torch.arange(longest, device=device)
            # Rows behind a short node stand for nothing and are masked.
            self._spans = starts.unsqueeze(-1) + torch.minimum(offsets, lengths.unsqueeze(-1) - 1)
            if len({node.length for node in nodes}) > 1:
                self._mask = (offsets < lengths.unsqueeze(-1))[:, None, None, :]
        self._keys = [self._stacked(key) for key in cache.keys]
        self._values = [self._stacked(value) for value in cache.values]
        self._device = device
        self.select({row: row for node in nodes for row in node.rows})

    @property
    def is_empty(self) -> bool:
        """Whether all its rows are done."""
        return not len(self.rows)

    def select(self, new_rows: dict[int, int]) -> None:
        """Take the rows' new positions in the batch; those that have none are done."""
        self._nodes = [
            SharedNode(node.start, node.end, node.depth, tuple(new_rows[row] for row in node.rows if row in new_rows))
            for node in self._nodes
        ]
        rows = [row for node in self._nodes for row in node.rows]
        self._most_rows = max(len(node.rows) for node in self._nodes)
        slots = [index * self._most_rows + i for index, node in enumerate(self._nodes) for i in range(len(node.rows))]
        self.rows = torch.tensor(rows, dtype=torch.long, device=self._device)
        self._slots = torch.tensor(slots, dtype=torch.long, device=self._device)
        self._is_dense = len(slots) == len(self._nodes) * self._most_rows
        self.is_in_order = rows == list(range(len(rows)))

    def attend(
        self, layer_idx: int, query_RHD: Tensor, scaling: float, backend: AttentionBackend
    ) -> tuple[Tensor, Tensor]:
        """Return output `[R, H, D]` and log-sum-exp `[R, H]` of its rows' queries."""
        _, heads, size = query_RHD.shape
        shape = (len(self._nodes), self._most_rows, heads, size)
        if not self._is_dense:
            padded = query_RHD.new_zeros(shape[0] * shape[1], heads, size)
            query_RHD = padded.index_copy_(0, self._slots, query_RHD)
        out, lse = backend.forward(
            query_RHD.view(shape).transpose(1, 2),
            self._keys[layer_idx],
            self._values[layer_idx],
            is_causal=False,
            scaling=scaling,
            mask=self._mask,
        )
        out_RHD = out.transpose(1, 2).reshape(-1, heads, size)
        lse_RH = lse.transpose(1, 2).reshape(-1, heads)
        return (out_RHD, lse_RH) if self._is_dense else (out_RHD[self._slots], lse_RH[self._slots])

    def _stacked(self, packed: Tensor) -> Tensor:
        """Return `[nodes, heads, L, D]`; of one node a view."""
        if self._spans is None:
            return packed[:, :, self._nodes[0].start : self._nodes[0].end]
        return packed[0][:, self._spans].transpose(0, 1).contiguous()


class CascadeDecoder:
    """Holds what rows need to decode token after token; transformers' cache and attention of one batch.

    Rows are positions in `paths`; `select` drops some.
    """

    def __init__(
        self,
        tree: TokenTree,
        cache: PackedCache,
        paths: Sequence[NDArray[np.int64]],
        *,
        num_new_tokens: int,
        backend: AttentionBackend,
    ) -> None:
        """Prepare to decode at most `num_new_tokens` for each path."""
        self._backend = backend
        self._num_rows = len(paths)
        nodes = shared_nodes(tree, paths)
        self._stacks = [_Stack(bucket, cache) for bucket in _buckets(nodes, _bytes_per_token(cache))]
        own = [_without(path, row, nodes) for row, path in enumerate(paths)]
        device = cache.keys[0].device
        longest = max(map(len, own))
        lengths = torch.tensor([len(rows) for rows in own], device=device)
        slots = np.zeros((len(own), longest), np.int64)
        for row, packed_rows in enumerate(own):
            # Flush right, so that new tokens follow.
            slots[row, longest - len(packed_rows) :] = packed_rows
        slots_BT = torch.from_numpy(slots).to(device)
        self._own_length = longest
        self._num_decoded = 0
        # A padded copy of row 0 stands before a short prompt; it is masked.
        self._keys = [_with_room(key, slots_BT, num_new_tokens) for key in cache.keys]
        self._values = [_with_room(value, slots_BT, num_new_tokens) for value in cache.values]
        visible_BT = torch.arange(longest + num_new_tokens, device=device) >= (longest - lengths).unsqueeze(-1)
        self._visible_BT: Tensor | None = visible_BT if bool((lengths != longest).any()) else None

    def update(self, key: Tensor, value: Tensor, layer_idx: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Append one token `[B, heads, 1, D]` to a layer and return the rows' own; called by transformers."""
        end = self._end
        self._keys[layer_idx][:, :, end - 1] = key[:, :, 0]
        self._values[layer_idx][:, :, end - 1] = value[:, :, 0]
        return self._keys[layer_idx][:, :, :end], self._values[layer_idx][:, :, :end]

    def attend(self, layer_idx: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Return attention `[B, 1, heads, D]` of one new token per row `[B, heads, 1, D]`."""
        mask = None if self._visible_BT is None else self._visible_BT[:, None, None, : self._end]
        out, lse = self._backend.forward(query, key, value, is_causal=False, scaling=scaling, mask=mask)
        # Parts are merged in float32 or better.
        out_BHD, lse_BH = out[:, :, 0].to(lse.dtype), lse[:, :, 0]
        query_BHD = query[:, :, 0]
        for stack in self._stacks:
            if self._is_whole(stack):
                part = stack.attend(layer_idx, query_BHD, scaling, self._backend)
                out_BHD, lse_BH = merge(out_BHD, lse_BH, *part)
            else:
                rows = stack.rows
                part = stack.attend(layer_idx, query_BHD[rows], scaling, self._backend)
                merged = merge(out_BHD[rows], lse_BH[rows], *part)
                out_BHD, lse_BH = out_BHD.index_copy(0, rows, merged[0]), lse_BH.index_copy(0, rows, merged[1])
        return out_BHD.to(query.dtype).unsqueeze(1)

    def advance(self) -> None:
        """Make the token of a finished forward pass count as past."""
        self._num_decoded += 1

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order."""
        kept = torch.tensor(rows, device=self._keys[0].device)
        self._num_rows = len(rows)
        self._keys = [key[kept] for key in self._keys]
        self._values = [value[kept] for value in self._values]
        if self._visible_BT is not None:
            self._visible_BT = self._visible_BT[kept]
        new_rows = {row: position for position, row in enumerate(rows)}
        for stack in self._stacks:
            stack.select(new_rows)
        self._stacks = [stack for stack in self._stacks if not stack.is_empty]

    @property
    def _end(self) -> int:
        """End of what is used of the buffers in the running forward pass."""
        return self._own_length + self._num_decoded + 1

    def _is_whole(self, stack: _Stack) -> bool:
        return stack.is_in_order and len(stack.rows) == self._num_rows


def _buckets(nodes: Sequence[SharedNode], bytes_per_token: int) -> Iterator[list[SharedNode]]:
    """Yield nodes that make one call: of one depth, so that no row is in it twice, and of about the same length."""
    bucket: list[SharedNode] = []
    for node in sorted(nodes, key=lambda node: (node.depth, node.length, node.start)):
        is_alike = bucket and node.depth == bucket[0].depth and node.length <= _STACK_RATIO * bucket[0].length
        if bucket and not (is_alike and (len(bucket) + 1) * node.length * bytes_per_token <= _STACK_BYTES):
            yield _in_order(bucket)
            bucket = []
        bucket.append(node)
    if bucket:
        yield _in_order(bucket)


def _in_order(nodes: list[SharedNode]) -> list[SharedNode]:
    return sorted(nodes, key=lambda node: node.rows[0])


def _bytes_per_token(cache: PackedCache) -> int:
    return sum(tensor[:, :, :1].nbytes for tensor in (*cache.keys, *cache.values))


def _without(path: NDArray[np.int64], row: int, nodes: Sequence[SharedNode]) -> NDArray[np.int64]:
    """Return a row's path without the shared nodes it sees."""
    is_own = np.ones(len(path), np.bool_)
    for node in nodes:
        if row in node.rows:
            is_own &= (path < node.start) | (path >= node.end)
    return path[is_own]


def _with_room(packed: Tensor, rows_BT: Tensor, num_new: int) -> Tensor:
    """Return `[B, heads, T + num_new, D]`: packed rows, and room behind them."""
    _, heads, _, size = packed.shape
    num_rows, length = rows_BT.shape
    buffer = packed.new_empty(num_rows, heads, length + num_new, size)
    buffer[:, :, :length] = packed[0][:, rows_BT].transpose(0, 1)
    return buffer
