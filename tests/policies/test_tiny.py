"""Tiny models are ordinary Qwen2.5-VL checkpoints."""

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from videozoom.policies.tiny import TinySize, build_tiny
from videozoom.policies.tokenizer import TURN_END, VIDEO_PAD

CORPUS = ["Which sign appears in the red scene?", "The red scene shows bars."] * 2
SMALL = TinySize(hidden_size=16, num_layers=1, num_heads=2, num_kv_heads=1, intermediate_size=16)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(Qwen2_5_VLForConditionalGeneration.from_pretrained(folder).named_parameters())


def test_transformers_loads_it_whole(tmp_path: Path) -> None:
    model, report = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        build_tiny(tmp_path, CORPUS, size=SMALL), output_loading_info=True
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)
    assert model.config.video_token_id == tokenizer.convert_tokens_to_ids(VIDEO_PAD)
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids(TURN_END)


def test_sizes_are_those_asked_for(tmp_path: Path) -> None:
    size = TinySize(hidden_size=32, num_layers=2, vision_hidden_size=32, vision_depth=3)
    config = AutoConfig.from_pretrained(build_tiny(tmp_path, CORPUS, size=size))
    text, vision = config.text_config, config.vision_config
    assert (text.hidden_size, text.num_hidden_layers, vision.out_hidden_size) == (32, 2, 32)
    assert (vision.hidden_size, vision.depth, vision.fullatt_block_indexes) == (32, 3, [2])
    # Head size 8: four rotary pairs, split as the 7B's 16, 24, 24.
    assert text.rope_parameters["mrope_section"] == [2, 1, 1]


def test_the_seed_decides_the_weights_and_nothing_else(tmp_path: Path) -> None:
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first = weights(build_tiny(tmp_path / "a", CORPUS, size=SMALL, seed=1))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(6)
    again = weights(build_tiny(tmp_path / "b", CORPUS, size=SMALL, seed=1))
    other = weights(build_tiny(tmp_path / "c", CORPUS, size=SMALL, seed=2))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not all(torch.equal(value, other[name]) for name, value in first.items())


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ({"hidden_size": 20, "num_heads": 2}, "hidden_size 20 must be a multiple of 4 x num_heads, 8"),
        (
            {"vision_hidden_size": 12, "vision_num_heads": 2},
            "vision_hidden_size 12 must be a multiple of 4 x vision_num_heads, 8",
        ),
        ({"num_heads": 4, "num_kv_heads": 3}, "num_heads 4 must be a multiple of num_kv_heads 3"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TinySize(**sizes)
