"""Keys and values of a token tree's packed rows, and which of them a later tree can use again.

Shape legend: S packed row, D size of a head.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videozoom.policies.rendering import RenderedPrompt
from videozoom.policies.token_tree import TokenTree


class PackedCache:
    """Keys and values `[1, heads, S, D]` of every layer, one row per distinct token."""

    def __init__(self, is_known: NDArray[np.bool_], sources: NDArray[np.int64], held: "PackedCache | None") -> None:
        """Take the known rows from another cache; the others come in one forward pass.

        Args:
            is_known: `[S]`, rows that `held` has.
            sources: `[S]`, where it has them; what stands elsewhere does not matter.
            held: The other cache; not needed if nothing is known.
        """
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self._new_rows = torch.from_numpy(np.flatnonzero(~is_known))
        self._known_rows = torch.from_numpy(np.flatnonzero(is_known))
        self._sources = torch.from_numpy(sources[is_known])
        self._held = held

    def update(self, key: Tensor, value: Tensor, layer_idx: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Take the new rows of a layer and return all of them; called by transformers."""
        held = self._held
        self.keys.append(self._joined(key, held.keys[layer_idx] if held else None))
        self.values.append(self._joined(value, held.values[layer_idx] if held else None))
        return self.keys[layer_idx], self.values[layer_idx]

    def close(self) -> None:
        """Let go of the cache that rows came from."""
        self._held = None

    def _joined(self, new: Tensor, held: Tensor | None) -> Tensor:
        if held is None or not len(self._known_rows):
            return new
        _, heads, num_new, size = new.shape
        rows = new.new_empty(1, heads, num_new + len(self._known_rows), size)
        rows.index_copy_(2, self._new_rows.to(new.device), new)
        return rows.index_copy_(2, self._known_rows.to(new.device), held[:, :, self._sources.to(new.device)])


class HeldPrefixes:
    """The prompts of the last call and their keys and values: a later step of an episode begins like the one before."""

    def __init__(self) -> None:
        self._prompts: list[RenderedPrompt] = []
        self._tree: TokenTree | None = None
        self._cache: PackedCache | None = None

    def cache_for(self, prompts: Sequence[RenderedPrompt], tree: TokenTree) -> tuple[PackedCache, NDArray[np.bool_]]:
        """Return a cache for a tree of prompts, and which of its rows it has already.

        The last token of a prompt always counts as new: its hidden state predicts what comes next.
        """
        is_known, sources = self._matches(prompts, tree)
        for path in tree.paths:
            is_known[path[-1]] = False
        for path in tree.paths:
            is_known[path] = np.logical_and.accumulate(is_known[path])
        return PackedCache(is_known, sources, self._cache if is_known.any() else None), is_known

    def hold(self, prompts: Sequence[RenderedPrompt], tree: TokenTree, cache: PackedCache) -> None:
        """Keep a call's rows in place of those of the one before."""
        self._prompts, self._tree, self._cache = list(prompts), tree, cache

    def _matches(
        self, prompts: Sequence[RenderedPrompt], tree: TokenTree
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return for each row of `tree` whether it is held, and where."""
        sources = np.full(tree.num_tokens, -1, np.int64)
        if self._tree is not None:
            both = TokenTree.of([*self._prompts, *prompts])
            held_rows = np.full(both.num_tokens, -1, np.int64)
            for path, held_path in zip(both.paths, self._tree.paths, strict=False):
                held_rows[path] = held_path
            for path, new_path in zip(both.paths[len(self._prompts) :], tree.paths, strict=True):
                sources[new_path] = held_rows[path]
        return sources >= 0, sources
