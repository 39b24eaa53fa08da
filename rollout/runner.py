"""Runs many episodes in lockstep: one batched generation per round."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from typing import Protocol as TypingProtocol

import numpy as np

from videozoom.envs.actions import Action
from videozoom.envs.messages import Prompt, SampledPart
from videozoom.envs.protocols.base import Protocol
from videozoom.envs.tasks import EpisodeKind, Status, Task
from videozoom.policies.base import Completion, Policy, Request, episodes
from videozoom.rewards.facts import EpisodeFacts
from videozoom.rollout.types import Step, Trajectory


class Environment(TypingProtocol):
    """What the runner uses of an environment; observations are between it and its protocol.

    `info` has `status`; after a step `action`; at the end `facts`, `reward_breakdown` and, if there was one, `error`.
    """

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode of `options["task"]`."""
        ...

    def step(self, action: Action) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one action."""
        ...


MakeEnv = Callable[[], Environment]
"""Builds one environment; called once per episode."""


@dataclass(frozen=True, slots=True)
class EpisodeSpec:
    """One episode to run.

    Example:
        >>> EpisodeSpec(task, EpisodeKind.MULTI_STEP, member=0, seed=(7, 0, 0, 3, 0), max_steps=3)
    """

    task: Task
    kind: EpisodeKind
    member: int
    """Position in its group, from 0."""
    seed: tuple[int, ...]
    """Entropy of the episode; step S samples with `(*seed, S)`."""
    max_steps: int


def run_episodes(
    specs: Sequence[EpisodeSpec], *, make_env: MakeEnv, protocol: Protocol, policy: Policy
) -> list[Trajectory]:
    """Return one finished trajectory per spec, in order.

    All running episodes act in one call of the policy per round. A video that cannot be read ends its own episode
    with status `error_decode` and no other.
    """
    all_episodes = [_Episode(spec, make_env()) for spec in specs]
    with episodes(policy):
        while running := [episode for episode in all_episodes if episode.is_running]:
            requests = [episode.request(protocol) for episode in running]
            for episode, request, completion in zip(running, requests, policy.act(requests), strict=True):
                episode.take(request.prompt, completion, protocol)
    return [episode.trajectory() for episode in all_episodes]


def environment_seed(seed: Sequence[int]) -> int:
    """Return the seed of an environment's own generator for an episode's entropy.

    Example:
        >>> environment_seed((1, 2)) == environment_seed((1, 2)), environment_seed((1, 2)) == environment_seed((2, 1))
        (True, False)
    """
    return int(np.random.SeedSequence(tuple(seed)).generate_state(1)[0])


def _brought(observation: Any) -> str:
    """Return what the last turn brought to read, in worlds where turns bring texts."""
    turns = observation.get("turns") if isinstance(observation, Mapping) else None
    return (turns[-1].text or "") if turns else ""


class _Episode:
    """One episode in progress."""

    def __init__(self, spec: EpisodeSpec, env: Environment) -> None:
        self._spec = spec
        self._env = env
        self._steps: list[Step] = []
        options = {"task": spec.task, "episode_kind": spec.kind, "max_steps": spec.max_steps}
        self._observation, self._info = env.reset(seed=environment_seed(spec.seed), options=options)

    @property
    def is_running(self) -> bool:
        return bool(self._info["status"] == Status.RUNNING)

    def request(self, protocol: Protocol) -> Request:
        """Return what the policy has to act on next."""
        completions = [step.completion for step in self._steps]
        spoken = [SampledPart(completion.text, tuple(completion.token_ids.tolist())) for completion in completions]
        prompt = protocol.prompt(self._observation, spoken)
        return Request(prompt, self._observation, self._spec.task, seed=(*self._spec.seed, len(self._steps)))

    def take(self, prompt: Prompt, completion: Completion, protocol: Protocol) -> None:
        """Read the completion, let the environment act on it, and keep the step."""
        action = protocol.parse(completion.text, self._observation)
        self._observation, _, _, _, self._info = self._env.step(action)
        self._steps.append(Step(prompt, completion, self._info["action"], _brought(self._observation)))

    def trajectory(self) -> Trajectory:
        """Return the finished episode."""
        facts: EpisodeFacts = self._info["facts"]
        return Trajectory(
            task_id=self._spec.task.task_id,
            kind=self._spec.kind,
            member=self._spec.member,
            seed=self._spec.seed,
            steps=tuple(self._steps),
            status=self._info["status"],
            answer=facts.answer,
            spans_s=facts.spans_s,
            reward=self._info["reward_breakdown"],
            error=self._info.get("error"),
            max_steps=self._spec.max_steps,
            num_clip_frames=facts.num_clip_frames,
        )
