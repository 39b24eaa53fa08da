"""Reading checkpoint folders of Qwen2.5-VL models in the Hugging Face format."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from videozoom.policies.rendering import Renderer
from videozoom.policies.vision_attention import use_batched_windows


class CheckpointError(ValueError):
    """A checkpoint folder cannot be used; the message names the folder and the reason."""


def check_checkpoint(path: Path, *, attention: str = "sdpa") -> Any:
    """Return the model configuration of a checkpoint folder, without loading any weights.

    Raises:
        CheckpointError: the folder is missing, holds another architecture, or `attention` is not installed.
    """
    from transformers import AutoConfig
    from transformers.utils.import_utils import is_flash_attn_2_available

    if not (path / "config.json").is_file():
        raise CheckpointError(f"no checkpoint at {path}: policy.checkpoint must name a folder with a config.json")
    try:
        config = AutoConfig.from_pretrained(path)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"cannot read the config.json of the checkpoint at {path}: {error}") from error
    if config.model_type != "qwen2_5_vl":
        raise CheckpointError(f"{path} holds a {config.model_type!r} model; only 'qwen2_5_vl' is supported")
    if getattr(config.text_config, "use_sliding_window", False):
        raise CheckpointError(f"{path} uses sliding-window attention, which is not supported")
    if attention == "flash_attention_2" and not is_flash_attn_2_available():
        raise CheckpointError("policy.attention is 'flash_attention_2', which needs flash-attn and a GPU; use 'sdpa'")
    return config


def load_checkpoint(path: Path, *, dtype: str, attention: str) -> tuple[nn.Module, Renderer]:
    """Return the model of a checkpoint folder and what renders its prompts; raises `CheckpointError`."""
    from safetensors import SafetensorError
    from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration
    from transformers.utils import logging

    config = check_checkpoint(path, attention=attention)
    logging.disable_progress_bar()
    # What it reports of a damaged checkpoint is told in one sentence below.
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    load: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained
    try:
        # The text model stays on torch's own attention, which picks flash kernels itself and takes the sampler's masks.
        model, loaded = load(
            path,
            dtype=getattr(torch, dtype),
            attn_implementation={"": "sdpa", "text_config": "sdpa", "vision_config": attention},
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
        vision = config.vision_config
        renderer = Renderer(
            AutoTokenizer.from_pretrained(path),
            tokens_per_second=float(vision.tokens_per_second),
            patch_px=int(vision.patch_size),
            merge=int(vision.spatial_merge_size),
        )
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"cannot load the checkpoint at {path}: {error}") from error
    finally:
        logging.set_verbosity(verbosity)
    # transformers would go on with random weights in their place.
    for problem, names in (("lacks", loaded["missing_keys"]), ("has misshapen", loaded["mismatched_keys"])):
        if names:
            raise CheckpointError(f"the checkpoint at {path} {problem} weights: {len(names)}, like {min(names)}")
    if attention == "sdpa":
        use_batched_windows(model.model.visual)
    model.eval()
    return model, renderer
