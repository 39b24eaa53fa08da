"""Multimodal rotary positions (M-RoPE) of Qwen2.5-VL, as its checkpoints were trained.

transformers 5.x lets the text after a video continue at `max(height, width)` of its grid; the pretrained models, vLLM
and older transformers continue at the largest position of any axis plus one. Its `generate` and its forward pass even
disagree with each other. Positions are therefore ours, and are passed explicitly everywhere.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Grid(NamedTuple):
    """A clip after merging, in language-model tokens: frame pairs by rows by columns."""

    num_pairs: int
    num_rows: int
    num_columns: int
    seconds_per_pair: float

    @property
    def num_tokens(self) -> int:
        """Placeholder tokens the clip takes in the prompt."""
        return self.num_pairs * self.num_rows * self.num_columns


def text_positions(num_tokens: int, start: int) -> NDArray[np.int64]:
    """Return positions `[3, T]` of text: the three axes count together, from `start`."""
    return np.broadcast_to(np.arange(start, start + num_tokens, dtype=np.int64), (3, num_tokens))


def video_positions(grid: Grid, start: int, tokens_per_second: float) -> NDArray[np.int64]:
    """Return positions `[3, T]` (time, row, column) of a clip whose first token is at `start`.

    Example:
        >>> video_positions(Grid(2, 1, 2, seconds_per_pair=2.0), 5, tokens_per_second=2.0).tolist()
        [[5, 5, 9, 9], [5, 5, 5, 5], [5, 6, 5, 6]]
    """
    times = np.floor(np.arange(grid.num_pairs) * grid.seconds_per_pair * tokens_per_second).astype(np.int64)
    axes = np.meshgrid(times, np.arange(grid.num_rows), np.arange(grid.num_columns), indexing="ij")
    return np.stack([axis.reshape(-1) for axis in axes]) + start


def prompt_positions(segments: Sequence[int | Grid], tokens_per_second: float) -> NDArray[np.int64]:
    """Return positions `[3, T]` of a prompt made of text lengths and clip grids, in order.

    What follows a segment starts at the largest position so far, of any axis, plus one.
    Source: Qwen2.5-VL (arXiv:2502.13923, Sec. 2.1.2) and its reference implementation.

    Example:
        >>> prompt_positions([2, Grid(2, 1, 1, seconds_per_pair=2.0), 1], tokens_per_second=2.0).tolist()
        [[0, 1, 2, 6, 7], [0, 1, 2, 2, 7], [0, 1, 2, 2, 7]]
    """
    parts = [np.zeros((3, 0), np.int64)]
    start = 0
    for segment in segments:
        if isinstance(segment, Grid):
            part = video_positions(segment, start, tokens_per_second)
        else:
            part = text_positions(segment, start)
        parts.append(part)
        if part.size:
            start = int(part.max()) + 1
    return np.concatenate(parts, axis=1)
