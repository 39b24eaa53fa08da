"""The least a group can cost, in floating-point operations, and what it costs trajectory by trajectory."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.messages import Prompt
from videozoom.envs.observation import VideoClip
from videozoom.experiments.bench_group import BenchGroup
from videozoom.experiments.bench_sizes import BenchSize
from videozoom.policies.flops import naive_flops, tree_flops
from videozoom.policies.logprobs import sequences_of
from videozoom.policies.token_tree import TokenTree

if TYPE_CHECKING:
    from videozoom.policies.rendering import Renderer

_MERGE = 2
_PATCHES_PER_TOKEN = _MERGE**2
_PATCH_VALUES = 3 * 2 * 14 * 14
_WINDOW_SIDE = 4
"""Side of an attention window in tokens: 112 pixels."""


@dataclass(frozen=True, slots=True)
class Work:
    """Floating-point operations of a forward pass."""

    naive: float
    """Every trajectory by itself."""
    floor: float
    """Everything once."""
    num_naive_tokens: int = 0
    num_tree_tokens: int = 0

    @property
    def ratio(self) -> float:
        """The most that sharing can save."""
        return self.naive / self.floor

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.naive + other.naive,
            self.floor + other.floor,
            self.num_naive_tokens + other.num_naive_tokens,
            self.num_tree_tokens + other.num_tree_tokens,
        )

    def times(self, factor: float) -> "Work":
        """Return the work of `factor` such passes."""
        return replace(self, naive=factor * self.naive, floor=factor * self.floor)


def text_work(size: BenchSize, renderer: "Renderer", samples: Sequence[tuple[Prompt, NDArray[np.int32]]]) -> Work:
    """Return the language model's work on prompts with their completions."""
    sequences = sequences_of(renderer, samples)
    counts = [len(ids) for _, ids in samples]
    lengths = [len(sequence.token_ids) for sequence in sequences]
    tree = TokenTree.of(sequences)
    return Work(
        naive_flops(size.text, lengths, counts), tree_flops(size.text, tree, counts), sum(lengths), tree.num_tokens
    )


def vision_work(size: BenchSize, renderer: "Renderer", group: BenchGroup) -> Work:
    """Return the vision tower's work: on the clips of every prompt, or on each clip once."""
    clips = [clip for prompts in group.steps for prompt in prompts for clip in prompt.clips()]
    return Work(_vision_flops(size, renderer, clips), _vision_flops(size, renderer, group.clips))


def vision_share(size: BenchSize, renderer: "Renderer", prompt: Prompt) -> float:
    """Return what the tower costs on a prompt's clips, as a share of what the prompt costs the language model."""
    prefill = text_work(size, renderer, [(prompt, np.zeros(1, np.int32))])
    return _vision_flops(size, renderer, prompt.clips()) / prefill.naive


def _vision_flops(size: BenchSize, renderer: "Renderer", clips: Iterable[VideoClip]) -> float:
    """Return the operations of patch embedding, layers and merger."""
    vision = size.vision
    hidden, merged = vision.hidden_size, vision.hidden_size * _PATCHES_PER_TOKEN
    per_layer = 4 * hidden**2 + 3 * hidden * vision.intermediate_size
    per_patch = _PATCH_VALUES * hidden + vision.depth * per_layer
    per_token = merged * merged + merged * size.text.hidden_size
    num_full = len(vision.full_attention)
    total = 0
    for clip in clips:
        grid = renderer.grid(clip)
        whole = (grid.num_rows * grid.num_columns * _PATCHES_PER_TOKEN) ** 2
        windows = sum(
            (rows * columns * _PATCHES_PER_TOKEN) ** 2
            for rows in _windows(grid.num_rows)
            for columns in _windows(grid.num_columns)
        )
        pairs = grid.num_pairs * (num_full * whole + (vision.depth - num_full) * windows)
        total += 2 * grid.num_tokens * (_PATCHES_PER_TOKEN * per_patch + per_token) + 4 * hidden * pairs
    return float(total)


def _windows(side: int) -> list[int]:
    return [min(_WINDOW_SIDE, side - start) for start in range(0, side, _WINDOW_SIDE)]
