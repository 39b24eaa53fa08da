"""From a config to what episodes are worth."""

from functools import partial

from videozoom.experiments.config import Config
from videozoom.experiments.config_endpoint import UNDECIDING
from videozoom.experiments.config_reward import Judge as JudgeSettings
from videozoom.experiments.errors import UserError
from videozoom.rewards.answers import AnswerRules
from videozoom.rewards.judges import Judge, RougeL, SameWords
from videozoom.rewards.rubric import RewardRules, Rubric


def build_rubric(config: Config) -> Rubric:
    """Return the rubric of a config; a judge behind a chat server is not asked anything yet.

    Raises:
        UserError: the prompt texts of a judge, or the file of its grades, cannot be used.
    """
    values = config.reward_rules.model_dump(exclude={"answers"})
    return Rubric.from_weights(config.reward.model_dump(), RewardRules(**values, answers=build_answer_rules(config)))


def build_answer_rules(config: Config) -> AnswerRules:
    """Return which answers are right; raises as `build_rubric`."""
    settings = config.reward_rules.answers
    return AnswerRules(**settings.model_dump(exclude={"judge"}), judge=_judge(settings.judge))


def check_judge(config: Config) -> None:
    """Look at what a judge needs, without asking it.

    Raises:
        UserError: as `build_rubric`, or the key of a chat server is not there.
        EndpointError: what should be a key is none.
    """
    build_answer_rules(config)
    judge = config.reward_rules.answers.judge
    if judge.kind == "endpoint" and judge.endpoint is not None:
        from videozoom.experiments.build_endpoint import build_endpoint

        build_endpoint(judge.endpoint, name=_ENDPOINT)


_ENDPOINT = "reward_rules.answers.judge.endpoint"


def _judge(settings: JudgeSettings) -> Judge:
    if settings.kind != "endpoint" or settings.endpoint is None:
        return RougeL() if settings.kind == "rouge_l" else SameWords()
    from videozoom.experiments.build_endpoint import build_endpoint
    from videozoom.experiments.policy_on_use import PolicyOnUse
    from videozoom.policies.policy_judge import PolicyJudge
    from videozoom.policies.sampling import Sampling

    sampling = Sampling(temperature=0.0, max_new_tokens=settings.max_new_tokens)
    policy = PolicyOnUse(partial(build_endpoint, settings.endpoint, sampling, name=_ENDPOINT))
    name = f"{settings.endpoint.model_dump_json(exclude=set(UNDECIDING))} {settings.max_new_tokens}"
    try:
        return PolicyJudge(policy, name, settings.prompts, file=settings.file)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{_ENDPOINT.rpartition('.')[0]} cannot be used: {error}") from error
