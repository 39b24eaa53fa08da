"""The outcome reward: is the final answer right?"""

from videozoom.envs.tasks import EpisodeKind, Task
from videozoom.rewards.answers import is_right
from videozoom.rewards.facts import EpisodeFacts


def outcome_reward(task: Task, facts: EpisodeFacts) -> float | None:
    """Return 1 if the final answer of a `multi_step` episode is right, else 0; `None` for other kinds.

    An episode without an answer scores 0; it is also masked from the loss, elsewhere.

    Source: LOVE-R1, eq. (1).

    Example:
        >>> facts = EpisodeFacts(EpisodeKind.MULTI_STEP, Status.ANSWERED, "B", (), num_steps=1, num_malformed=0)
        >>> outcome_reward(task_with_answer_b, facts)
        1.0
    """
    if facts.kind is not EpisodeKind.MULTI_STEP:
        return None
    return float(is_right(task, facts.answer))
