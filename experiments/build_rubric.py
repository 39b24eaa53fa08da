"""From a config to what episodes are worth."""

from videozoom.experiments.config import Config
from videozoom.rewards.rubric import RewardRules, Rubric


def build_rubric(config: Config) -> Rubric:
    """Return the rubric of a config."""
    return Rubric.from_weights(config.reward.model_dump(), RewardRules(**config.reward_rules.model_dump()))
