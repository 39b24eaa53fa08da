"""Qwen2.5-VL as a policy: any checkpoint folder, from a tiny one made on the spot to the released 7B."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from videozoom.policies.base import Completion, Request
from videozoom.policies.double_precision import call_in_double
from videozoom.policies.rendering import RenderedPrompt, Renderer
from videozoom.policies.tree_attention import use_text_attention
from videozoom.policies.vision_attention import use_batched_windows
from videozoom.policies.vision_features import VisionFeatures

if TYPE_CHECKING:
    from videozoom.policies.sampler import Sampling


class CheckpointError(ValueError):
    """A checkpoint folder cannot be used; the message names the folder and the reason."""


class QwenVLPolicy:
    """A Qwen2.5-VL model with its renderer; samples completions and gives what a learner needs.

    Shape legend of this module: B prompt, T token, D hidden size, V vocabulary.
    """

    def __init__(
        self, model: nn.Module, renderer: Renderer, *, freeze_vision: bool = True, sampling: "Sampling | None" = None
    ) -> None:
        """Wrap a loaded `Qwen2_5_VLForConditionalGeneration`."""
        from videozoom.policies.sampler import Sampling

        self.model: Any = model
        self.renderer = renderer
        self.sampling = sampling or Sampling()
        self.features = VisionFeatures(model.get_submodule("model.visual"), renderer, is_frozen=freeze_vision)
        parameter = next(model.parameters())
        self.is_precise = parameter.device.type == "cpu" and parameter.dtype == torch.float32
        """Whether text is computed in float64 from the float32 weights, so that sampler and learner agree."""
        self.freeze_vision(freeze_vision)
        use_text_attention(self.model.model.language_model)

    @classmethod
    def from_checkpoint(
        cls,
        path: Path,
        *,
        dtype: str = "float32",
        attention: str = "sdpa",
        freeze_vision: bool = True,
        temperature: float = 1.0,
        max_new_tokens: int = 48,
    ) -> "QwenVLPolicy":
        """Load a Hugging Face checkpoint folder of a Qwen2.5-VL model.

        Raises:
            CheckpointError: the folder is missing, unreadable, or holds another architecture.
        """
        from videozoom.policies.sampler import Sampling

        path = Path(path)
        model, renderer = _load(path, dtype, attention)
        return cls(
            model, renderer, freeze_vision=freeze_vision, sampling=Sampling(temperature, max_new_tokens=max_new_tokens)
        )

    @property
    def _in_double(self) -> bool:
        # The model may have been moved to a GPU after it was loaded.
        return self.is_precise and self.device.type == "cpu"

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        device: torch.device = next(iter(self.model.parameters())).device
        return device

    def freeze_vision(self, is_frozen: bool) -> None:
        """Freeze or unfreeze the vision tower, merger included. Source: LOVE-R1 freezes it in all stages."""
        self.features.is_frozen = is_frozen
        self.features.clear()
        for parameter in self.model.model.visual.parameters():
            parameter.requires_grad_(not is_frozen)

    def trained_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield name and tensor of what an optimizer updates."""
        return ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)

    def with_sampling(self, *, temperature: float, max_new_tokens: int) -> "QwenVLPolicy":
        """Return a policy that shares this one's weights and features but samples differently; 0 means greedy."""
        from videozoom.policies.sampler import Sampling

        twin = object.__new__(QwenVLPolicy)
        twin.model, twin.renderer, twin.features = self.model, self.renderer, self.features
        twin.is_precise = self.is_precise
        twin.sampling = Sampling(temperature, max_new_tokens=max_new_tokens)
        return twin

    def save(self, path: Path) -> Path:
        """Write a Hugging Face checkpoint folder that `from_pretrained` and `from_checkpoint` load."""
        self.model.save_pretrained(path)
        self.renderer.tokenizer.save_pretrained(path)
        return path

    def act(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one sampled completion per request; see `videozoom.policies.sampler`."""
        from videozoom.policies.sampler import sample

        prompts = [self.renderer.render(request.prompt) for request in requests]
        return sample(self, prompts, [request.seed for request in requests], self.sampling)

    def embed(self, token_ids_BT: Tensor, prompts: Sequence[RenderedPrompt]) -> Tensor:
        """Return input embeddings `[B, T, D]`; row b holds prompt b's tokens first, its clips' features in place."""
        embeds_BTD: Tensor = self.model.model.language_model.embed_tokens(token_ids_BT)
        clips = [clip for prompt in prompts for clip in prompt.clips]
        if not clips:
            return embeds_BTD
        features = torch.cat(self.features(clips)).to(embeds_BTD.dtype)
        placeholder_BT1 = (token_ids_BT == self.renderer.video_pad_id).unsqueeze(-1)
        if int(placeholder_BT1.sum()) != len(features):
            raise RuntimeError(
                f"{int(placeholder_BT1.sum())} placeholder tokens but {len(features)} features: rendering is broken"
            )
        return embeds_BTD.masked_scatter(placeholder_BT1, features)

    def hidden_states(
        self, embeds_BTD: Tensor, positions_3BT: Tensor, *, mask: Tensor | None, cache: Any, **attention: Any
    ) -> Tensor:
        """Return last hidden states `[B, T, D]`; without a mask attention is causal: padding must be on the right.

        `attention` is `attention_plan` or `decode` for those that attend otherwise; see `use_text_attention`.
        """
        text = self.model.model.language_model
        output = (partial(call_in_double, text) if self._in_double else text)(
            inputs_embeds=embeds_BTD.double() if self._in_double else embeds_BTD,
            position_ids=positions_3BT,
            attention_mask={"full_attention": mask},
            past_key_values=cache,
            use_cache=cache is not None,
            **attention,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits `[..., V]` of hidden states, float32 or better, placeholders of clips impossible."""
        head = self.model.lm_head
        logits: Tensor = call_in_double(head, hidden.double()) if self._in_double else head(hidden).float()
        config = self.model.config
        # A sampled placeholder would ask for features that do not exist.
        logits[..., [config.video_token_id, config.image_token_id]] = float("-inf")
        return logits


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


def _load(path: Path, dtype: str, attention: str) -> tuple[nn.Module, Renderer]:
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
