"""FLOP counts against hand-worked numbers, and the floor of the paper's groups."""

import numpy as np
import pytest

from videozoom.policies.flops import TextShape, floor_ratio, naive_flops, tree_flops
from videozoom.policies.positions import text_positions
from videozoom.policies.rendering import RenderedPrompt
from videozoom.policies.token_tree import TokenTree

QWEN_7B = TextShape(
    hidden_size=3584,
    num_layers=28,
    num_heads=28,
    num_kv_heads=4,
    head_size=128,
    intermediate_size=18944,
    vocabulary_size=152064,
)


def sequence(*runs: tuple[int, int]) -> RenderedPrompt:
    """Return a sequence of runs: a token id that marks what is shared, and how many tokens."""
    token_ids = np.concatenate([np.full(count, ident, np.int64) for ident, count in runs])
    return RenderedPrompt(token_ids, text_positions(len(token_ids), 0), (), ())


def group(scenario: str, *, prefix: int, clip: int, question: int, completion: int) -> tuple[TokenTree, list[int]]:
    """Return the tree of eight trajectories; `star`: the last step's clip stands before the one of the step before."""
    num_steps = {"one_step": 1, "two_steps": 2, "three_star": 3, "three_chain": 3}[scenario]
    sequences = []
    for member in range(8):
        for step in range(num_steps):
            clips = [1000 + 10 * member + index for index in range(step)]
            if scenario == "three_star":
                clips.reverse()
            answer = 2000 + 10 * member + step
            sequences.append(
                sequence((1, prefix), *((ident, clip) for ident in clips), (2, question), (answer, completion))
            )
    return TokenTree.of(sequences), [completion] * len(sequences)


def test_a_tiny_tree_by_hand() -> None:
    shape = TextShape(4, 1, 2, 1, 2, 8, 10)
    # Prompt of 2 tokens, completions of 1 and 2, no token shared.
    tree = TokenTree.of([sequence((1, 2), (2, 1)), sequence((1, 2), (3, 2))])
    # q and o 4x4, k and v 4x2, three of 4x8: 144 weights. 4 values per row of attention, 10x4 of the head.
    linear, pair, head = 2 * (2 * 16 + 2 * 8 + 3 * 32), 4 * 4, 2 * 40
    # Pairs: 3 of the prompt, 3, 3 + 4. Predictions: the prompt's end for both, one within the second completion.
    assert tree_flops(shape, tree, [1, 2]) == 5 * linear + 13 * pair + 2 * head
    assert naive_flops(shape, [3, 4], [1, 2]) == 7 * linear + (6 + 10) * pair + 3 * head
    assert floor_ratio(shape, tree, [1, 2]) == naive_flops(shape, [3, 4], [1, 2]) / tree_flops(shape, tree, [1, 2])


def test_sharing_nothing_is_worth_nothing() -> None:
    tree = TokenTree.of([sequence((1, 5)), sequence((2, 7))])
    assert floor_ratio(QWEN_7B, tree, [2, 3]) == 1.0


@pytest.mark.parametrize(
    ("scenario", "expected"), [("one_step", 7.04), ("two_steps", 5.93), ("three_star", 4.48), ("three_chain", 5.90)]
)
def test_the_floor_of_the_papers_groups(scenario: str, expected: float) -> None:
    """Eight trajectories, 768 fast frames, 2,048 tokens per clip: worked out independently of this code."""
    tree, counts = group(scenario, prefix=12308, clip=2066, question=160, completion=200)
    assert floor_ratio(QWEN_7B, tree, counts) == pytest.approx(expected, abs=0.02)
