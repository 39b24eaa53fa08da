"""The episodes `check_zoom_env` runs, and what can be said of every step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import gymnasium

from videozoom.envs.actions import Action, ZoomIn
from videozoom.envs.answer_texts import read_number, write_times
from videozoom.envs.tasks import EpisodeKind, QuestionKind, Span, Status, Task
from videozoom.rewards.overlap import any_overlap

_ZOOM_S = 2.0
"""Length of a zoom where there is no evidence to look at; accepted by the rules of all published systems."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What `reset` or a step returned."""

    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]

    @classmethod
    def of(cls, result: tuple[Any, ...]) -> Self:
        """Return what `step` returned."""
        return cls(*result)

    @property
    def status(self) -> str:
        """What `info` says."""
        return str(self.info.get("status", "missing"))

    @property
    def action(self) -> Action | None:
        """The action as it was taken, `None` after `reset`."""
        return self.info.get("action")

    @property
    def is_over(self) -> bool:
        """Whether the episode is."""
        return bool(self.terminated or self.truncated)

    def problems(self, space: gymnasium.Space[Any]) -> Iterator[str]:
        """Yield what is wrong with any step, whatever was done in it."""
        if self.observation not in space:
            yield f"{wrong_part(self.observation, space)} is outside observation_space."
        wanted = ["task_id", "status", "step", *(["action", "facts", "reward_breakdown"] if self.is_over else [])]
        for name in wanted:
            if name not in self.info:
                yield f"info has no {name!r}{' at the end of an episode' if self.is_over else ''}."
                return
        if self.is_over == (self.status == Status.RUNNING):
            yield f"info['status'] is {self.status!r} with terminated={self.terminated}, truncated={self.truncated}."
        total = self.info["reward_breakdown"].total if self.is_over else 0.0
        if self.is_over and self.reward != total:
            yield f"the reward is {self.reward:g}, info['reward_breakdown'] says {total:g}."
        if not self.is_over and self.reward != 0.0:
            yield f"a step before the last one is worth {self.reward:g}: the reward comes at the end."
        if self.observation["step"] != self.info["step"]:
            yield f"observation['step'] is {self.observation['step']}, info['step'] is {self.info['step']}."


class Episodes:
    """Runs chosen actions in an environment."""

    def __init__(self, env: gymnasium.Env[Any, Any], tasks: tuple[Task, ...], gold_reward: float) -> None:
        self.env, self.tasks, self.gold_reward = env, tasks, gold_reward

    def run(
        self,
        task: Task,
        actions: Sequence[Any],
        kind: EpisodeKind = EpisodeKind.MULTI_STEP,
        *,
        max_steps: int | None = None,
    ) -> list[Taken]:
        """Return what `reset` and the steps returned, until the episode or the actions end."""
        options: dict[str, Any] = {"task": task, "episode_kind": kind}
        if max_steps is not None:
            options["max_steps"] = max_steps
        observation, info = self.env.reset(seed=0, options=options)
        results = [Taken(observation, 0.0, False, False, info)]
        for action in actions:
            results.append(Taken.of(self.env.step(action)))
            if results[-1].is_over:
                break
        return results

    def zoom(self, task: Task) -> ZoomIn:
        """Return a zoom into the middle of the first evidence, or of the video; short enough for most rules."""
        span_s = task.evidence[0] if task.evidence else Span(0.0, task.duration_s)
        middle_s, half_s = (span_s.start_s + span_s.end_s) / 2, min(span_s.length_s, _ZOOM_S) / 2
        return ZoomIn(Span(middle_s - half_s, middle_s + half_s))

    def spans_beside_evidence(self, task: Task) -> list[Span]:
        """Return up to two spans of the video, apart from each other, that hold no evidence."""
        starts = (task.duration_s * share for share in (0.05, 0.2, 0.35, 0.5, 0.65, 0.8))
        spans = (Span(start_s, start_s + _ZOOM_S) for start_s in starts if start_s + _ZOOM_S <= task.duration_s)
        return [span_s for span_s in spans if not any_overlap(span_s, task.evidence)][:2]


def wrong_answers(task: Task) -> list[str]:
    """Return one or two answers that can be read and are wrong."""
    if task.kind is QuestionKind.MULTIPLE_CHOICE:
        return [letter for letter in task.letters if letter != task.answer][:2]
    if task.kind is QuestionKind.NUMERICAL:
        number = read_number(task.answer)
        value = 0.0 if number is None else number.value
        return [repr(2.0 * value + 7.0), repr(-value - 1.0)]
    if task.kind is QuestionKind.TEMPORAL_GROUNDING:
        # An empty span has nothing in common with any.
        return [write_times(Span(time_s, time_s)) for time_s in (0.0, task.duration_s)]
    return ["there is nothing of that kind"]


def wrong_part(observation: Any, space: gymnasium.Space[Any]) -> str:
    """Return the part of an observation that is outside its space, as one would write it."""
    if isinstance(space, gymnasium.spaces.Dict) and isinstance(observation, dict):
        if observation.keys() != space.spaces.keys():
            return f"an observation with the keys {sorted(observation)} instead of {sorted(space.spaces)}"
        for name, part in space.spaces.items():
            if observation[name] not in part:
                return f"observation[{name!r}]"
    return "an observation"
