"""`QuestionEnv`: what all environments share: a question about a video, some steps of looking closer, an answer."""

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import gymnasium
from gymnasium.error import ResetNeeded

from videozoom.envs.actions import Action, Answer, Malformed, MalformedReason
from videozoom.envs.answer_texts import read_answer
from videozoom.envs.episode import QuestionEpisode
from videozoom.envs.observation import EPISODE_KINDS, Turn
from videozoom.envs.settings import (
    check_names,
    checked_fraction,
    checked_max_steps,
    checked_rubric,
    checked_tasks,
    task_of,
)
from videozoom.envs.tasks import OPTION_LETTERS, EpisodeKind, QuestionKind, Status, Task
from videozoom.rewards.rubric import Rubric

_RESET_OPTIONS = ("task", "episode_kind", "max_steps")

ObservationT = TypeVar("ObservationT")
EpisodeT = TypeVar("EpisodeT", bound=QuestionEpisode)


class QuestionEnv(gymnasium.Env[ObservationT, Any], Generic[ObservationT, EpisodeT]):
    """Runs episodes whose state is frozen; what can be looked at, and how, is the subclass's."""

    def __init__(
        self,
        tasks: Sequence[Task] | str | Path,
        rubric: Rubric | None,
        max_steps: int,
        mask_unreadable: bool,
        zoom_step_fraction: float,
    ) -> None:
        self._tasks = checked_tasks(tasks)
        self._task_ids = tuple(self._tasks)
        self._rubric = checked_rubric(rubric)
        self._max_steps = checked_max_steps(max_steps)
        self._mask_unreadable = mask_unreadable
        self._zoom_step_fraction = checked_fraction("zoom_step_fraction", zoom_step_fraction)
        self._episode: EpisodeT | None = None

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks episodes are drawn from."""
        return tuple(self._tasks.values())

    @property
    def max_steps(self) -> int:
        """Steps of a `multi_step` episode where `reset` is not told."""
        return self._max_steps

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObservationT, dict[str, Any]]:
        """Start an episode and return its first observation.

        Raises:
            ValueError: on an unknown option, or a value that is not allowed.
        """
        super().reset(seed=seed)
        return self.restore(self._started(*self._read_options(options or {})))

    def step(self, action: Any) -> tuple[ObservationT, float, bool, bool, dict[str, Any]]:
        """Take one step and return observation, reward, terminated, truncated and info.

        Raises:
            ResetNeeded: before the first `reset` and after the end of an episode.
            ValueError: if `action` is neither an `Action` nor an element of `action_space`.
        """
        episode = self.snapshot()
        if episode.is_over:
            raise ResetNeeded("The episode is over: call reset() before step().")
        taken = self._checked(self._as_action(action, episode.task), episode)
        if episode.status is Status.RUNNING:
            episode = self._after(taken, episode)
        if episode.status is not Status.RUNNING:
            episode = replace(episode, is_over=True)
        observation, info = self.restore(episode)
        info["action"] = taken
        reward = info["reward_breakdown"].total if episode.is_over else 0.0
        truncated = episode.status is Status.NO_ANSWER
        return observation, reward, episode.is_over and not truncated, truncated, info

    def snapshot(self) -> EpisodeT:
        """Return where the episode stands, for `restore` of this or an equal environment; nothing is copied.

        Raises:
            ResetNeeded: before the first `reset`.
        """
        if self._episode is None:
            raise ResetNeeded("No episode was started: call reset() first.")
        return self._episode

    def restore(self, episode: EpisodeT) -> tuple[ObservationT, dict[str, Any]]:
        """Go on from where an episode stood, and return what `reset` would: its observation and info.

        The environment's generator, which draws the tasks of later episodes, stays as it is.
        """
        self._episode = episode
        return episode.observation(), self._info(episode)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = copy.copy(self)
        memo[id(self)] = twin
        # What draws is copied; tasks, sources and the episode are data that nobody changes.
        twin._np_random = copy.deepcopy(self._np_random, memo)
        twin.observation_space = copy.deepcopy(self.observation_space, memo)
        twin.action_space = copy.deepcopy(self.action_space, memo)
        return twin

    @abstractmethod
    def _started(self, task: Task, kind: EpisodeKind, max_steps: int) -> EpisodeT:
        """Return an episode before its first step; one that cannot be shown has its final status."""

    @abstractmethod
    def _as_action(self, action: Any, task: Task) -> Action:
        """Return a structured action as an `Action`; raises `ValueError` if it is none."""

    @abstractmethod
    def _checked_look(self, action: Action, episode: EpisodeT) -> Action:
        """Return an action that is no answer as it is taken, or why it is not valid."""

    @abstractmethod
    def _looked(self, action: Action, episode: EpisodeT) -> EpisodeT:
        """Return the episode after a valid action that is no answer, with what it brought."""

    def _refused(self, episode: EpisodeT) -> EpisodeT:
        """Return the episode after an action that was not taken, which costs a step and changes nothing else."""
        return episode

    def _checked(self, action: Action, episode: EpisodeT) -> Action:
        """Return the action as it is taken: itself, or why it is not valid."""
        if isinstance(action, Malformed):
            return action
        if isinstance(action, Answer):
            if episode.kind is EpisodeKind.ZOOM_STEP:
                return Malformed(MalformedReason.NOT_ALLOWED, action)
            reason = _reason_against(action.text, episode.task)
            return action if reason is None else Malformed(reason, action)
        return self._checked_look(action, episode)

    def _after(self, action: Action, episode: EpisodeT) -> EpisodeT:
        """Return the episode after a checked action."""
        is_last_step, is_zoom_step = episode.is_last_step, episode.kind is EpisodeKind.ZOOM_STEP
        after = replace(episode, turns=(*episode.turns, Turn(action)))
        if isinstance(action, Answer):
            return replace(after, status=Status.ANSWERED)
        if isinstance(action, Malformed) and (is_zoom_step or (is_last_step and not self._mask_unreadable)):
            return replace(after, status=Status.MALFORMED)
        if is_zoom_step:
            return replace(after, status=Status.ZOOMED)
        if is_last_step:
            return replace(after, status=Status.NO_ANSWER)
        return self._refused(after) if isinstance(action, Malformed) else self._looked(action, episode)

    def _info(self, episode: EpisodeT) -> dict[str, Any]:
        info: dict[str, Any] = {
            "task_id": episode.task.task_id,
            "status": episode.status,
            "step": episode.step,
        }
        if episode.error is not None:
            info["error"] = episode.error
        if episode.status is not Status.RUNNING:
            info["facts"] = episode.facts()
            info["reward_breakdown"] = self._rubric.score(episode.task, info["facts"])
        return info

    def _read_options(self, options: Mapping[str, Any]) -> tuple[Task, EpisodeKind, int]:
        """Return the task, kind and number of steps the options ask for."""
        check_names(options, _RESET_OPTIONS, "reset option")
        task = options.get("task")
        if task is None:
            task = self._tasks[self._task_ids[int(self.np_random.integers(len(self._task_ids)))]]
        elif not isinstance(task, Task):
            task = task_of(self._tasks, task)
        kind = options["episode_kind"] if "episode_kind" in options else self._drawn_kind()
        if kind not in EPISODE_KINDS:
            raise ValueError(f"episode_kind must be one of {', '.join(EPISODE_KINDS)}, got {kind!r}.")
        max_steps = checked_max_steps(options.get("max_steps", self._max_steps))
        return task, EpisodeKind(kind), 1 if kind == EpisodeKind.ZOOM_STEP else max_steps

    def _drawn_kind(self) -> EpisodeKind:
        """Return a kind; nothing is drawn where there is no choice, which leaves the tasks of a seed as they are."""
        fraction = self._zoom_step_fraction
        is_zoom_step = fraction == 1.0 or (fraction > 0.0 and self.np_random.random() < fraction)
        return EpisodeKind.ZOOM_STEP if is_zoom_step else EpisodeKind.MULTI_STEP


def answer_in(action: Mapping[str, Any], task: Task) -> Action:
    """Return the answer of a dictionary of `action_space`: the text, where there are no options to choose from.

    Raises:
        LookupError, TypeError, ValueError: if the part that is needed is missing or of the wrong type.
    """
    if task.kind is not QuestionKind.MULTIPLE_CHOICE:
        return Answer(str(action["text"]))
    choice = int(action["choice"])
    is_letter = 0 <= choice < len(OPTION_LETTERS)
    return Answer(OPTION_LETTERS[choice]) if is_letter else Malformed(MalformedReason.UNKNOWN_OPTION)


def _reason_against(answer: str, task: Task) -> MalformedReason | None:
    """Return why a text is no answer to a question of the task's kind; `None` if it is one, right or wrong."""
    if task.kind is QuestionKind.MULTIPLE_CHOICE:
        return None if answer in task.letters else MalformedReason.UNKNOWN_OPTION
    read = read_answer(task.kind, answer)
    return read if isinstance(read, MalformedReason) else None
