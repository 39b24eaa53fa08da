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
from videozoom.policies.rendering import RenderedPrompt
from videozoom.policies.sampler import pad_prompts, tempered_logprobs

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
    """Entropy in nats of the distribution each token was drawn from, without gradient; 0 at padding."""


def completion_logprobs(
    policy: "QwenVLPolicy",
    samples: Sequence[tuple[Prompt, NDArray[np.int32]]],
    *,
    temperature: float = 1.0,
    with_entropy: bool = False,
) -> CompletionLogprobs:
    """Return the log-probability of every token of each `(prompt, token ids)` under the sampled distribution.

    Runs under the caller's gradient mode and in one batch: cutting into micro-batches is the caller's.
    """
    rendered = [policy.renderer.render(prompt) for prompt, _ in samples]
    completions = [np.asarray(token_ids, np.int64) for _, token_ids in samples]
    sequences = [_append(prompt, ids) for prompt, ids in zip(rendered, completions, strict=True)]
    device = policy.device
    token_ids_BT, positions_3BT = pad_prompts(sequences, policy.renderer.turn_end_id)
    hidden_BTD = policy.hidden_states(
        policy.embed(token_ids_BT.to(device), sequences), positions_3BT.to(device), mask=None, cache=None
    )
    lengths = [len(ids) for ids in completions]
    mask_BT = (torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(-1)).to(device)
    # The token at position t is predicted by the hidden state at t - 1.
    rows = np.repeat(np.arange(len(samples)), lengths)
    columns = np.concatenate(
        [len(prompt.token_ids) - 1 + np.arange(n) for prompt, n in zip(rendered, lengths, strict=True)]
    )
    predicting_ND = hidden_BTD[torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device)]
    logprobs_NV = tempered_logprobs(policy.logits(predicting_ND), temperature)
    targets_N1 = torch.from_numpy(np.concatenate(completions)).to(device).unsqueeze(-1)
    logprobs_N = logprobs_NV.gather(-1, targets_N1).squeeze(-1)
    return CompletionLogprobs(
        logprobs_BT=_unflatten(logprobs_N, mask_BT),
        mask_BT=mask_BT,
        entropy_BT=_unflatten(_entropy(logprobs_NV.detach()), mask_BT) if with_entropy else None,
    )


def _append(prompt: RenderedPrompt, token_ids: NDArray[np.int64]) -> RenderedPrompt:
    """Return the prompt with a completion behind it."""
    return replace(
        prompt,
        token_ids=np.concatenate([prompt.token_ids, token_ids]),
        position_ids=np.concatenate([prompt.position_ids, prompt.completion_positions(len(token_ids))], axis=1),
    )


def _entropy(logprobs_NV: Tensor) -> Tensor:
    # Impossible tokens have log-probability -inf and add nothing.
    return -(logprobs_NV.exp() * logprobs_NV.clamp_min(-1e4)).sum(-1)


def _unflatten(values_N: Tensor, mask_BT: Tensor) -> Tensor:
    return values_N.new_zeros(mask_BT.shape).masked_scatter(mask_BT, values_N)
