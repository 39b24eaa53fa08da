"""From groups and their advantages to the completions a learner trains on."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from videozoom.policies.training_sample import TrainingSample
from videozoom.rollout.types import Group


class LossAggregation(StrEnum):
    """How the losses of all tokens of a batch become one number."""

    TOKEN_MEAN = "token_mean"
    """Every token counts the same. Source: DAPO, arXiv:2503.14476, Sec. 3.3."""
    SEQUENCE_MEAN = "sequence_mean"
    """Every completion counts the same. Source: DeepSeekMath (GRPO), arXiv:2402.03300, eq. (3)."""


def training_samples(
    groups: Sequence[Group],
    advantages: Sequence[NDArray[np.float64]],
    *,
    aggregation: LossAggregation = LossAggregation.TOKEN_MEAN,
    keep_zero_advantage: bool = False,
) -> list[TrainingSample]:
    """Return the steps of all trajectories that are not masked, each with its trajectory's advantage.

    Trajectories with advantage 0 have no gradient and are left out, but they count in the normaliser: leaving them out
    changes nothing but the time it takes.

    Args:
        groups: Sampled groups.
        advantages: `[G]` for each group.
        aggregation: How tokens are weighted.
        keep_zero_advantage: Keep them all the same, as a KL term or an entropy bonus needs.
    """
    steps = [
        (index, float(advantage), step)
        for index, (group, advantages_G) in enumerate(zip(groups, advantages, strict=True))
        for trajectory, advantage in zip(group.trajectories, advantages_G, strict=True)
        if not trajectory.is_masked
        for step in trajectory.steps
        if len(step.completion.token_ids)
    ]
    num_tokens = sum(len(step.completion.token_ids) for _, _, step in steps)
    return [
        TrainingSample(
            prompt=step.prompt,
            token_ids=step.completion.token_ids,
            logprobs=step.completion.logprobs,
            advantage=advantage,
            token_weight=1.0 / num_tokens
            if aggregation == LossAggregation.TOKEN_MEAN
            else 1.0 / (len(steps) * len(step.completion.token_ids)),
            kind=groups[index].kind,
            group=index,
            num_prompt_tokens=step.completion.num_prompt_tokens,
        )
        for index, advantage, step in steps
        if advantage != 0.0 or keep_zero_advantage
    ]
