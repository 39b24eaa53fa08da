"""Sampling of completions for many prompts in one batch.

The prompts become one token tree, so that what they share is prefilled once, and decode over it together; rows that are
done leave the batch. Every row draws from its own random numbers, so a completion depends on its prompt and seed and on
nothing else in the batch (floating-point rounding aside).

Shape legend: B row, S packed row of the tree, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videozoom.policies.attention_plan import AttentionPlan
from videozoom.policies.base import Completion, FinishReason
from videozoom.policies.cascade import CascadeDecoder
from videozoom.policies.packed_cache import HeldPrefixes
from videozoom.policies.rendering import RenderedPrompt
from videozoom.policies.sampling import Sampling
from videozoom.policies.token_tree import TokenTree

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy

# Rows that are done stay in the batch until this share of it is left: dropping them copies what is their own.
_COMPACT_BELOW = 0.6


@torch.no_grad()
def sample(
    policy: "QwenVLPolicy",
    prompts: Sequence[RenderedPrompt],
    seeds: Sequence[tuple[int, ...]],
    sampling: Sampling,
    held: Sequence[HeldPrefixes] = (),
) -> list[Completion]:
    """Return one completion per prompt, with the log-probability of every sampled token.

    Args:
        policy: The model.
        prompts: What to continue.
        seeds: Entropy of each completion.
        sampling: How tokens are drawn.
        held: Where prompts are kept for the next call, one for each batch; batches without one keep nothing.
    """
    completions: list[Completion] = []
    for number, start in enumerate(range(0, len(prompts), sampling.max_batch)):
        stop = start + sampling.max_batch
        batch = _Batch(policy, prompts[start:stop], seeds[start:stop], sampling)
        with policy.converted_weights():
            completions.extend(batch.run(held[number] if number < len(held) else HeldPrefixes()))
    return completions


@dataclass(slots=True)
class _Row:
    """What one completion has become so far."""

    uniforms: NDArray[np.float64]
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    is_done: bool = False


class _Batch:
    """Prefills a tree of prompts, then decodes all rows token by token."""

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
        longest_stop = max((len(text.encode()) for text in sampling.stop), default=0)
        # A token has at least one byte of text, but for special ones.
        self.stop_window = 2 * longest_stop

    def run(self, held: HeldPrefixes) -> list[Completion]:
        logits_BV = self._prefill(held)
        for step in range(self.sampling.max_new_tokens):
            tokens = self._draw(logits_BV, step)
            if all(self.rows[index].is_done for index in self.active) or step + 1 == self.sampling.max_new_tokens:
                break
            logits_BV = self._decode(self._compact(tokens), step)
        return [self._completion(row, prompt) for row, prompt in zip(self.rows, self.prompts, strict=True)]

    def _prefill(self, held: HeldPrefixes) -> Tensor:
        """Compute the rows of the tree that are not held, and return the logits of each row's first token."""
        policy, device = self.policy, self.policy.device
        unique = {prompt.key: prompt for prompt in self.prompts}
        distinct = list(unique.values())
        tree = TokenTree.of(distinct)
        cache, is_known = held.cache_for(distinct, tree)
        hidden_1SD = policy.hidden_states(
            policy.embed_packed(tree, ~is_known),
            torch.from_numpy(tree.position_ids[:, None, ~is_known]).to(device),
            mask=None,
            cache=cache,
            attention_plan=AttentionPlan.of(tree, is_known),
        )
        cache.close()
        held.hold(distinct, tree, cache)
        order = {key: index for index, key in enumerate(unique)}
        prompt_of_row = [order[prompt.key] for prompt in self.prompts]
        self.decoder = CascadeDecoder(
            tree,
            cache,
            [tree.paths[index] for index in prompt_of_row],
            num_new_tokens=self.sampling.max_new_tokens,
            backend=policy.attention_backend,
        )
        starts = torch.tensor([int(prompt.position_ids.max()) + 1 for prompt in distinct], device=device)
        self.next_positions = starts[prompt_of_row]
        queries_before = np.cumsum(~is_known) - 1
        last_rows = torch.from_numpy(queries_before[[path[-1] for path in tree.paths]]).to(device)
        return policy.logits(hidden_1SD[0, last_rows])[prompt_of_row]

    def _draw(self, logits_BV: Tensor, step: int) -> Tensor:
        """Draw one token per active row, record it, and return the tokens `[B]`."""
        distribution = self.sampling.distribution
        logprobs_BV = distribution.logprobs(logits_BV)
        if distribution.temperature == 0:
            tokens_B = logprobs_BV.argmax(-1)
        else:
            cumulative_BV = logprobs_BV.double().exp().cumsum(-1)
            draws = torch.tensor([self.rows[index].uniforms[step] for index in self.active], dtype=torch.float64)
            thresholds_B1 = draws.to(cumulative_BV.device).unsqueeze(-1) * cumulative_BV[:, -1:]
            tokens_B = torch.searchsorted(cumulative_BV, thresholds_B1, right=True).squeeze(-1)
            tokens_B = tokens_B.clamp_max(logprobs_BV.shape[-1] - 1)
        chosen_B = logprobs_BV.gather(-1, tokens_B.unsqueeze(-1)).squeeze(-1)
        for index, token, logprob in zip(self.active, tokens_B.tolist(), chosen_B.tolist(), strict=True):
            row = self.rows[index]
            if not row.is_done:
                row.token_ids.append(token)
                row.logprobs.append(logprob)
                row.is_done = self._is_end(row.token_ids)
        return tokens_B

    def _is_end(self, token_ids: list[int]) -> bool:
        renderer = self.policy.renderer
        if token_ids[-1] == renderer.turn_end_id:
            return True
        if not self.sampling.stop:
            return False
        # A stop text completed earlier would have ended the row earlier.
        text = renderer.decode_completion(np.array(token_ids[-self.stop_window :], np.int32))
        return any(stop in text for stop in self.sampling.stop)

    def _compact(self, tokens_B: Tensor) -> Tensor:
        """Drop rows that are done once they are many, and return the tokens of the rows that stay."""
        keep = [position for position, index in enumerate(self.active) if not self.rows[index].is_done]
        if len(keep) > _COMPACT_BELOW * len(self.active):
            return tokens_B
        selected = torch.tensor(keep, device=tokens_B.device)
        self.decoder.select(keep)
        self.next_positions = self.next_positions[selected]
        self.active = [self.active[position] for position in keep]
        return tokens_B[selected]

    def _decode(self, tokens_B: Tensor, step: int) -> Tensor:
        """Run one token per active row and return the logits of the next."""
        embeds_B1D = self.policy.model.model.language_model.embed_tokens(tokens_B.unsqueeze(-1))
        positions_3B1 = (self.next_positions + step).expand(3, -1).unsqueeze(-1)
        hidden_B1D = self.policy.hidden_states(
            embeds_B1D, positions_3B1, mask=None, cache=self.decoder, decode=self.decoder
        )
        self.decoder.advance()
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
            sampling=self.sampling,
        )
