"""The token tree against tries drawn by hand, its invariants on random sequences, and its splits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_prompts import random_clip

from videozoom.envs.observation import VideoClip
from videozoom.envs.tasks import Span
from videozoom.policies.positions import Grid, prompt_positions
from videozoom.policies.rendering import RenderedPrompt
from videozoom.policies.token_tree import TokenBudgetError, TokenTree, split

PAD = 99


def clip(key: str, num_pairs: int = 2) -> tuple[VideoClip, Grid]:
    """Return a clip of one token per frame pair."""
    video = random_clip(key, 2 * num_pairs, 28, Span(0.0, 8.0))
    return video, Grid(num_pairs, 1, 1, 8.0 / num_pairs)


def sequence(*parts: str | tuple[VideoClip, Grid]) -> RenderedPrompt:
    """Return a sequence of letters, each one token, and clips."""
    ids: list[int] = []
    starts: list[int] = []
    for part in parts:
        if isinstance(part, str):
            ids += [ord(letter) for letter in part]
        else:
            starts.append(len(ids))
            ids += [PAD] * part[1].num_tokens
    clips = [part for part in parts if not isinstance(part, str)]
    return RenderedPrompt(
        token_ids=np.array(ids, np.int64),
        position_ids=prompt_positions([len(part) if isinstance(part, str) else part[1] for part in parts], 1.0),
        clips=tuple(video for video, _ in clips),
        grids=tuple(grid for _, grid in clips),
        clip_starts=tuple(starts),
    )


def nodes(tree: TokenTree) -> list[tuple[str, int]]:
    """Return text and parent of each node; a clip's token is its feature row in brackets."""
    names = [
        f"[{row}]" if row >= 0 else chr(token)
        for token, row in zip(tree.token_ids.tolist(), tree.feature_rows.tolist(), strict=True)
    ]
    return [
        ("".join(names[start:end]), parent)
        for start, end, parent in zip(tree.starts.tolist(), tree.ends.tolist(), tree.parents.tolist(), strict=True)
    ]


def test_a_group_shares_its_prompt() -> None:
    tree = TokenTree.of([sequence("pqx"), sequence("rs"), sequence("pqyz"), sequence("pqyw")])
    assert nodes(tree) == [("pq", -1), ("x", 0), ("y", 0), ("w", 2), ("z", 2), ("rs", -1)]
    assert tree.subtree_ends.tolist() == [6, 3, 6, 5, 6, 8]
    assert [path.tolist() for path in tree.paths] == [[0, 1, 2], [6, 7], [0, 1, 3, 5], [0, 1, 3, 4]]
    # 1 + 2 | 3 | 3 | 4 | 4 | 1 + 2.
    assert tree.num_pairs == 20
    assert (tree.num_tokens, tree.num_nodes) == (8, 6)


def test_one_sequence_is_one_node() -> None:
    tree = TokenTree.of([sequence("abc")])
    assert nodes(tree) == [("abc", -1)]
    assert tree.num_pairs == 6


def test_equal_sequences_and_those_that_others_continue_make_no_node() -> None:
    tree = TokenTree.of([sequence("abcd"), sequence("ab"), sequence("abcd"), sequence("abc")])
    assert nodes(tree) == [("abcd", -1)]
    assert [path.tolist() for path in tree.paths] == [[0, 1, 2, 3], [0, 1], [0, 1, 2, 3], [0, 1, 2]]


def test_a_sequence_may_end_where_others_part() -> None:
    tree = TokenTree.of([sequence("ab"), sequence("abc"), sequence("abd")])
    assert nodes(tree) == [("ab", -1), ("c", 0), ("d", 0)]
    assert [path.tolist() for path in tree.paths] == [[0, 1], [0, 1, 2], [0, 1, 3]]


def test_clips_merge_by_content_and_a_later_step_extends_an_earlier_one() -> None:
    fast, first, second = clip("fast", 3), clip("first"), clip("second")
    tree = TokenTree.of(
        [
            sequence("s", fast, "q", "x"),
            sequence("s", fast, first, "q", "y"),
            # Another trajectory zoomed into the same span, and then into a later one.
            sequence("s", fast, clip("first"), second, "q", "z"),
        ]
    )
    texts = [text for text, _ in nodes(tree)]
    assert sorted(texts) == sorted(["s[0][1][2]", "qx", "[3][4]", "qy", "[5][6]qz"])
    assert [video.key for video in tree.clips] == ["fast", "first", "second"]
    assert tree.num_tokens == 4 + 2 + 2 + 2 + 4


def test_clips_of_the_same_token_ids_are_different_tokens() -> None:
    tree = TokenTree.of([sequence("s", clip("a"), "q"), sequence("s", clip("b"), "q")])
    assert sorted(text for text, _ in nodes(tree)) == ["[0][1]q", "[2][3]q", "s"]


def test_a_clip_in_two_places_has_its_features_once() -> None:
    tree = TokenTree.of([sequence(clip("a"), "p", clip("b")), sequence("q", clip("a"))])
    assert sorted(text for text, _ in nodes(tree)) == ["[0][1]p[2][3]", "q[0][1]"]
    assert [video.key for video in tree.clips] == ["a", "b"]


