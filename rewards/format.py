"""The format reward: was every output a valid action?"""

from videozoom.envs.tasks import Task
from videozoom.rewards.facts import EpisodeFacts


def format_reward(task: Task, facts: EpisodeFacts) -> float | None:
    """Return 1 if no step was malformed, else 0. Applies to every kind of episode.

    Source: the released code of LOVE-R1, with weight 1. Departs from it: there the outcome also becomes 0 when the
    format is wrong. Departs from the paper, which has no format reward.
    """
    return float(facts.num_malformed == 0)
