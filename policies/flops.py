"""Floating-point operations of a text model: what sequences cost one by one, and what their tree costs at least.

Counted are matrix products of a forward pass, two operations per multiply-add: the linear layers per token, attention
per pair of a query and a key it sees, and the language-model head per row that predicts a token of a completion. A
backward pass is a multiple of the forward pass on either side, so ratios hold for both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from videozoom.policies.token_tree import TokenTree


@dataclass(frozen=True, slots=True)
class TextShape:
    """Sizes of a decoder with grouped keys and values and a gated MLP.

    Example:
        >>> qwen_7b = TextShape(3584, 28, 28, 4, 128, 18944, 152064)
        >>> qwen_7b.flops(num_tokens=1, num_pairs=0) / 1e9, qwen_7b.flops(num_tokens=0, num_pairs=1)
        (13.051625472, 401408)
    """

    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    intermediate_size: int
    vocabulary_size: int

    @classmethod
    def of(cls, config: Any) -> "TextShape":
        """Return the shape of transformers' text configuration."""
        head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return cls(
            hidden_size=config.hidden_size,
            num_layers=config.num_hidden_layers,
            num_heads=config.num_attention_heads,
            num_kv_heads=config.num_key_value_heads,
            head_size=head_size,
            intermediate_size=config.intermediate_size,
            vocabulary_size=config.vocab_size,
        )

    def flops(self, *, num_tokens: int, num_pairs: int, num_predictions: int = 0) -> int:
        """Return the operations of a forward pass over so many tokens, pairs and rows of the head."""
        attention_size = self.num_heads * self.head_size
        projections = self.hidden_size * (2 * attention_size + 2 * self.num_kv_heads * self.head_size)
        per_token = 2 * self.num_layers * (projections + 3 * self.hidden_size * self.intermediate_size)
        per_pair = 4 * self.num_layers * attention_size
        per_prediction = 2 * self.hidden_size * self.vocabulary_size
        return per_token * num_tokens + per_pair * num_pairs + per_prediction * num_predictions


def tree_flops(shape: TextShape, tree: TokenTree, num_completion_tokens: Sequence[int]) -> int:
    """Return the floor: every distinct token, pair and prediction once.

    Args:
        shape: Of the model.
        tree: Of prompts with their completions, without a `min_saving`.
        num_completion_tokens: How many tokens at the end of each sequence are predicted.
    """
    rows, _ = tree.predicting_rows(num_completion_tokens)
    return shape.flops(num_tokens=tree.num_tokens, num_pairs=tree.num_pairs, num_predictions=len(np.unique(rows)))


def naive_flops(shape: TextShape, num_tokens: Sequence[int], num_completion_tokens: Sequence[int]) -> int:
    """Return what sequences of so many tokens cost one by one, without padding."""
    return shape.flops(
        num_tokens=sum(num_tokens),
        num_pairs=sum(length * (length + 1) // 2 for length in num_tokens),
        num_predictions=sum(num_completion_tokens),
    )


def floor_ratio(shape: TextShape, tree: TokenTree, num_completion_tokens: Sequence[int]) -> float:
    """Return how many times more the sequences of a tree cost one by one: the most that sharing can save."""
    naive = naive_flops(shape, [len(path) for path in tree.paths], num_completion_tokens)
    return naive / tree_flops(shape, tree, num_completion_tokens)