def test_the_same_pixels_at_another_rate_are_other_tokens() -> None:
    video, grid = clip("a")
    tree = TokenTree.of([sequence((video, grid), "q"), sequence((video, grid._replace(seconds_per_pair=9.0)), "q")])
    assert [text for text, _ in nodes(tree)] == ["[0][1]q", "[0][1]q"]
    assert len(tree.clips) == 1


def test_positions_are_those_of_each_sequence() -> None:
    sequences = [sequence("s", clip("a", 3), "qx"), sequence("s", clip("a", 3), clip("b"), "q")]
    tree = TokenTree.of(sequences)
    for path, item in zip(tree.paths, sequences, strict=True):
        assert np.array_equal(tree.position_ids[:, path], item.position_ids)
        assert np.array_equal(tree.token_ids[path], item.token_ids)
    # Control: they are not the rows' numbers.
    assert not np.array_equal(tree.position_ids[0], np.arange(tree.num_tokens))


def test_nodes_that_save_little_are_copied_into_their_children() -> None:
    sequences = [sequence("abcdex"), sequence("abcdey"), sequence("abcdfz"), sequence("abcdfw")]
    assert nodes(TokenTree.of(sequences)) == [
        ("abcd", -1), ("e", 0), ("x", 1), ("y", 1), ("f", 0), ("w", 4), ("z", 4)
    ]  # fmt: skip
    # `e` and `f` save one token each.
    small = TokenTree.of(sequences, min_saving=2)
    assert nodes(small) == [("abcd", -1), ("ex", 0), ("ey", 0), ("fw", 0), ("fz", 0)]
    assert [chr(token) for token in small.token_ids[small.paths[1]]] == list("abcdey")
    # `abcd` saves four with its two children; copied into `e` and `f`, these save five each.
    assert nodes(TokenTree.of(sequences, min_saving=5)) == [
        ("abcde", -1), ("x", 0), ("y", 0), ("abcdf", -1), ("w", 3), ("z", 3)
    ]  # fmt: skip
    assert [text for text, _ in nodes(TokenTree.of(sequences, min_saving=6))] == [
        "abcdex", "abcdey", "abcdfw", "abcdfz"
    ]  # fmt: skip


words = st.lists(st.text("ab", min_size=1, max_size=7), min_size=1, max_size=12)


@given(words, st.integers(0, 6))
def test_every_sequence_is_a_path_from_a_root(texts: list[str], min_saving: int) -> None:
    tree = TokenTree.of([sequence(text) for text in texts], min_saving=min_saving)
    assert tree.starts[0] == 0
    assert tree.ends[-1] == tree.num_tokens
    assert np.array_equal(tree.starts[1:], tree.ends[:-1])
    depths = tree.node_depths()
    pairs = 0
    for node, (start, end, parent) in enumerate(zip(tree.starts, tree.ends, tree.parents, strict=True)):
        inside = {node}
        for other in range(node + 1, tree.num_nodes):
            inside |= {other} if int(tree.parents[other]) in inside else set()
        assert tree.subtree_ends[node] == max(tree.ends[other] for other in inside)
        assert len(inside) == max(inside) - node + 1
        assert parent < node
        if parent >= 0:
            assert tree.starts[parent] < start < tree.subtree_ends[parent]
        pairs += sum(int(depths[node]) + offset + 1 for offset in range(end - start))
    assert tree.num_pairs == pairs
    for path, text in zip(tree.paths, texts, strict=True):
        assert "".join(map(chr, tree.token_ids[path])) == text
        # A row's ancestors are the rows before it in its path: itself last, one node after another.
        visited = [int(np.searchsorted(tree.ends, row, side="right")) for row in path]
        for before, after, row in zip(visited, visited[1:], path[1:], strict=False):
            assert before == after or (tree.parents[after] == before and tree.starts[after] == row)
        assert tree.parents[visited[0]] == -1
        assert tree.starts[visited[0]] == path[0]
    if not min_saving:
        prefixes = {text[:length] for text in texts for length in range(1, len(text) + 1)}
        assert tree.num_tokens == len(prefixes)


@given(words, st.integers(7, 20))
def test_parts_keep_to_the_budget_and_hold_every_sequence_once(texts: list[str], max_tokens: int) -> None:
    sequences = [sequence(text) for text in texts]
    parts = split(sequences, max_tokens)
    assert sorted(index for part in parts for index in part) == list(range(len(texts)))
    assert all(TokenTree.of([sequences[index] for index in part]).num_tokens <= max_tokens for part in parts)


def test_groups_are_cut_only_when_they_do_not_fit() -> None:
    groups = [[sequence(prompt + letter) for letter in "xyz"] for prompt in ("aaaa", "bbbb", "cccccccccc")]
    sequences = [item for group in groups for item in group]
    # 7 + 7 + 13 tokens.
    assert [sorted(part) for part in split(sequences, 19)] == [[0, 1, 2, 3, 4, 5], [6, 7, 8]]
    assert [sorted(part) for part in split(sequences, 13)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    # The third alone has 13 tokens.
    assert sorted(len(part) for part in split(sequences, 12)) == [1, 2, 3, 3]
    assert split(sequences, 100) == [list(range(9))]


def test_a_sequence_longer_than_the_budget_is_refused() -> None:
    assert split([sequence("abc")], 3) == [[0]]
    with pytest.raises(TokenBudgetError, match=r"4 tokens .* at most 3: set grpo.max_tokens_per_batch to at least 4"):
        split([sequence("abc"), sequence("abcd")], 3)
