"""What tokens are, so that sequences can be compared: a token id, or a place in a clip.

Legend: T token of one sequence.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.observation import VideoClip
from videozoom.policies.positions import Grid
from videozoom.policies.rendering import RenderedPrompt

Array = NDArray[np.int64]


class SortedKeys(NamedTuple):
    """Sequences by what their tokens are, and what neighbours share."""

    keys: list[Array]
    """For each input sequence `[T]`: ids of text tokens; places in clips count down from -1."""
    order: list[int]
    """Indices of the input, sorted."""
    lengths: Array
    """In sorted order."""
    shared: Array
    """In sorted order: how many first tokens are those of the sequence before; 0 for the first."""
    clips: dict[str, VideoClip]
    """By key, in order of first appearance."""
    features: Array
    """The feature row of each place in a clip."""

    @classmethod
    def of(cls, sequences: Sequence[RenderedPrompt]) -> "SortedKeys":
        """Return sequences sorted so that those that begin alike are neighbours."""
        places = _ClipPlaces()
        keys = [places.keys(sequence) for sequence in sequences]
        # Any order of bytes does.
        order = sorted(range(len(keys)), key=[key.tobytes() for key in keys].__getitem__)
        shared = [0] * len(order)
        for position in range(1, len(order)):
            shared[position] = _num_shared(keys[order[position - 1]], keys[order[position]])
        return cls(
            keys=keys,
            order=order,
            lengths=np.array([len(keys[index]) for index in order], np.int64),
            shared=np.array(shared, np.int64),
            clips=places.clips,
            features=np.concatenate([np.zeros(0, np.int64), *places.features]),
        )

    def feature_rows(self, keys: Array) -> Array:
        """Return the feature row of each key, -1 for text."""
        rows = np.full(len(keys), -1, np.int64)
        rows[keys < 0] = self.features[-1 - keys[keys < 0]]
        return rows


class _ClipPlaces:
    """Numbers the places in clips; the same pixels at another rate stand at other positions and are other tokens."""

    def __init__(self) -> None:
        self.clips: dict[str, VideoClip] = {}
        self.features: list[Array] = []
        self._feature_starts: dict[str, int] = {}
        self._keys: dict[tuple[str, Grid], Array] = {}
        self._num_features = self._num_keys = 0

    def keys(self, sequence: RenderedPrompt) -> Array:
        keys = sequence.token_ids.astype(np.int64)
        for clip, grid, start in zip(sequence.clips, sequence.grids, sequence.clip_starts, strict=True):
            keys[start : start + grid.num_tokens] = self._of(clip, grid)
        return keys

    def _of(self, clip: VideoClip, grid: Grid) -> Array:
        if (clip.key, grid) in self._keys:
            return self._keys[clip.key, grid]
        if clip.key not in self.clips:
            self.clips[clip.key] = clip
            self._feature_starts[clip.key] = self._num_features
            self._num_features += grid.num_tokens
        places = np.arange(grid.num_tokens, dtype=np.int64)
        self.features.append(self._feature_starts[clip.key] + places)
        self._keys[clip.key, grid] = -1 - self._num_keys - places
        self._num_keys += grid.num_tokens
        return self._keys[clip.key, grid]


def _num_shared(first: Array, second: Array) -> int:
    length = min(len(first), len(second))
    is_different = first[:length] != second[:length]
    place = int(is_different.argmax()) if length else 0
    return place if length and is_different[place] else length
