"""`VideoZoomEnv`: look at a whole video in few pixels, zoom into spans of it, answer a question."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from videozoom.envs.actions import Action, Answer, Malformed, MalformedReason, ZoomIn
from videozoom.envs.episode import Episode, empty_clip
from videozoom.envs.observation import EPISODE_KINDS, FrameSource, Observation, Turn, VideoDecodeError
from videozoom.envs.settings import (
    check_names,
    checked_fraction,
    checked_frames,
    checked_max_steps,
    checked_rubric,
    checked_tasks,
    make_video_zoom,
    task_of,
)
from videozoom.envs.spaces import ACTION_KINDS, action_space, observation_space
from videozoom.envs.span_rules import SpanRules
from videozoom.envs.tasks import OPTION_LETTERS, EpisodeKind, Span, Status, Task
from videozoom.rewards.rubric import Rubric

_RESET_OPTIONS = ("task", "episode_kind", "max_steps")


class VideoZoomEnv(gymnasium.Env[Observation, Any]):
    """A question about a long video, answered within a few steps of zooming in.

    A step is a zoom, an answer, or something malformed, which costs a step and changes nothing else. An action is the
    dictionary of `action_space` or an `Action`. Options of `reset`: `task` (a `Task` or the id of one), `episode_kind`
    and `max_steps`; without a task, one is drawn. Drawing is all that is random: the same task and actions give the
    same observations.

    `multi_step` episodes end with an answer (`terminated`, status `answered`), or without one after `max_steps` steps
    (`truncated`, `no_answer`; see also `mask_unreadable`). `zoom_step` episodes have one step (`terminated`, `zoomed`
    or `malformed`). A zoom at the last step is not read: nobody would see it. If the video cannot be read the status is
    `error_decode`, `info` has the reason under `error`, and the episode is over; when that happens in `reset`, the
    observation has an empty fast view, `info` is already final, and the next step, whatever it is, returns
    `terminated`.

    `info` has `task_id`, `status` and `step`; after a step also `action`, the action as it was taken (an invalid
    zoom is `Malformed` there); at the end `facts` and `reward_breakdown`. The reward is 0 until the end.

    `snapshot` and `restore` branch from any step; a deep copy goes on by itself. Both share frames with the original.
    `render` returns a picture of the episode so far: fast view, evidence, zooms, what they showed, answer.

    Args:
        tasks: Tasks, or the path of a task file.
        frames: Where frames come from; by default a `VideoStore` that decodes in a process of its own, so that a
            video that hangs or crashes the decoder ends its episode and nothing else.
        rubric: What an episode is worth; by default `Rubric.love_r1()`.
        max_steps: Steps of a `multi_step` episode.
        span_rules: Which zooms are valid.
        mask_unreadable: What a last step that is no valid action makes of a `multi_step` episode: `no_answer`, which
            training masks (the paper), or `malformed`, which scores 0 like a wrong answer (the released code's format
            rule). Masked, writing nothing readable is a way out of being wrong, and long training finds it.
        zoom_step_fraction: Chance of a `zoom_step` episode where `reset` is not told the kind.
        render_mode: `None` or `rgb_array`.

    Raises:
        ValueError: if there are no tasks, a task id repeats, or a value is not allowed.

    Example:
        >>> env = gymnasium.make("videozoom.envs:VideoZoom-v0", tasks="tasks.jsonl")
        >>> observation, info = env.reset(seed=0)
        >>> observation, reward, terminated, truncated, info = env.step(ZoomIn(Span(12.0, 16.0)))
        >>> observation["clips"][0].span_s
        Span(start_s=12.0, end_s=16.0)

    Source: LOVE-R1, Sec. 3, 4.3 and 5.1.
    """

    metadata: dict[str, Any] = make_video_zoom.metadata  # type: ignore[attr-defined]

    def __init__(
        self,
        tasks: Sequence[Task] | str | Path,
        frames: FrameSource | None = None,
        rubric: Rubric | None = None,
        max_steps: int = 3,
        span_rules: SpanRules | None = None,
        mask_unreadable: bool = True,
        zoom_step_fraction: float = 0.0,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"VideoZoomEnv has no render mode {render_mode!r}: use 'rgb_array' or None.")
        self.metadata = dict(self.metadata)  # Vector environments write into it.
        self._tasks = checked_tasks(tasks)
        self._task_ids = tuple(self._tasks)
        self._frames = checked_frames(frames)
        self._rubric = checked_rubric(rubric)
        self._max_steps = checked_max_steps(max_steps)
        self._span_rules = span_rules if span_rules is not None else SpanRules()
        self._mask_unreadable = mask_unreadable
        self._zoom_step_fraction = checked_fraction("zoom_step_fraction", zoom_step_fraction)
        self.render_mode = render_mode
        self.observation_space = observation_space()  # type: ignore[assignment]
        self.action_space = action_space(
            max_duration_s=max(task.duration_s for task in self._tasks.values()),
            max_options=max(len(task.options) for task in self._tasks.values()),
        )
        self._episode: Episode | None = None

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks episodes are drawn from."""
        return tuple(self._tasks.values())

    @property
    def max_steps(self) -> int:
        """Steps of a `multi_step` episode where `reset` is not told."""
        return self._max_steps

    @property
    def span_rules(self) -> SpanRules:
        """Which zooms are valid."""
        return self._span_rules

    @property
    def frames(self) -> FrameSource:
        """Where frames come from."""
        return self._frames

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode and return its first observation.

        Raises:
            ValueError: on an unknown option, or a value that is not allowed.
        """
        super().reset(seed=seed)
        task, kind, max_steps = self._read_options(options or {})
        try:
            episode = Episode(task, kind, max_steps, self._frames.fast_view(task.video))
        except VideoDecodeError as error:
            episode = Episode(task, kind, max_steps, empty_clip(task), status=Status.ERROR_DECODE, error=str(error))
        self._episode = episode
        return episode.observation(), self._info(episode)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take one step and return observation, reward, terminated, truncated and info.

        Raises:
            ResetNeeded: before the first `reset` and after the end of an episode.
            ValueError: if `action` is neither an `Action` nor an element of `action_space`.
        """
        episode = self.snapshot()
        if episode.is_over:
            raise ResetNeeded("The episode is over: call reset() before step().")
        taken = self._checked(_as_action(action), episode)
        if episode.status is Status.RUNNING:
            episode = self._after(taken, episode)
        if episode.status is not Status.RUNNING:
            episode = replace(episode, is_over=True)
        self._episode = episode
        info = self._info(episode) | {"action": taken}
        reward = info["reward_breakdown"].total if episode.is_over else 0.0
        truncated = episode.status is Status.NO_ANSWER
        return episode.observation(), reward, episode.is_over and not truncated, truncated, info

    def snapshot(self) -> Episode:
        """Return where the episode stands, for `restore` of this or an equal environment; nothing is copied.

        Raises:
            ResetNeeded: before the first `reset`.
        """
        if self._episode is None:
            raise ResetNeeded("No episode was started: call reset() first.")
        return self._episode

    def restore(self, episode: Episode) -> tuple[Observation, dict[str, Any]]:
        """Go on from where an episode stood, and return what `reset` would: its observation and info.

        The environment's generator, which draws the tasks of later episodes, stays as it is.
        """
        self._episode = episode
        return episode.observation(), self._info(episode)

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """Return the zoom timeline of the episode so far, `[H, W, 3]`; its size stays the same within an episode.

        Raises:
            ResetNeeded: before the first `reset`.
        """
        if self.render_mode is None:
            gymnasium.logger.warn('Nothing is rendered without a render mode: make(..., render_mode="rgb_array").')
            return None
        from videozoom.envs.timeline import episode_image

        episode = self.snapshot()
        reward = self._info(episode)["reward_breakdown"].total if episode.is_over else None
        return episode_image(episode, self._frames, reward)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = copy.copy(self)
        memo[id(self)] = twin
        # What draws is copied; tasks, frames and the episode are data that nobody changes.
        twin._np_random = copy.deepcopy(self._np_random, memo)
        twin.observation_space = copy.deepcopy(self.observation_space, memo)
        twin.action_space = copy.deepcopy(self.action_space, memo)
        return twin

    def _checked(self, action: Action, episode: Episode) -> Action:
        """Return the action as it is taken: itself, a zoom inside the video, or why it is not valid."""
        if isinstance(action, Answer):
            if episode.kind is EpisodeKind.ZOOM_STEP:
                return Malformed(MalformedReason.NOT_ALLOWED, action)
            is_option = action.letter in episode.task.letters
            return action if is_option else Malformed(MalformedReason.UNKNOWN_OPTION, action)
        if isinstance(action, ZoomIn):
            span_s = self._span_rules.check(action.span_s, episode.duration_s, episode.spans_s)
            return ZoomIn(span_s, action.fps) if isinstance(span_s, Span) else Malformed(span_s.reason, action)
        return action if isinstance(action, Malformed) else Malformed(MalformedReason.NOT_ALLOWED, action)

    def _after(self, action: Action, episode: Episode) -> Episode:
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
        return self._zoomed(action, episode) if isinstance(action, ZoomIn) else after

    def _zoomed(self, action: ZoomIn, episode: Episode) -> Episode:
        """Return the episode after a zoom that is shown."""
        clip, error = None, None
        try:
            clip = self._frames.slow_clip(episode.task.video, action.span_s)
        except VideoDecodeError as decode_error:
            error = str(decode_error)
        status = Status.RUNNING if error is None else Status.ERROR_DECODE
        return replace(episode, turns=(*episode.turns, Turn(action, clip)), status=status, error=error)

    def _info(self, episode: Episode) -> dict[str, Any]:
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


def _as_action(action: Any) -> Action:
    """Return a structured action as an `Action`; `Action`s pass through."""
    if isinstance(action, Action):
        return action
    try:
        kind = dict(enumerate(ACTION_KINDS))[int(action["kind"])]
        if kind == "zoom":
            start_s, end_s = (float(time_s) for time_s in action["span_s"])
            return ZoomIn(Span(start_s, end_s))
        choice = int(action["choice"])
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"An action is ZoomIn, Answer, Malformed, or a dictionary with kind, span_s and choice, got {action!r}."
        ) from error
    if 0 <= choice < len(OPTION_LETTERS):
        return Answer(OPTION_LETTERS[choice])
    return Malformed(MalformedReason.UNKNOWN_OPTION)
