"""What learning from a group costs: each trajectory's forward and backward pass by itself, or one on the token tree."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from videozoom.envs.observation import VideoClip
from videozoom.experiments.bench_group import BenchGroup
from videozoom.policies.logprobs import Sample, completion_logprobs

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """What a learner computed."""

    logprobs: list[Tensor]
    """`[T]` for each sample."""
    gradients: dict[str, Tensor]
    """Of all parameters that are trained, and of the features of every clip."""


class HeldFeatures:
    """Features of clips, computed beforehand, as leaves that gradients reach; stands in for `VisionFeatures`."""

    is_frozen = True

    def __init__(self, compute: Callable[[Sequence[VideoClip]], list[Tensor]], clips: Sequence[VideoClip]) -> None:
        """Compute the features of all clips that will be asked for."""
        with torch.no_grad():
            computed = compute(clips)
        self.of_clip = {
            clip.key: features.detach().clone().requires_grad_() for clip, features in zip(clips, computed, strict=True)
        }

    def __call__(self, clips: Sequence[VideoClip]) -> list[Tensor]:
        """Return the features of each clip, in order."""
        return [self.of_clip[clip.key] for clip in clips]

    def clear(self) -> None:
        """Do nothing: what is held is held."""


def learn_naively(policy: "QwenVLPolicy", group: BenchGroup) -> list[Tensor]:
    """Add the gradient, one sample after the other, and return log-probabilities.

    Nothing is computed that need not be: flash attention where torch has it, logits of completions only.
    """
    return [
        learn_one(policy, sample, weight) for sample, weight in zip(group.samples, group.sample_weights, strict=True)
    ]


def learn_one(policy: "QwenVLPolicy", sample: Sample, weight: float) -> Tensor:
    """Add the gradient of one sample and return its log-probabilities."""
    logprobs_BT = completion_logprobs(policy, [sample]).logprobs_BT
    (-weight * logprobs_BT.sum()).backward()
    return logprobs_BT[0].detach()


def learn_on_tree(policy: "QwenVLPolicy", group: BenchGroup) -> list[Tensor]:
    """Add the same gradient, in one pass over the token tree, and return log-probabilities."""
    from videozoom.policies.tree_logprobs import tree_logprobs

    computed = tree_logprobs(policy, group.samples)
    weights_B1 = torch.tensor(group.sample_weights, device=computed.logprobs_BT.device).unsqueeze(-1)
    (-weights_B1 * computed.logprobs_BT).sum().backward()
    return [row[mask] for row, mask in zip(computed.logprobs_BT.detach(), computed.mask_BT, strict=True)]


def learned(
    policy: "QwenVLPolicy", learn: Callable[["QwenVLPolicy", BenchGroup], list[Tensor]], group: BenchGroup
) -> Learned:
    """Return what a learner computes, starting from no gradient and leaving none."""
    leaves = _leaves(policy)
    for leaf in leaves.values():
        leaf.grad = None
    logprobs = learn(policy, group)
    gradients = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
    for leaf in leaves.values():
        leaf.grad = None
    return Learned(logprobs, gradients)


def differences(naive: Learned, ours: Learned) -> dict[str, float]:
    """Return the largest difference of a log-probability, and the norm of the gradients' difference over the norm."""
    logprobs = max(
        float((first.double() - second.double()).abs().max())
        for first, second in zip(naive.logprobs, ours.logprobs, strict=True)
    )
    if naive.gradients.keys() != ours.gradients.keys():
        only = naive.gradients.keys() ^ ours.gradients.keys()
        raise RuntimeError(f"only one of two learners has a gradient of {min(only)}")
    difference = norm = 0.0
    for name, gradient in naive.gradients.items():
        difference += float((gradient.double() - ours.gradients[name].double()).square().sum())
        norm += float(gradient.double().square().sum())
    return {"logprob_max_abs": logprobs, "grad_rel": (difference / norm) ** 0.5}


def _leaves(policy: "QwenVLPolicy") -> dict[str, Any]:
    leaves: dict[str, Any] = dict(policy.trained_parameters())
    if isinstance(policy.features, HeldFeatures):
        leaves |= {f"features {key}": tensor for key, tensor in policy.features.of_clip.items()}
    return leaves
