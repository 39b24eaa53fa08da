"""Positions against tables worked by hand, and against what transformers does instead."""

import numpy as np
import torch

from videozoom.policies.positions import Grid, prompt_positions, text_positions, video_positions


def test_text_counts_on_all_axes() -> None:
    assert text_positions(3, 5).tolist() == [[5, 6, 7]] * 3


def test_video_positions_by_hand() -> None:
    # Pairs 3.7 s apart at 2 positions per second: 0, 7.4 -> 7, 14.8 -> 14.
    positions = video_positions(Grid(3, 2, 2, seconds_per_pair=3.7), 10, tokens_per_second=2.0)
    assert positions[0].tolist() == [10] * 4 + [17] * 4 + [24] * 4
    assert positions[1].tolist() == [10, 10, 11, 11] * 3
    assert positions[2].tolist() == [10, 11, 10, 11] * 3


def test_text_after_a_long_video_starts_after_its_time_axis() -> None:
    # The time axis ends at 2 + 2 * 8 = 18, so the text starts at 19 and the second video at 21.
    segments = [2, Grid(3, 1, 2, seconds_per_pair=4.0), 2, Grid(1, 2, 3, seconds_per_pair=4.0), 1]
    positions = prompt_positions(segments, tokens_per_second=2.0)
    assert positions.tolist() == [
        [0, 1, 2, 2, 10, 10, 18, 18, 19, 20, 21, 21, 21, 21, 21, 21, 24],
        [0, 1, 2, 2, 2, 2, 2, 2, 19, 20, 21, 21, 21, 22, 22, 22, 24],
        [0, 1, 2, 3, 2, 3, 2, 3, 19, 20, 21, 22, 23, 21, 22, 23, 24],
    ]


def test_text_after_a_wide_video_starts_after_its_columns() -> None:
    positions = prompt_positions([Grid(1, 2, 5, seconds_per_pair=1.0), 1], tokens_per_second=2.0)
    assert positions[:, -1].tolist() == [5, 5, 5]


def test_transformers_places_text_after_a_video_elsewhere(policy) -> None:
    """Control: were the two rules the same, our own positions would be needless."""
    grid = Grid(16, 1, 1, seconds_per_pair=4.0)
    token_ids = torch.tensor([[0, *[policy.renderer.video_pad_id] * 16, 0]])
    theirs, _ = policy.model.model.get_rope_index(
        token_ids,
        video_grid_thw=torch.tensor([[16, 2, 2]]),
        second_per_grid_ts=torch.tensor([4.0]),
        mm_token_type_ids=(token_ids == policy.renderer.video_pad_id).int() * 2,
    )
    ours = prompt_positions([1, grid, 1], tokens_per_second=2.0)
    assert np.array_equal(ours[:, :-1], theirs[:, 0, :-1].numpy())
    assert ours[0, -1] == 1 + 15 * 8 + 1
    assert theirs[0, 0, -1] < ours[0, -1]
