"""Supervised learning on single steps: cross-entropy on the assistant's tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from videozoom.envs.messages import Prompt
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
) -> dict[str, float]:
    """Take one optimizer step on `samples` and return metrics.

    The loss is the mean over all completion tokens. Source: LOVE-R1, Sec. 4.2; departs from the released code, which
    trains on the prompt's text as well.
    """
    targets = [(sample.prompt, policy.renderer.encode_completion(sample.completion)) for sample in samples]
    logprobs = tree_logprobs(policy, targets)
    num_tokens = int(logprobs.mask_BT.sum())
    loss = -logprobs.logprobs_BT.sum() / num_tokens
    loss.backward()
    parameters = [p for _, p in policy.trained_parameters()]
    grad_norm = torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm)
    optimizer.step(lr_factor)
    return {
        "loss/sft": float(loss.detach()),
        "loss/trained_tokens/sum": float(num_tokens),
        "optim/grad_norm": float(grad_norm),
    }
