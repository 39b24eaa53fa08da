"""Sampling of completions for many prompts in one batch.

Equal prompts are prefilled once; rows that are done leave the batch. Every row draws from its own random numbers, so a
completion depends on its prompt and seed and on nothing else in the batch (floating-point rounding aside).

Shape legend: U unique prompt, B row, T token, V vocabulary, D hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videozoom.policies.base import Completion, FinishReason
from videozoom.policies.rendering import RenderedPrompt

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy

# Rows that are done stay in the batch until this share of it is left: dropping them copies the cache.
_COMPACT_BELOW = 0.6


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are drawn. There is no truncation (top-k, top-p): what is trained is what was sampled."""

    temperature: float = 1.0
    """0 means greedy; log-probabilities are then those at temperature 1."""
    max_new_tokens: int = 48
    max_batch: int = 512
    """Rows decoded together at most."""


class KVBuffer:
    """Key-value cache with room for all tokens from the start: appending copies nothing that is already there."""

    def __init__(self, capacity: int) -> None:
        """Hold at most `capacity` tokens per row."""
        self.capacity = capacity
        self.length = 0
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []

    def update(self, key: Tensor, value: Tensor, layer_idx: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Append `[B, heads, T, size]` to a layer and return all its keys and values; called by transformers."""
        if layer_idx == len(self._keys):
            shape = (*key.shape[:2], self.capacity, key.shape[3])
            self._keys.append(key.new_zeros(shape))
            self._values.append(value.new_zeros(shape))
        end = self.length + key.shape[2]
        self._keys[layer_idx][:, :, self.length : end] = key
        self._values[layer_idx][:, :, self.length : end] = value
        return self._keys[layer_idx][:, :, :end], self._values[layer_idx][:, :, :end]

    def advance(self, num_tokens: int) -> None:
        """Make the tokens of a finished forward pass count as past."""
        self.length += num_tokens

    def select_rows(self, rows: Tensor) -> None:
        """Keep, repeat or reorder rows."""
        self._keys = [key[rows] for key in self._keys]
        self._values = [value[rows] for value in self._values]


@torch.no_grad()
def sample(
    policy: "QwenVLPolicy", prompts: Sequence[RenderedPrompt], seeds: Sequence[tuple[int, ...]], sampling: Sampling
) -> list[Completion]:
    """Return one completion per prompt, with the log-probability of every sampled token."""
    completions: list[Completion] = []
    for start in range(0, len(prompts), sampling.max_batch):
        stop = start + sampling.max_batch
        batch = _Batch(policy, prompts[start:stop], seeds[start:stop], sampling)
        completions.extend(batch.run())
    return completions


@dataclass(slots=True)
class _Row:
    """What one completion has become so far."""

    uniforms: NDArray[np.float64]
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    is_done: bool = False


class _Batch:
    """Prefills unique prompts, then decodes all rows token by token."""

    def __init__(
        self,
        policy: "QwenVLPolicy",
        prompts: Sequence[RenderedPrompt],
        seeds: Sequence[tuple[int, ...]],
        sampling: Sampling,
    ) -> None:
        self.policy, self.prompts, self.sampling = policy, prompts, sampling
        self.rows = [_Row(np.random.default_rng(seed).random(sampling.max_new_tokens)) for seed in seeds]
        self.active = list(range(len(prompts)))

    def run(self) -> list[Completion]:
        logits_BV = self._prefill()
        for step in range(self.sampling.max_new_tokens):
            tokens = self._draw(logits_BV, step)
            if all(self.rows[index].is_done for index in self.active) or step + 1 == self.sampling.max_new_tokens:
                break
            logits_BV = self._decode(self._compact(tokens), step)
        return [self._completion(row, prompt) for row, prompt in zip(self.rows, self.prompts, strict=True)]

    def _prefill(self) -> Tensor:
        """Run unique prompts, padded on the right, and return the logits that predict each row's first token."""
        unique = {prompt.key: index for index, prompt in reversed(list(enumerate(self.prompts)))}
        order = {key: position for position, key in enumerate(unique)}
        prompts = [self.prompts[index] for index in unique.values()]
        device = self.policy.device
        lengths = [len(prompt.token_ids) for prompt in prompts]
        token_ids_UT, positions_3UT = pad_prompts(prompts, self.policy.renderer.turn_end_id)
        cache = KVBuffer(max(lengths) + self.sampling.max_new_tokens)
        hidden_UTD = self.policy.hidden_states(
            self.policy.embed(token_ids_UT.to(device), prompts), positions_3UT.to(device), mask=None, cache=cache
        )
        cache.advance(max(lengths))
        last_UD = hidden_UTD[torch.arange(len(prompts)), torch.tensor(lengths) - 1]
        rows = torch.tensor([order[prompt.key] for prompt in self.prompts], device=device)
        cache.select_rows(rows)
        self.cache = cache
        self.prefill_length = max(lengths)
        self.prompt_lengths = torch.tensor(lengths, device=device)[rows]
        starts = torch.tensor([int(prompt.position_ids.max()) + 1 for prompt in prompts], device=device)
        self.next_positions = starts[rows]
        return self.policy.logits(last_UD)[rows]

    def _draw(self, logits_BV: Tensor, step: int) -> Tensor:
        """Draw one token per active row, record it, and return the tokens `[B]`."""
        temperature = self.sampling.temperature
        logprobs_BV = tempered_logprobs(logits_BV, temperature)
        if temperature == 0:
            tokens_B = logprobs_BV.argmax(-1)
        else:
            cumulative_BV = logprobs_BV.double().exp().cumsum(-1)
            draws = torch.tensor([self.rows[index].uniforms[step] for index in self.active], dtype=torch.float64)
            thresholds_B1 = draws.to(cumulative_BV.device).unsqueeze(-1) * cumulative_BV[:, -1:]
            tokens_B = torch.searchsorted(cumulative_BV, thresholds_B1, right=True).squeeze(-1)
            tokens_B = tokens_B.clamp_max(logprobs_BV.shape[-1] - 1)
        chosen_B = logprobs_BV.gather(-1, tokens_B.unsqueeze(-1)).squeeze(-1)
        end = self.policy.renderer.turn_end_id
        for index, token, logprob in zip(self.active, tokens_B.tolist(), chosen_B.tolist(), strict=True):
            row = self.rows[index]
            if not row.is_done:
                row.token_ids.append(token)
                row.logprobs.append(logprob)
                row.is_done = token == end
        return tokens_B

    def _compact(self, tokens_B: Tensor) -> Tensor:
        """Drop rows that are done once they are many, and return the tokens of the rows that stay."""
        keep = [position for position, index in enumerate(self.active) if not self.rows[index].is_done]
        if len(keep) > _COMPACT_BELOW * len(self.active):
            return tokens_B
        selected = torch.tensor(keep, device=tokens_B.device)
        self.cache.select_rows(selected)
        self.prompt_lengths, self.next_positions = self.prompt_lengths[selected], self.next_positions[selected]
        self.active = [self.active[position] for position in keep]
        return tokens_B[selected]

    def _decode(self, tokens_B: Tensor, step: int) -> Tensor:
        """Run one token per active row and return the logits of the next."""
        embeds_B1D = self.policy.model.model.language_model.embed_tokens(tokens_B.unsqueeze(-1))
        positions_3B1 = (self.next_positions + step).expand(3, -1).unsqueeze(-1)
        slots = torch.arange(self.cache.length + 1, device=tokens_B.device)
        # Prompts are padded on the right, so a row sees its prompt and everything after the padding.
        mask_BT = (slots < self.prompt_lengths.unsqueeze(-1)) | (slots >= self.prefill_length)
        hidden_B1D = self.policy.hidden_states(
            embeds_B1D, positions_3B1, mask=mask_BT[:, None, None, :], cache=self.cache
        )
        self.cache.advance(1)
        return self.policy.logits(hidden_B1D[:, 0])

    def _completion(self, row: _Row, prompt: RenderedPrompt) -> Completion:
        token_ids = np.array(row.token_ids, np.int32)
        return Completion(
            text=self.policy.renderer.decode_completion(token_ids),
            finish_reason=FinishReason.STOP if row.is_done else FinishReason.LENGTH,
            token_ids=token_ids,
            logprobs=np.array(row.logprobs, np.float32),
            num_prompt_tokens=len(prompt.token_ids),
            num_visual_tokens=prompt.num_visual_tokens,
        )


def tempered_logprobs(logits: Tensor, temperature: float) -> Tensor:
    """Return log-probabilities `[..., V]` of the distribution that is sampled and trained; 0 (greedy) counts as 1."""
    return torch.log_softmax(logits / (temperature or 1.0), dim=-1)


def pad_prompts(prompts: Sequence[RenderedPrompt], pad_id: int) -> tuple[Tensor, Tensor]:
    """Return token ids `[B, T]` and positions `[3, B, T]`, padded on the right."""
    longest = max(len(prompt.token_ids) for prompt in prompts)
    token_ids_BT = np.full((len(prompts), longest), pad_id, np.int64)
    positions_3BT = np.zeros((3, len(prompts), longest), np.int64)
    for row, prompt in enumerate(prompts):
        length = len(prompt.token_ids)
        token_ids_BT[row, :length] = prompt.token_ids
        positions_3BT[:, row, :length] = prompt.position_ids
    return torch.from_numpy(token_ids_BT), torch.from_numpy(positions_3BT)
