"""A tiny Qwen2.5-VL: the real architecture from a config, no download, saved as an ordinary checkpoint folder."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class TinySize:
    """Sizes of a tiny Qwen2.5-VL; the defaults make about 0.7 million parameters and run on one CPU core.

    Raises:
        ValueError: the sizes do not fit together.
    """

    hidden_size: int = 128
    num_layers: int = 3
    num_heads: int = 4
    num_kv_heads: int = 2
    intermediate_size: int = 256
    vision_hidden_size: int = 64
    vision_depth: int = 1
    vision_num_heads: int = 2
    vision_intermediate_size: int = 128

    def __post_init__(self) -> None:
        """Raise `ValueError` if heads do not divide what they share."""
        for name in ("", "vision_"):
            size, heads = getattr(self, f"{name}hidden_size"), getattr(self, f"{name}num_heads")
            # Rotary positions need even halves of a head.
            if size % (4 * heads):
                raise ValueError(f"{name}hidden_size {size} must be a multiple of 4 x {name}num_heads, {4 * heads}")
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads {self.num_heads} must be a multiple of num_kv_heads {self.num_kv_heads}")


def build_tiny(folder: Path, corpus: Iterable[str], *, size: TinySize | None = None, seed: int = 0) -> Path:
    """Write a randomly initialised tiny Qwen2.5-VL with its own tokenizer into `folder` and return the folder.

    `corpus` holds texts like those the model will read and write; their words become single tokens.
    """
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
    from transformers.utils import logging

    from videozoom.policies import tokenizer as tok

    size = size or TinySize()
    tokenizer = tok.train_tokenizer(corpus, folder)
    ids: dict[str, Any] = {token: tokenizer.convert_tokens_to_ids(token) for token in tok.SPECIAL_TOKENS}
    half = size.hidden_size // size.num_heads // 2
    sections = [half - 2 * (half * 3 // 8), half * 3 // 8, half * 3 // 8]
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": size.hidden_size,
            "num_hidden_layers": size.num_layers,
            "num_attention_heads": size.num_heads,
            "num_key_value_heads": size.num_kv_heads,
            "intermediate_size": size.intermediate_size,
            "max_position_embeddings": 32768,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": sections},
            "eos_token_id": ids[tok.TURN_END],
            "pad_token_id": ids[tok.END_OF_TEXT],
            "bos_token_id": None,
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": size.vision_depth,
            "hidden_size": size.vision_hidden_size,
            "num_heads": size.vision_num_heads,
            "intermediate_size": size.vision_intermediate_size,
            "out_hidden_size": size.hidden_size,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [size.vision_depth - 1],
            "tokens_per_second": 2,
        },
        image_token_id=ids[tok.IMAGE_PAD],
        video_token_id=ids[tok.VIDEO_PAD],
        vision_start_token_id=ids[tok.VISION_START],
        vision_end_token_id=ids[tok.VISION_END],
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(config)
    if model.generation_config is not None:
        model.generation_config.eos_token_id = ids[tok.TURN_END]
        model.generation_config.pad_token_id = ids[tok.END_OF_TEXT]
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    return folder
