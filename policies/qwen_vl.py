"""Qwen2.5-VL as a policy: any checkpoint folder, from a tiny one made on the spot to the released 7B."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from videozoom.envs.observation import VideoClip
from videozoom.policies.attention_backends import AttentionBackend, backend_for
from videozoom.policies.base import Completion, Request
from videozoom.policies.double_precision import call_in_double, weights_in_double
from videozoom.policies.feature_cache import FeatureBudget
from videozoom.policies.qwen_checkpoint import load_checkpoint
from videozoom.policies.recomputation import recomputed_layers
from videozoom.policies.rendering import RenderedPrompt, Renderer
from videozoom.policies.sampling import Sampling
from videozoom.policies.tree_attention import use_text_attention
from videozoom.policies.vision_features import VisionFeatures

if TYPE_CHECKING:
    from videozoom.policies.packed_cache import HeldPrefixes
    from videozoom.policies.token_tree import TokenTree


class QwenVLPolicy:
    """A Qwen2.5-VL model with its renderer; samples completions and gives what a learner needs.

    Shape legend of this module: B prompt, T token, D hidden size, V vocabulary.
    """

    def __init__(
        self,
        model: nn.Module,
        renderer: Renderer,
        *,
        freeze_vision: bool = True,
        sampling: Sampling | None = None,
        text_attention: str = "auto",
        gradient_checkpointing: bool = False,
        feature_budget: FeatureBudget | None = None,
    ) -> None:
        """Wrap a loaded `Qwen2_5_VLForConditionalGeneration`.

        Raises:
            TextModelError: It attends in a way that token trees do not.
        """
        self.model: Any = model
        self.renderer = renderer
        self.sampling = sampling or Sampling()
        self.text_attention = text_attention
        """What computes attention on token trees; see `backend_for`."""
        tower = model.get_submodule("model.visual")
        self.features = VisionFeatures(tower, renderer, is_frozen=freeze_vision, budget=feature_budget)
        parameter = next(model.parameters())
        self.is_precise = parameter.device.type == "cpu" and parameter.dtype == torch.float32
        """Whether text is computed in float64 from the float32 weights, so that sampler and learner agree."""
        self.gradient_checkpointing = gradient_checkpointing
        """Whether layers keep only their inputs for the backward pass, and are computed again in it."""
        self._held: list[HeldPrefixes] = []
        self._is_holding = False
        self._double_weights: dict[str, dict[str, Tensor]] = {}
        self.freeze_vision(freeze_vision)
        use_text_attention(model.get_submodule("model.language_model"))

    @classmethod
    def from_checkpoint(
        cls,
        path: Path,
        *,
        dtype: str = "float32",
        attention: str = "sdpa",
        freeze_vision: bool = True,
        sampling: Sampling | None = None,
        text_attention: str = "auto",
        gradient_checkpointing: bool = False,
        feature_budget: FeatureBudget | None = None,
    ) -> "QwenVLPolicy":
        """Load a Hugging Face checkpoint folder of a Qwen2.5-VL model.

        Args:
            path: Of the folder.
            dtype: Of the weights, a name torch knows.
            attention: Of the vision tower.
            freeze_vision: See the method of this name.
            sampling: How completions are drawn.
            text_attention: What computes attention on token trees.
            gradient_checkpointing: Whether layers are computed again in the backward pass.
            feature_budget: What is kept of the features of a frozen tower.

        Raises:
            CheckpointError: the folder is missing, unreadable, or holds another architecture.
        """
        model, renderer = load_checkpoint(Path(path), dtype=dtype, attention=attention)
        return cls(
            model,
            renderer,
            freeze_vision=freeze_vision,
            sampling=sampling,
            text_attention=text_attention,
            gradient_checkpointing=gradient_checkpointing,
            feature_budget=feature_budget,
        )

    @property
    def _in_double(self) -> bool:
        # The model may have been moved to a GPU after it was loaded.
        return self.is_precise and self.device.type == "cpu"

    @property
    def _recomputes(self) -> bool:
        return self.gradient_checkpointing and torch.is_grad_enabled()

    def _recomputing(self, module: nn.Module) -> AbstractContextManager[None]:
        return recomputed_layers(module) if self._recomputes else nullcontext()

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

    def share_features(self, other: "QwenVLPolicy") -> None:
        """Take the features of clips from another policy, if the vision towers are frozen and the same.

        Nothing changes but what is computed: a reference policy looks at the same clips.
        """
        if self.features.computes_like(other.features):
            self.features = other.features

    def trained_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield name and tensor of what an optimizer updates."""
        return ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)

    def with_sampling(self, sampling: Sampling) -> "QwenVLPolicy":
        """Return a policy that shares this one's weights and features but samples differently."""
        twin = copy(self)
        twin.sampling = sampling
        twin._held, twin._is_holding = [], False
        return twin

    def greedy(self, max_new_tokens: int) -> "QwenVLPolicy":
        """Return a policy that takes the most likely token."""
        return self.with_sampling(replace(self.sampling, temperature=0.0, max_new_tokens=max_new_tokens))

    def save(self, path: Path) -> Path:
        """Write a Hugging Face checkpoint folder that `from_pretrained` and `from_checkpoint` load."""
        self.model.save_pretrained(path)
        self.renderer.tokenizer.save_pretrained(path)
        return path

    def act(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one sampled completion per request; see `videozoom.policies.sampler`."""
        from videozoom.policies.packed_cache import HeldPrefixes
        from videozoom.policies.sampler import sample

        prompts = [self.renderer.render(request.prompt) for request in requests]
        if self._is_holding:
            self._held += [HeldPrefixes() for _ in range(-(-len(prompts) // self.sampling.max_batch) - len(self._held))]
        return sample(self, prompts, [request.seed for request in requests], self.sampling, self._held)

    @contextmanager
    def episodes(self) -> Iterator[None]:
        """Keep the prompts of each `act` for the next: while a set of episodes runs, and the weights do not change."""
        self._is_holding = True
        try:
            yield
        finally:
            self._held, self._is_holding = [], False

    @property
    def attention_backend(self) -> AttentionBackend:
        """What computes attention on token trees.

        Raises:
            AttentionBackendError: There is no `text_attention`, or it does not work where the model is.
        """
        dtype = torch.float64 if self._in_double else next(iter(self.model.parameters())).dtype
        return backend_for(self.device, dtype, self.text_attention)

    @contextmanager
    def converted_weights(self) -> Iterator[None]:
        """Convert weights to the precision text is computed in once, for many calls without a gradient."""
        if self._in_double:
            modules = {"text": self.model.model.language_model, "head": self.model.lm_head}
            self._double_weights = {name: weights_in_double(module) for name, module in modules.items()}
        try:
            yield
        finally:
            self._double_weights = {}

    def _features_of(self, clips: Sequence[VideoClip]) -> list[Tensor]:
        with self._recomputing(self.model.model.visual):
            return self.features(clips)

    def embed_packed(self, tree: "TokenTree", is_wanted: NDArray[np.bool_] | None = None) -> Tensor:
        """Return input embeddings `[1, S, D]` of a tree's rows, or of those wanted, clip features in place."""
        token_ids, feature_rows = tree.token_ids, tree.feature_rows
        if is_wanted is not None:
            token_ids, feature_rows = token_ids[is_wanted], feature_rows[is_wanted]
        embeds_SD: Tensor = self.model.model.language_model.embed_tokens(torch.from_numpy(token_ids).to(self.device))
        places = np.flatnonzero(feature_rows >= 0)
        if not len(places):
            return embeds_SD.unsqueeze(0)
        ends = np.cumsum([self.renderer.grid(clip).num_tokens for clip in tree.clips])
        clip_of = np.searchsorted(ends, feature_rows[places], side="right")
        used, position_of = np.unique(clip_of, return_inverse=True)
        features = self._features_of([tree.clips[index] for index in used])
        # Rows count in all clips; only those of the used ones are there.
        firsts = np.cumsum([0, *(len(feature) for feature in features)])[:-1]
        rows = firsts[position_of] + feature_rows[places] - np.concatenate([[0], ends])[clip_of]
        wanted = torch.cat(features).to(embeds_SD.dtype)[torch.from_numpy(rows).to(self.device)]
        return embeds_SD.index_copy(0, torch.from_numpy(places).to(self.device), wanted).unsqueeze(0)

    def embed(self, token_ids_BT: Tensor, prompts: Sequence[RenderedPrompt]) -> Tensor:
        """Return input embeddings `[B, T, D]`; row b holds prompt b's tokens first, its clips' features in place."""
        embeds_BTD: Tensor = self.model.model.language_model.embed_tokens(token_ids_BT)
        clips = [clip for prompt in prompts for clip in prompt.clips]
        if not clips:
            return embeds_BTD
        features = torch.cat(self._features_of(clips)).to(embeds_BTD.dtype)
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
        # transformers' own recomputation, which `gradient_checkpointing` goes without.
        recomputes = self.model.training and self.model.is_activation_checkpointing
        if cache is not None and (recomputes or self._recomputes):
            raise RuntimeError("a model that computes activations again drops its cache: use neither or no gradient")
        if recomputes and self._in_double:
            raise RuntimeError("activations computed again from float32 weights are not float64: unset is_precise")
        if "attention_plan" in attention:
            attention.setdefault("attention_backend", self.attention_backend)
        call = partial(call_in_double, text, self._double_weights.get("text")) if self._in_double else text
        with self._recomputing(text):
            output = call(
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
        if self._in_double:
            logits: Tensor = call_in_double(head, self._double_weights.get("head"), hidden.double())
        else:
            logits = head(hidden).float()
        config = self.model.config
        # A sampled placeholder would ask for features that do not exist.
        logits[..., [config.video_token_id, config.image_token_id]] = float("-inf")
        return logits
