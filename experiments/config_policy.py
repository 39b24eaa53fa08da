"""Settings of the model that acts and learns."""

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from videozoom.experiments.config_data import Count, NonNegative, Positive, Section
from videozoom.experiments.config_endpoint import Endpoint
from videozoom.policies.tiny import TinySize


class TinyModel(Section):
    """Sizes of a Qwen2.5-VL that is built from nothing."""

    hidden_size: Count = 128
    """Width of the text model."""
    num_layers: Count = 3
    """Layers of the text model."""
    num_heads: Count = 4
    """Attention heads of the text model."""
    num_kv_heads: Count = 2
    """Heads of keys and values, shared by attention heads."""
    intermediate_size: Count = 256
    """Width of its feed-forward layers."""
    vision_hidden_size: Count = 64
    """Width of the vision tower."""
    vision_depth: Count = 1
    """Blocks of the vision tower."""
    vision_num_heads: Count = 2
    """Its attention heads."""
    vision_intermediate_size: Count = 128
    """Width of its feed-forward layers."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        TinySize(**self.model_dump())
        return self


class FeatureCache(Section):
    """What is kept of a frozen vision tower's output, which never changes: each clip is computed once."""

    memory_gib: NonNegative = 1.0
    """CPU memory in each process. The fast view of a 7B model takes 88 MB at the paper's size."""
    folder: Path | None = None
    """Folder shared by all runs and processes of a machine, which outlives them; null writes none. It can be removed at
    any time."""
    disk_gib: Positive = 20.0
    """Most that the folder holds; what was not used for longest makes room."""


class Policy(Section):
    """The model that acts and learns."""

    kind: Literal["qwen_vl", "endpoint"] = "qwen_vl"
    """`qwen_vl`: a model in this process; `endpoint`: one behind a chat server, which acts and does not learn."""
    endpoint: Endpoint | None = None
    """The chat server of `endpoint`."""
    checkpoint: Path | None = None
    """Folder of a Qwen2.5-VL checkpoint; null builds `tiny`."""
    tiny: TinyModel = TinyModel()
    freeze_vision: bool = True
    """Whether reinforcement learning leaves the vision tower as it is."""
    feature_cache: FeatureCache = FeatureCache()
    gradient_checkpointing: bool = False
    """Whether the learner keeps only the inputs of layers and computes the rest again: less memory, a third slower."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of weights and activations."""
    attention: Literal["sdpa", "flash_attention_2"] = "sdpa"
    """What computes attention in the vision tower."""
    text_attention: Literal["auto", "cpu", "cuda", "reference"] = "auto"
    """What computes attention where sequences share what they begin with: the flash kernels of the device, which `auto`
    takes where they work, or `reference`, which is slower and works everywhere."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "endpoint" and self.endpoint is None:
            raise ValueError("kind is endpoint, but there are no settings of one; give endpoint.base_url and .model")
        return self
