"""Contestants: who is evaluated, a model on its own or a rule that chooses what it sees, and under which rules."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from videozoom.envs.observation import FrameSource
from videozoom.envs.tasks import Task
from videozoom.experiments.build import build_env_maker, build_protocol, evidence_length_s
from videozoom.experiments.build_captions import build_width_rule
from videozoom.experiments.config import Config
from videozoom.policies.base import Policy
from videozoom.policies.scripted import SCRIPTED_SPAN_RULES, ScriptedPolicy, ZoomRule
from videozoom.policies.scripted_reading import ScriptedReader
from videozoom.rollout.runner import MakeEnv

if TYPE_CHECKING:
    from videozoom.policies.endpoint import EndpointPolicy
    from videozoom.policies.qwen_vl import QwenVLPolicy

    Model = QwenVLPolicy | EndpointPolicy

MODEL = "model"
"""What the model is called among `eval.policies`."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """Who is evaluated, and under which rules."""

    name: str
    policy: Policy
    make_env: MakeEnv
    num_steps: Callable[[Task], int]
    """Step limit of a task's episode."""
    num_parallel: int | None = None
    """Episodes that run side by side, each on its own, for policies that wait for a server; `None` for those that
    compute, which act on a batch of episodes at once, in lockstep."""


def model_contestant(config: Config, name: str, policy: "Model", make_env: MakeEnv) -> Contestant:
    """Return a model that acts greedily on its own."""
    greedy = policy.greedy(config.eval.max_new_tokens)
    return Contestant(name, greedy, make_env, lambda _: config.env.max_steps, num_parallel(config))


def scripted_contestant(
    config: Config, rule: ZoomRule, tasks: tuple[Task, ...], frames: FrameSource, answerer: Policy | None
) -> Contestant:
    """Return a rule for where to look, answered by `answerer`; a random clip has the mean length of the evidence."""
    parallel = None if answerer is None else num_parallel(config)
    if config.env.kind == "caption_tree":
        reader = ScriptedReader(
            rule,
            build_protocol(config),
            width_rule=build_width_rule(config),
            max_visits=config.env.max_steps - 1,
            answerer=answerer,
        )
        return Contestant(rule.value, reader, build_env_maker(config, tasks, frames), reader.num_steps, parallel)
    scripted = ScriptedPolicy(rule, build_protocol(config), answerer=answerer, random_length_s=evidence_length_s(tasks))
    make_env = build_env_maker(config, tasks, frames, span_rules=SCRIPTED_SPAN_RULES)
    return Contestant(rule.value, scripted, make_env, rule.num_steps, parallel)


def num_parallel(config: Config) -> int | None:
    """Return how many episodes run side by side with the model of a config; see `Contestant`."""
    endpoint = config.policy.endpoint
    return endpoint.max_parallel if config.policy.kind == "endpoint" and endpoint else None


def build_contestant(
    config: Config, name: str, tasks: tuple[Task, ...], frames: FrameSource, model: "Model | None"
) -> Contestant:
    """Return one of `eval.policies`, by its name."""
    if name == MODEL:
        assert model is not None  # checked before anything was loaded
        return model_contestant(config, name, model, build_env_maker(config, tasks, frames))
    answerer = model.greedy(config.eval.max_new_tokens) if model else None
    return scripted_contestant(config, ZoomRule(name), tasks, frames, answerer)
