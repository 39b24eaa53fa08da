"""The outcome reward: is the final answer right?"""

from dataclasses import dataclass

from videozoom.envs.tasks import EpisodeKind, Task
from videozoom.rewards.answers import DEFAULT_RULES, AnswerRules
from videozoom.rewards.facts import EpisodeFacts


@dataclass(frozen=True, slots=True)
class OutcomeReward:
    """Returns 1 if the final answer of a `multi_step` episode is right, else 0; `None` for other kinds.

    Rules may let answers count in part. An episode without an answer scores 0; it is also masked from the loss,
    elsewhere.

    Source: LOVE-R1, eq. (1).

    Example:
        >>> facts = EpisodeFacts(EpisodeKind.MULTI_STEP, Status.ANSWERED, "B", (), num_steps=1, num_malformed=0)
        >>> OutcomeReward()(task_with_answer_b, facts)
        1.0
    """

    answers: AnswerRules = DEFAULT_RULES

    def __call__(self, task: Task, facts: EpisodeFacts) -> float | None:
        """Return the reward."""
        return self.answers.score(task, facts.answer) if facts.kind is EpisodeKind.MULTI_STEP else None


outcome_reward = OutcomeReward()
"""With the rules that hold where nothing else is said: an answer is right, or worth nothing."""
