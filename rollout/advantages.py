"""Group-relative advantages: how much better a trajectory did than the others of its group.

Shape legend: G group member.
"""

import numpy as np
from numpy.typing import NDArray

from videozoom.rollout.types import Group

STD_EPSILON = 1e-4
"""Added to the standard deviation; TRL's value, which LOVE-R1's released trainer uses."""


def group_advantages(
    rewards_G: NDArray[np.float64],
    masked_G: NDArray[np.bool_],
    *,
    normalise_std: bool = True,
    std_epsilon: float = STD_EPSILON,
) -> NDArray[np.float64]:
    """Return `(reward - mean) / (std + epsilon)` of the members that are not masked, and 0 for the masked.

    Mean and unbiased standard deviation are over the members that are not masked. A single such member, and members
    with equal rewards, have advantage exactly 0.

    Args:
        rewards_G: Total reward of each member.
        masked_G: Members that count neither in the statistics nor in the loss.
        normalise_std: Divide by the standard deviation (GRPO); without it the advantage is `reward - mean` (Dr. GRPO).
        std_epsilon: Added to the standard deviation.

    Example:
        >>> group_advantages(np.array([1.0, 0.0, 1.0, 0.0]), np.array([False, False, False, True])).round(4)
        array([ 0.5772, -1.1545,  0.5772,  0.    ])

    Source: DeepSeekMath (GRPO), arXiv:2402.03300, Sec. 4.1.2; without std: Dr. GRPO, arXiv:2503.20783, Sec. 3.2;
    the mask: LOVE-R1, arXiv:2509.24786, Sec. 5.1, as its trainer does it (unbiased std, epsilon 1e-4, a lone member 0).
    """
    valid_G = ~masked_G
    advantages_G = np.zeros(rewards_G.shape, dtype=np.float64)
    rewards_valid = rewards_G[valid_G]
    # Equal rewards are compared, not subtracted: rounding of the mean must not make up a signal.
    if rewards_valid.size < 2 or np.all(rewards_valid == rewards_valid[0]):
        return advantages_G
    advantages_valid = rewards_valid - rewards_valid.mean()
    if normalise_std:
        advantages_valid = advantages_valid / (rewards_valid.std(ddof=1) + std_epsilon)
    advantages_G[valid_G] = advantages_valid
    return advantages_G


def advantages_of(group: Group, *, normalise_std: bool = True) -> NDArray[np.float64]:
    """Return the advantage of each trajectory of `group`, `[G]`; kinds never share statistics, since groups do not."""
    rewards_G = np.array([trajectory.reward.total for trajectory in group.trajectories], dtype=np.float64)
    masked_G = np.array([trajectory.is_masked for trajectory in group.trajectories], dtype=np.bool_)
    return group_advantages(rewards_G, masked_G, normalise_std=normalise_std)
