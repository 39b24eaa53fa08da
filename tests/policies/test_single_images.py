"""A frame shown by itself is what the model was taught to take for an image."""

import numpy as np
import pytest
import torch
from policy_prompts import random_clip

from videozoom.envs.tasks import Span
from videozoom.policies.patches import patchify
from videozoom.policies.positions import prompt_positions
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.tokenizer import IMAGE_PAD


@pytest.mark.parametrize(("height_px", "width_px"), [(56, 56), (56, 112), (140, 56)])
def test_one_frame_has_the_features_and_positions_of_an_image(
    policy: QwenVLPolicy, height_px: int, width_px: int
) -> None:
    clip = random_clip("v", 1, 168, Span(3.0, 5.0))
    clip = type(clip)(clip.frames[:, :height_px, :width_px], clip.times_s, clip.span_s, "cut")
    rows, columns = height_px // 14, width_px // 14
    grid_thw = torch.tensor([[1, rows, columns]])
    with torch.no_grad():
        [ours] = policy.features([clip])
        theirs = policy.model.model.get_image_features(torch.from_numpy(patchify(clip.frames)), grid_thw)
    assert torch.equal(ours, torch.cat(tuple(theirs.pooler_output)))

    image_pad_id = policy.renderer.tokenizer.convert_tokens_to_ids(IMAGE_PAD)
    num_tokens = rows * columns // 4
    token_ids = torch.tensor([[0, 0, *[image_pad_id] * num_tokens, 0]])
    is_image = (token_ids == image_pad_id).int()
    positions, _ = policy.model.model.get_rope_index(token_ids, image_grid_thw=grid_thw, mm_token_type_ids=is_image)
    grid = policy.renderer.grid(clip)
    assert grid.num_tokens == num_tokens
    assert np.array_equal(prompt_positions([2, grid, 1], tokens_per_second=2.0), positions[:, 0].numpy())
