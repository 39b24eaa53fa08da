"""The format reward: was every output a valid action?"""

from videozoom.envs.tasks import Task
from videozoom.rewards.facts import EpisodeFacts


def format_reward(task: Task, facts: EpisodeFacts) -> float | None:
    """Return 1 if every step was a valid action in the protocol's form, else 0. Applies to every kind of episode.

    Source: the released code of LOVE-R1, with weight 1. Departs from it: there the outcome also becomes 0 when the
    format is wrong. Departs from its paper, which has no format reward. VideoZoomer has one, with weight 0.1; there a
    request for frames that do not exist keeps the format, here it is no valid action.
    """
    return float(facts.num_malformed + facts.num_ill_formed == 0)
