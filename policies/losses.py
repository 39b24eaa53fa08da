"""Losses of policy gradients: pure functions of log-probabilities.

Shape legend: B sample, T token, N position, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST_LOGPROB = -1e4
"""In place of `-inf`, whose product with 0 is no number."""


@dataclass(frozen=True, slots=True)
class Surrogate:
    """The clipped objective of every token, as a loss, and what clipping did. All `[B, T]`."""

    losses_BT: Tensor
    """Not reduced: the caller weights tokens."""
    ratios_BT: Tensor
    """Probability under the learner over that under the sampler; without gradient."""
    clipped_low_BT: Tensor
    """Bool: a token to be made less likely whose ratio is already below the lower bound; it has no gradient."""
    clipped_high_BT: Tensor
    """Bool: a token to be made more likely whose ratio is already above the upper bound; it has no gradient."""


def clipped_surrogate(
    logprobs_BT: Tensor, old_logprobs_BT: Tensor, advantages_B: Tensor, *, clip_low: float, clip_high: float
) -> Surrogate:
    """Return `-min(ratio * A, clip(ratio, 1 - clip_low, 1 + clip_high) * A)` of every token.

    Args:
        logprobs_BT: Log-probabilities under the learner, with gradient.
        old_logprobs_BT: Those under the policy that sampled.
        advantages_B: One advantage per sample, shared by its tokens.
        clip_low: Distance of the lower bound from 1, in (0, 1).
        clip_high: Distance of the upper bound from 1; larger than `clip_low` it is DAPO's "clip higher".

    Example:
        >>> loss = clipped_surrogate(torch.log(torch.tensor([[1.5]])), torch.zeros(1, 1), torch.tensor([2.0]),
        ...                          clip_low=0.2, clip_high=0.2)
        >>> round(loss.losses_BT.item(), 4)
        -2.4

    Source: DeepSeekMath (GRPO), arXiv:2402.03300, eq. (3) without its KL term; asymmetric bounds: DAPO,
    arXiv:2503.14476, Sec. 3.1.
    """
    ratios_BT = torch.exp(logprobs_BT - old_logprobs_BT)
    advantages_B1 = advantages_B.unsqueeze(-1)
    clipped_BT = ratios_BT.clamp(1.0 - clip_low, 1.0 + clip_high)
    losses_BT = -torch.minimum(ratios_BT * advantages_B1, clipped_BT * advantages_B1)
    ratios_BT = ratios_BT.detach()
    return Surrogate(
        losses_BT=losses_BT,
        ratios_BT=ratios_BT,
        clipped_low_BT=(ratios_BT < 1.0 - clip_low) & (advantages_B1 < 0),
        clipped_high_BT=(ratios_BT > 1.0 + clip_high) & (advantages_B1 > 0),
    )


def k3_divergence(logprobs_BT: Tensor, reference_logprobs_BT: Tensor) -> Tensor:
    """Return the k3 estimate of the KL divergence from a reference, per token: never negative, unbiased.

    With `d = reference - logprob` it is `exp(d) - d - 1`.

    Example:
        >>> round(k3_divergence(torch.tensor([[-1.0]]), torch.tensor([[-2.0]])).item(), 4)
        0.3679

    Source: DeepSeekMath (GRPO), arXiv:2402.03300, eq. (4).
    """
    difference_BT = reference_logprobs_BT - logprobs_BT
    return torch.exp(difference_BT) - difference_BT - 1.0


def entropy(logprobs_NV: Tensor) -> Tensor:
    """Return the entropy `[N]` in nats of whole distributions, exactly; tokens that cannot be drawn have `-inf`.

    Its gradient with respect to a logit is `-p * (log p + entropy)`.

    Example:
        >>> round(entropy(torch.tensor([[0.5, 0.25, 0.25]]).log()).item(), 4)
        1.0397
    """
    # What cannot be drawn adds nothing, to the gradient neither.
    return -(logprobs_NV.exp() * logprobs_NV.clamp_min(_LEAST_LOGPROB)).sum(-1)
