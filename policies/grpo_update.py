"""The gradient of one GRPO update, without an optimizer and without Ray: the one place where a batch is learned.

Shape legend: B sample of a micro-batch, T token.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from videozoom.policies.logprobs import CompletionLogprobs, Sample, sequences_of
from videozoom.policies.losses import Surrogate, clipped_surrogate, k3_divergence
from videozoom.policies.rendering import Renderer
from videozoom.policies.sampling import TokenDistribution
from videozoom.policies.token_tree import split
from videozoom.policies.training_sample import TrainingSample
from videozoom.policies.tree_logprobs import tree_logprobs

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy


class Forward(Protocol):
    """The learner's forward pass; see `tree_logprobs`."""

    def __call__(
        self,
        policy: "QwenVLPolicy",
        samples: Sequence[Sample],
        *,
        distribution: TokenDistribution | None = None,
        with_entropy: bool = False,
        entropy_gradient: bool = False,
    ) -> CompletionLogprobs:
        """Return log-probabilities of the samples' tokens."""
        ...


@dataclass(slots=True)
class UpdateStats:
    """Sums over the trained tokens of an update; those of several learners add up with `+`."""

    num_tokens: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    maxima: dict[str, float] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)

    def __add__(self, other: "UpdateStats") -> "UpdateStats":
        return UpdateStats(
            self.num_tokens + other.num_tokens,
            _merged(self.sums, other.sums, operator.add),
            _merged(self.maxima, other.maxima, max),
            _merged(self.losses, other.losses, operator.add),
        )

    def metrics(self) -> dict[str, float]:
        """Return registered metrics; only the number of tokens when nothing was trained."""
        return {
            "loss/trained_tokens/sum": float(self.num_tokens),
            **self.losses,
            **{name: total / self.num_tokens for name, total in self.sums.items()},
            **self.maxima,
        }


def _merged(
    first: dict[str, float], second: dict[str, float], merge: Callable[[float, float], float]
) -> dict[str, float]:
    return first | {name: merge(first[name], value) if name in first else value for name, value in second.items()}


def grpo_gradients(
    policy: "QwenVLPolicy",
    samples: Sequence[TrainingSample],
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    distribution: TokenDistribution | None = None,
    max_tokens_per_batch: int = 32768,
    kl_coef: float = 0.0,
    reference: "QwenVLPolicy | None" = None,
    entropy_coef: float = 0.0,
    forward: Forward = tree_logprobs,
) -> UpdateStats:
    """Add the gradient of the GRPO loss of `samples` to the policy's parameters and return what was seen.

    The loss is the sum over all tokens of `token_weight * (surrogate + kl_coef * divergence - entropy_coef * entropy)`,
    where the entropy is that of the distribution that a token is drawn from, computed from all of it. The old
    log-probabilities are the sampler's: nothing is recomputed for them, and `policy/sampler_logprob_gap` says how far
    the learner's are from them.

    Args:
        policy: The model to train.
        samples: What to learn from; an empty list changes nothing.
        clip_low: See `clipped_surrogate`.
        clip_high: See `clipped_surrogate`.
        distribution: What tokens were drawn from; by default from what the model gives.
        max_tokens_per_batch: Distinct tokens of one forward and backward pass; see `micro_batches`.
        kl_coef: Weight of the divergence from `reference`, which it needs unless it is 0.
        reference: The policy to stay close to; its weights are not touched.
        entropy_coef: Weight of the entropy bonus. Needs memory for the gradient of every probability.
        forward: The forward pass; replaced only in tests.

    Raises:
        ValueError: A `kl_coef` without a reference.
        TokenBudgetError: A sample with its prompt is longer than `max_tokens_per_batch`.

    Source: DeepSeekMath (GRPO), arXiv:2402.03300, eq. (3), the reward shared by all steps as in LOVE-R1,
    arXiv:2509.24786, Sec. 4.3; entropy bonus: VideoZoomer, released code, weight 0.001.
    """
    if kl_coef and reference is None:
        raise ValueError(f"kl_coef {kl_coef} needs a reference policy; give one or set kl_coef to 0")
    stats = UpdateStats()
    for batch, pairs in micro_batches(policy.renderer, samples, max_tokens_per_batch):
        logprobs = forward(
            policy, pairs, distribution=distribution, with_entropy=True, entropy_gradient=bool(entropy_coef)
        )
        tokens = _TokenValues(batch, logprobs)
        surrogate = clipped_surrogate(
            logprobs.logprobs_BT, tokens.old_logprobs_BT, tokens.advantages_B, clip_low=clip_low, clip_high=clip_high
        )
        divergence_BT = None
        if kl_coef and reference is not None:
            with torch.no_grad():
                reference_logprobs = forward(reference, pairs, distribution=distribution)
            divergence_BT = k3_divergence(logprobs.logprobs_BT, reference_logprobs.logprobs_BT)
        loss = (tokens.weights_BT * surrogate.losses_BT).sum()
        if divergence_BT is not None:
            loss = loss + kl_coef * (tokens.weights_BT * divergence_BT).sum()
        if entropy_coef and logprobs.entropy_BT is not None:
            loss = loss - entropy_coef * (tokens.weights_BT * logprobs.entropy_BT).sum()
        loss.backward()
        stats = stats + _stats(batch, logprobs, tokens, surrogate, kl_coef, divergence_BT, entropy_coef)
    return stats


