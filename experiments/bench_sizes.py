"""Sizes that group benchmarks run at: Qwen2.5-VL models with random weights, and how long their prompts are."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoom.experiments.errors import UserError
from videozoom.policies.flops import TextShape

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy

FILLER = "word"
"""Text that is made longer by repeating it: one token each time."""


@dataclass(frozen=True, slots=True)
class VisionShape:
    """Sizes of the vision tower."""

    hidden_size: int
    depth: int
    num_heads: int
    intermediate_size: int
    full_attention: tuple[int, ...]
    """Layers that attend within whole frame pairs instead of windows."""


@dataclass(frozen=True, slots=True)
class ClipShape:
    """A clip after merging, in tokens of the language model; two frames make a pair."""

    num_pairs: int
    num_rows: int
    num_columns: int

    @property
    def num_tokens(self) -> int:
        """Placeholder tokens of the clip."""
        return self.num_pairs * self.num_rows * self.num_columns


@dataclass(frozen=True, slots=True)
class BenchSize:
    """A model and the prompts it is given.

    Token counts are those of LOVE-R1 at its published size (768 small frames; 16 large ones per clip), or a twelfth.
    """

    name: str
    about: str
    text: TextShape
    vision: VisionShape
    fast: ClipShape
    slow: ClipShape
    prefix_tokens: int
    """Everything that all prompts of a group begin with: system message, fast view, and the text around it."""
    question_tokens: int
    """From there to the completion in a prompt without a clip."""
    completion_tokens: int
    num_members: int = 8
    dtype: str = "float32"
    needs_gpu: bool = False
    is_checkpointed: bool = False
    """Whether activations of layers are computed again in the backward pass, on both sides."""


SIZES = {
    size.name: size
    for size in (
        BenchSize(
            name="tiny",
            about="a group of 3 on a model for tests",
            text=TextShape(32, 2, 4, 2, 8, 64, 320),
            vision=VisionShape(32, 2, 2, 64, (1,)),
            fast=ClipShape(5, 2, 4),
            slow=ClipShape(2, 2, 3),
            prefix_tokens=72,
            question_tokens=13,
            completion_tokens=6,
            num_members=3,
        ),
        BenchSize(
            name="small",
            about="a twelfth of the published token counts; attention costs the same share as at 7B",
            text=TextShape(512, 8, 8, 2, 64, 1376, 4096),
            vision=VisionShape(160, 6, 2, 428, (5,)),
            fast=ClipShape(124, 2, 4),
            slow=ClipShape(7, 5, 5),
            prefix_tokens=1024,
            question_tokens=13,
            completion_tokens=17,
        ),
        BenchSize(
            name="7b",
            about="the shape of Qwen2.5-VL-7B at the published token counts",
            text=TextShape(3584, 28, 28, 4, 128, 18944, 152064),
            vision=VisionShape(1280, 32, 16, 3420, (7, 15, 23, 31)),
            fast=ClipShape(384, 4, 8),
            slow=ClipShape(8, 16, 16),
            prefix_tokens=12320,
            question_tokens=160,
            completion_tokens=200,
            dtype="bfloat16",
            needs_gpu=True,
            is_checkpointed=True,
        ),
    )
}


def check_size(size: BenchSize) -> None:
    """Raise `UserError` if this machine cannot run a size."""
    if not size.needs_gpu:
        return
    import torch

    if not torch.cuda.is_available():
        raise UserError(
            f"--size {size.name} needs a CUDA GPU with about 140 GB of memory, and torch sees none here; "
            "use --size small, or run it on a GPU machine"
        )


def build_policy(size: BenchSize, *, seed: int) -> "QwenVLPolicy":
    """Return a policy of a size with random weights; on a CPU it computes in float32 alone, as benchmarks compare."""
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    from videozoom.policies.qwen_vl import QwenVLPolicy
    from videozoom.policies.rendering import Renderer
    from videozoom.policies.vision_attention import use_batched_windows

    with tempfile.TemporaryDirectory() as folder:
        tokenizer = _tokenizer(Path(folder))
    config = _config(size, tokenizer)
    device = "cuda" if size.needs_gpu else "cpu"
    with torch.random.fork_rng(devices=[0] if size.needs_gpu else []), torch.device(device):
        torch.manual_seed(seed)
        model: Any = Qwen2_5_VLForConditionalGeneration._from_config(config, dtype=getattr(torch, size.dtype))
    # Both sides sample a given number of tokens, whatever they are.
    model.generation_config.eos_token_id = None
    model.eval()
    use_batched_windows(model.model.visual)
    renderer = Renderer(tokenizer, tokens_per_second=2.0)
    policy = QwenVLPolicy(model, renderer, gradient_checkpointing=size.is_checkpointed)
    policy.is_precise = False
    # What cannot be sampled cannot end a completion early.
    policy.renderer.turn_end_id = config.image_token_id
    return policy


def _tokenizer(folder: Path) -> Any:
    from videozoom.policies.tokenizer import train_tokenizer

    texts = (f"Look {FILLER}", f"Full video Subset zoom-in video clip {FILLER}", "system user assistant")
    return train_tokenizer(texts * 2, folder)


def _config(size: BenchSize, tokenizer: Any) -> Any:
    from transformers import Qwen2_5_VLConfig

    from videozoom.policies import tokenizer as tok

    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in tok.SPECIAL_TOKENS}
    text, vision = size.text, size.vision
    half = text.head_size // 2
    sections = [half - 2 * (half * 3 // 8), half * 3 // 8, half * 3 // 8]
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": text.vocabulary_size,
            "hidden_size": text.hidden_size,
            "num_hidden_layers": text.num_layers,
            "num_attention_heads": text.num_heads,
            "num_key_value_heads": text.num_kv_heads,
            "intermediate_size": text.intermediate_size,
            "max_position_embeddings": 128000,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": sections},
            "eos_token_id": None,
            "pad_token_id": ids[tok.END_OF_TEXT],
            "bos_token_id": None,
            "tie_word_embeddings": False,
        },
        vision_config={
            "depth": vision.depth,
            "hidden_size": vision.hidden_size,
            "num_heads": vision.num_heads,
            "intermediate_size": vision.intermediate_size,
            "out_hidden_size": text.hidden_size,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": list(vision.full_attention),
            "tokens_per_second": 2,
        },
        image_token_id=ids[tok.IMAGE_PAD],
        video_token_id=ids[tok.VIDEO_PAD],
        vision_start_token_id=ids[tok.VISION_START],
        vision_end_token_id=ids[tok.VISION_END],
        tie_word_embeddings=False,
    )
