"""Log-probabilities of given completions, differentiable: the learner's forward pass.

Shape legend: B sample, T token, N completion token of all samples, V vocabulary, D hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videozoom.envs.messages import Prompt
from videozoom.policies.losses import entropy
from videozoom.policies.rendering import RenderedPrompt, Renderer
from videozoom.policies.sampling import TokenDistribution

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy


@dataclass(frozen=True, slots=True)
class CompletionLogprobs:
    """Log-probabilities of completions, padded on the right to the longest."""

    logprobs_BT: Tensor
    """0 at padding."""
    mask_BT: Tensor
    """Bool, true at completion tokens."""
    entropy_BT: Tensor | None
    """Entropy in nats of the distribution each token was drawn from; 0 at padding."""


Sample = tuple[Prompt | RenderedPrompt, NDArray[np.int32]]
"""A prompt, and the ids of the tokens after it."""


def completion_logprobs(
    policy: "QwenVLPolicy",
    samples: Sequence[Sample],
    *,
    distribution: TokenDistribution | None = None,
    with_entropy: bool = False,
    entropy_gradient: bool = False,
) -> CompletionLogprobs:
    """Return the log-probability of every token of each sample under the sampled distribution.

    Runs under the caller's gradient mode and in one batch: cutting into micro-batches is the caller's. Every sample is
    computed by itself; `tree_logprobs` gives the same for less.

    Args:
        policy: Whose probabilities.
        samples: Prompts, each with the tokens after it.
        distribution: What tokens were drawn from; by default from what the model gives.
        with_entropy: Whether to return the entropy, too.
        entropy_gradient: Whether that has a gradient.
    """
    sequences = sequences_of(policy.renderer, samples)
    lengths = [len(token_ids) for _, token_ids in samples]
    device = policy.device
    token_ids_BT, positions_3BT = _pad(sequences, policy.renderer.turn_end_id)
    hidden_BTD = policy.hidden_states(
        policy.embed(token_ids_BT.to(device), sequences), positions_3BT.to(device), mask=None, cache=None
    )
    # The token at position t is predicted by the hidden state at t - 1.
    rows = np.repeat(np.arange(len(samples)), lengths)
    columns = np.concatenate(
        [len(sequence.token_ids) - 1 - n + np.arange(n) for sequence, n in zip(sequences, lengths, strict=True)]
    )
    predicting_ND = hidden_BTD[torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device)]
    targets_N = torch.from_numpy(np.concatenate([ids.astype(np.int64) for _, ids in samples])).to(device)
    logprobs_NV = (distribution or TokenDistribution()).logprobs(policy.logits(predicting_ND), targets_N)
    logprobs_N = logprobs_NV.gather(-1, targets_N.unsqueeze(-1)).squeeze(-1)
    mask_BT = completion_mask(lengths, device)
    return CompletionLogprobs(
        logprobs_BT=padded(logprobs_N, mask_BT),
        mask_BT=mask_BT,
        entropy_BT=padded(measured_entropy(logprobs_NV, gradient=entropy_gradient), mask_BT) if with_entropy else None,
    )


def sequences_of(renderer: Renderer, samples: Sequence[Sample]) -> list[RenderedPrompt]:
    """Return the samples' prompts with their completions behind them."""
    sequences = []
    for prompt, token_ids in samples:
        rendered = prompt if isinstance(prompt, RenderedPrompt) else renderer.render(prompt)
        positions = rendered.completion_positions(len(token_ids))
        sequences.append(
            replace(
                rendered,
                token_ids=np.concatenate([rendered.token_ids, token_ids.astype(np.int64)]),
                position_ids=np.concatenate([rendered.position_ids, positions], axis=1),
            )
        )
    return sequences


def completion_mask(lengths: Sequence[int], device: torch.device) -> Tensor:
    """Return `[B, T]`, true at the tokens of completions of these lengths."""
    return (torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(-1)).to(device)


def measured_entropy(logprobs_NV: Tensor, *, gradient: bool) -> Tensor:
    """Return the entropy `[N]` in nats, without a gradient unless one is wanted and the caller's mode allows it."""
    with torch.set_grad_enabled(gradient and torch.is_grad_enabled()):
        return entropy(logprobs_NV)


def padded(values_N: Tensor, mask_BT: Tensor) -> Tensor:
    """Return values at the true places of a mask, in order, and 0 elsewhere."""
    return values_N.new_zeros(mask_BT.shape).masked_scatter(mask_BT, values_N)


def _pad(prompts: Sequence[RenderedPrompt], pad_id: int) -> tuple[Tensor, Tensor]:
    """Return token ids `[B, T]` and positions `[3, B, T]`, padded on the right."""
    longest = max(len(prompt.token_ids) for prompt in prompts)
    token_ids_BT = np.full((len(prompts), longest), pad_id, np.int64)
    positions_3BT = np.zeros((3, len(prompts), longest), np.int64)
    for row, prompt in enumerate(prompts):
        length = len(prompt.token_ids)
        token_ids_BT[row, :length] = prompt.token_ids
        positions_3BT[:, row, :length] = prompt.position_ids
    return torch.from_numpy(token_ids_BT), torch.from_numpy(positions_3BT)