def micro_batches(
    renderer: Renderer, samples: Sequence[TrainingSample], max_tokens: int
) -> Iterator[tuple[list[TrainingSample], list[Sample]]]:
    """Yield all samples, rendered, in batches whose token trees have at most `max_tokens` rows each.

    Groups stay together where that is possible; one that does not fit is learned in sub-trees, whose gradients add up.

    Raises:
        TokenBudgetError: A sample with its prompt is longer.
    """
    pairs: list[Sample] = [(renderer.render(sample.prompt), sample.token_ids) for sample in samples]
    for part in split(sequences_of(renderer, pairs), max_tokens):
        yield [samples[index] for index in part], [pairs[index] for index in part]


class _TokenValues:
    """What the samples know of each token, padded like the learner's log-probabilities."""

    def __init__(self, samples: Sequence[TrainingSample], logprobs: CompletionLogprobs) -> None:
        like_BT, mask_BT = logprobs.logprobs_BT.detach(), logprobs.mask_BT
        old = torch.from_numpy(np.concatenate([sample.logprobs for sample in samples])).to(like_BT)
        # Padding has log-probability 0 on both sides, so its ratio is 1 and its weight 0.
        self.old_logprobs_BT = like_BT.new_zeros(like_BT.shape).masked_scatter(mask_BT, old)
        self.advantages_B = like_BT.new_tensor([sample.advantage for sample in samples])
        self.weights_BT = like_BT.new_tensor([sample.token_weight for sample in samples]).unsqueeze(-1) * mask_BT
        self.gaps_BT = (like_BT - self.old_logprobs_BT).abs()


@torch.no_grad()
def _stats(
    samples: Sequence[TrainingSample],
    logprobs: CompletionLogprobs,
    tokens: _TokenValues,
    surrogate: Surrogate,
    kl_coef: float,
    divergence_BT: Tensor | None,
    entropy_coef: float,
) -> UpdateStats:
    mask_BT = logprobs.mask_BT
    ratios = surrogate.ratios_BT[mask_BT]
    surrogate_B = (tokens.weights_BT * surrogate.losses_BT).sum(-1)
    losses = {"loss/surrogate": float(surrogate_B.sum())}
    for sample, value in zip(samples, surrogate_B.tolist(), strict=True):
        name = f"loss/surrogate_{sample.kind}"
        losses[name] = losses.get(name, 0.0) + value
    sums = {
        "policy/ratio/mean": float(ratios.sum()),
        "policy/approx_kl/mean": float(k3_divergence(tokens.old_logprobs_BT, logprobs.logprobs_BT)[mask_BT].sum()),
        "policy/clip_low/rate": float((surrogate.clipped_low_BT & mask_BT).sum()),
        "policy/clip_high/rate": float((surrogate.clipped_high_BT & mask_BT).sum()),
        "policy/sampler_logprob_gap/mean": float(tokens.gaps_BT[mask_BT].sum()),
    }
    losses["loss/total"] = losses["loss/surrogate"]
    if logprobs.entropy_BT is not None:
        sums["policy/entropy/mean"] = float(logprobs.entropy_BT[mask_BT].sum())
        if entropy_coef:
            losses["loss/entropy"] = -entropy_coef * float((tokens.weights_BT * logprobs.entropy_BT).sum())
            losses["loss/total"] += losses["loss/entropy"]
    if divergence_BT is not None:
        sums["policy/kl_ref/mean"] = float(divergence_BT[mask_BT].sum())
        losses["loss/kl"] = kl_coef * float((tokens.weights_BT * divergence_BT).sum())
        losses["loss/total"] += losses["loss/kl"]
    maxima = {
        "policy/ratio/max": float(ratios.max()),
        "policy/sampler_logprob_gap/max": float(tokens.gaps_BT[mask_BT].max()),
    }
    return UpdateStats(int(mask_BT.sum()), sums, maxima, losses)
