"""Supervised learning on single steps: cross-entropy on the assistant's tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from videozoom.envs.messages import Prompt
from videozoom.policies.logprobs import Sample, sequences_of
from videozoom.policies.token_tree import split
from videozoom.policies.tree_logprobs import tree_logprobs

if TYPE_CHECKING:
    from videozoom.policies.optimizers import OptimizerSet
    from videozoom.policies.qwen_vl import QwenVLPolicy


@dataclass(frozen=True, slots=True)
class SupervisedSample:
    """One step to imitate: what is seen, and what should be said."""

    prompt: Prompt
    completion: str
    """Prefix included, unless the prompt forces it; the end of turn is added."""


def supervised_update(
    policy: "QwenVLPolicy",
    optimizer: "OptimizerSet",
    samples: Sequence[SupervisedSample],
    *,
    lr_factor: float = 1.0,
    max_grad_norm: float = 1.0,
    max_tokens_per_batch: int = 32768,
) -> dict[str, float]:
    """Take one optimizer step on `samples` and return metrics.

    The loss is the mean over all completion tokens. Samples that begin alike, such as those of one video, share what is
    computed for it. Source: LOVE-R1, Sec. 4.2; departs from the released code, which
    trains on the prompt's text as well.

    Args:
        policy: The model to train.
        optimizer: Over its trained parameters.
        samples: At least one.
        lr_factor: Factor of the learning rate.
        max_grad_norm: The gradient is scaled down to it.
        max_tokens_per_batch: Distinct tokens of one forward and backward pass; more are several, added up.

    Raises:
        TokenBudgetError: A sample alone has more tokens.
    """
    renderer = policy.renderer
    targets: list[Sample] = [
        (renderer.render(sample.prompt), renderer.encode_completion(sample.completion)) for sample in samples
    ]
    num_tokens = sum(len(token_ids) for _, token_ids in targets)
    total = 0.0
    for part in split(sequences_of(renderer, targets), max_tokens_per_batch, key="cold_start.max_tokens_per_batch"):
        loss = -tree_logprobs(policy, [targets[index] for index in part]).logprobs_BT.sum() / num_tokens
        loss.backward()
        total += float(loss.detach())
    parameters = [p for _, p in policy.trained_parameters()]
    grad_norm = torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm)
    optimizer.step(lr_factor)
    return {
        "loss/sft": total,
        "loss/trained_tokens/sum": float(num_tokens),
        "optim/grad_norm": float(grad_norm),
    }
