"""Log-probabilities of given completions on their token tree: what prompts share is computed once.

The same as `completion_logprobs`, which computes every sample by itself. The packed tree goes through the model as one
sequence; logits are computed only on rows that predict a token of a completion.

Shape legend: S packed row, B sample, T token, N completion token of all samples, P distinct completion token, K row
that predicts some of them, V vocabulary, D hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from videozoom.policies.attention_plan import AttentionPlan
from videozoom.policies.logprobs import (
    CompletionLogprobs,
    Sample,
    completion_mask,
    measured_entropy,
    padded,
    sequences_of,
)
from videozoom.policies.sampling import TokenDistribution
from videozoom.policies.token_tree import TokenTree

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy

MIN_SAVING = 16
"""Nodes that save fewer tokens are copied; see `TokenTree.of`."""
MAX_LOGITS = 1 << 26
"""Logits of one part; if there are more, they are computed part by part, and again in the backward pass."""


def tree_logprobs(
    policy: "QwenVLPolicy",
    samples: Sequence[Sample],
    *,
    distribution: TokenDistribution | None = None,
    with_entropy: bool = False,
    entropy_gradient: bool = False,
    min_saving: int = MIN_SAVING,
    max_logits: int = MAX_LOGITS,
) -> CompletionLogprobs:
    """Return the log-probability of every token of each sample under the sampled distribution.

    Runs under the caller's gradient mode and in one pass: cutting into micro-batches is the caller's.

    Args:
        policy: Whose probabilities.
        samples: Prompts, each with the tokens after it.
        distribution: What tokens were drawn from; by default from what the model gives.
        with_entropy: Whether to return the entropy, too.
        entropy_gradient: Whether that has a gradient.
        min_saving: See `TokenTree.of`.
        max_logits: Logits held at once.
    """
    lengths = [len(token_ids) for _, token_ids in samples]
    tree = TokenTree.of(sequences_of(policy.renderer, samples), min_saving=min_saving)
    predictions = Predictions.of(tree, lengths, distribution or TokenDistribution())
    hidden_SD = tree_hidden_states(policy, tree)
    logprobs_P, entropy_P = predictions.logprobs(
        policy, hidden_SD, with_entropy=with_entropy, entropy_gradient=entropy_gradient, max_logits=max_logits
    )
    mask_BT = completion_mask(lengths, policy.device)
    index_N = _on(policy.device, predictions.index_N)
    return CompletionLogprobs(
        logprobs_BT=padded(logprobs_P[index_N], mask_BT),
        mask_BT=mask_BT,
        entropy_BT=None if entropy_P is None else padded(entropy_P[index_N], mask_BT),
    )


def tree_hidden_states(policy: "QwenVLPolicy", tree: TokenTree) -> Tensor:
    """Return the last hidden states `[S, D]` of all rows."""
    hidden_1SD = policy.hidden_states(
        policy.embed_packed(tree),
        _on(policy.device, tree.position_ids).unsqueeze(1),
        mask=None,
        cache=None,
        attention_plan=AttentionPlan.of(tree),
    )
    return hidden_1SD[0]


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Which row of a tree predicts which token, each pair once: identical completions have the same rows."""

    rows_K: NDArray[np.int64]
    """Rows that predict, ascending."""
    units_P: NDArray[np.int64]
    """Index into `rows_K` of each distinct token, ascending."""
    tokens_P: NDArray[np.int64]
    """Its id."""
    index_N: NDArray[np.int64]
    """Index into the distinct tokens of each token, sample by sample."""
    distribution: TokenDistribution

    @classmethod
    def of(
        cls, tree: TokenTree, num_completion_tokens: Sequence[int], distribution: TokenDistribution
    ) -> "Predictions":
        """Return what predicts the tokens at the end of a tree's sequences."""
        rows_N, targets_N = tree.predicting_rows(num_completion_tokens)
        # A token's place in the tree says which row is before it.
        targets_P, first_P, index_N = np.unique(targets_N, return_index=True, return_inverse=True)
        rows_P = rows_N[first_P]
        order_P = np.argsort(rows_P, kind="stable")
        rows_P = rows_P[order_P]
        if distribution.is_truncated:
            # A token that was drawn counts as possible, so that each changes the distribution it is looked up in.
            rows_K, units_P = rows_P, np.arange(len(rows_P))
        else:
            rows_K, units_P = np.unique(rows_P, return_inverse=True)
        return cls(rows_K, units_P, tree.token_ids[targets_P[order_P]], np.argsort(order_P)[index_N], distribution)

    def logprobs(
        self,
        policy: "QwenVLPolicy",
        hidden_SD: Tensor,
        *,
        with_entropy: bool,
        entropy_gradient: bool = False,
        max_logits: int = MAX_LOGITS,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the log-probability of each distinct token `[P]` and, if wanted, the entropy where it was drawn."""
        hidden_KD = hidden_SD[_on(hidden_SD.device, self.rows_K)]
        step = max(1, max_logits // int(policy.model.lm_head.weight.shape[0]))
        bounds = range(0, len(self.rows_K), step)
        tokens_P, units_P = _on(hidden_SD.device, self.tokens_P), _on(hidden_SD.device, self.units_P)
        parts = []
        for start in bounds:
            first, last = np.searchsorted(self.units_P, [start, start + step]).tolist()
            arguments = (
                policy, self.distribution, hidden_KD[start : start + step], tokens_P[first:last],
                units_P[first:last] - start, with_entropy, entropy_gradient,
            )  # fmt: skip
            if len(bounds) > 1 and torch.is_grad_enabled():
                parts.append(checkpoint(_logprobs, *arguments, use_reentrant=False))
            else:
                parts.append(_logprobs(*arguments))
        logprobs_P = torch.cat([logprobs for logprobs, _ in parts])
        return logprobs_P, torch.cat([part for _, part in parts if part is not None]) if with_entropy else None


def _logprobs(
    policy: "QwenVLPolicy",
    distribution: TokenDistribution,
    hidden_KD: Tensor,
    tokens_P: Tensor,
    units_P: Tensor,
    with_entropy: bool,
    entropy_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    drawn = tokens_P if distribution.is_truncated else None
    logprobs_KV = distribution.logprobs(policy.logits(hidden_KD), drawn)
    # Last, so that the second computation for the backward pass stops before it.
    logprobs_P = logprobs_KV[units_P, tokens_P]
    if not with_entropy:
        return logprobs_P, None
    return logprobs_P, measured_entropy(logprobs_KV, gradient=entropy_gradient)[units_P]


def _on(device: torch.device, array: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(array).to(device)
