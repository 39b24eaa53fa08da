"""`VideoZoomEnv`: look at a whole video in few pixels, zoom into spans of it, answer a question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded

from videozoom.envs.actions import Action, Answer, Malformed, MalformedReason, ZoomIn
from videozoom.envs.observation import EPISODE_KINDS, FrameSource, Observation, VideoClip, VideoDecodeError
from videozoom.envs.spaces import ACTION_KINDS, MAX_STEPS_LIMIT, action_space, observation_space
from videozoom.envs.span_rules import SpanRules
from videozoom.envs.tasks import OPTION_LETTERS, EpisodeKind, Span, Status, Task
from videozoom.rewards.facts import EpisodeFacts
from videozoom.rewards.rubric import Rubric

_RESET_OPTIONS = ("task", "episode_kind", "max_steps")


@dataclass(slots=True)
class _Episode:
    """Where the running episode stands."""

    task: Task
    kind: EpisodeKind
    max_steps: int
    fast_view: VideoClip
    clips: tuple[VideoClip, ...] = ()
    spans_s: tuple[Span, ...] = ()
    step: int = 0
    num_malformed: int = 0
    answer: str | None = None
    status: Status = Status.RUNNING
    error: str | None = None
    is_over: bool = field(default=False)
    """Whether the last step was returned; after a failed `reset` the status is final but one step is still taken."""

    @property
    def is_last_step(self) -> bool:
        """Whether the step to be taken is the last one."""
        return self.step == self.max_steps - 1

    def facts(self) -> EpisodeFacts:
        """Return what rewards may look at."""
        return EpisodeFacts(self.kind, self.status, self.answer, self.spans_s, self.step, self.num_malformed)


class VideoZoomEnv(gymnasium.Env[Observation, Any]):
    """A question about a long video, answered within a few steps of zooming in.

    A step is a zoom, an answer, or something malformed, which costs a step and changes nothing else. An action is the
    dictionary of `action_space` or an `Action`. Options of `reset`: `task` (a `Task` or the id of one), `episode_kind`
    and `max_steps`; without a task, one is drawn.

    `multi_step` episodes end with an answer (`terminated`, status `answered`), or without one after `max_steps` steps
    (`truncated`, `no_answer`; see also `mask_unreadable`). `zoom_step` episodes have one step (`terminated`, `zoomed`
    or `malformed`). A zoom at the last step is not read: nobody would see it. If the video cannot be read the status is
    `error_decode`, `info` has the reason under `error`, and the episode is over; when that happens in `reset`, the
    observation has an empty fast view, `info` is already final, and the next step, whatever it is, returns
    `terminated`.

    `info` has `task_id`, `status` and `step`; after a step also `action`, the action as it was taken (an invalid
    zoom is `Malformed` there); at the end `facts` and `reward_breakdown`. The reward is 0 until the end.

    Args:
        tasks: Tasks, or the path of a task file.
        frames: Where frames come from; by default a `VideoStore` that reads the video files.
        rubric: What an episode is worth; by default `Rubric.love_r1()`.
        max_steps: Steps of a `multi_step` episode.
        span_rules: Which zooms are valid.
        mask_unreadable: What a last step that is no valid action makes of a `multi_step` episode: `no_answer`, which
            training masks (the paper), or `malformed`, which scores 0 like a wrong answer (the released code's format
            rule). Masked, writing nothing readable is a way out of being wrong, and long training finds it.
        render_mode: Only `None`; there are no render modes.

    Raises:
        ValueError: if there are no tasks, a task id repeats, or a number is out of range.

    Example:
        >>> env = gymnasium.make("videozoom.envs:VideoZoom-v0", tasks="tasks.jsonl")
        >>> observation, info = env.reset(seed=0)
        >>> observation, reward, terminated, truncated, info = env.step(ZoomIn(Span(12.0, 16.0)))
        >>> observation["clips"][0].span_s
        Span(start_s=12.0, end_s=16.0)

    Source: LOVE-R1, Sec. 3, 4.3 and 5.1.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (declared by Gymnasium, per instance)

    def __init__(
        self,
        tasks: Sequence[Task] | str | Path,
        frames: FrameSource | None = None,
        rubric: Rubric | None = None,
        max_steps: int = 3,
        span_rules: SpanRules | None = None,
        mask_unreadable: bool = True,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None:
            raise ValueError(f"VideoZoomEnv has no render mode {render_mode!r}: use render_mode=None.")
        self._tasks = {task.task_id: task for task in _load(tasks)}
        if not self._tasks:
            raise ValueError("VideoZoomEnv needs at least one task.")
        self._frames = frames if frames is not None else _default_frames()
        self._rubric = rubric if rubric is not None else Rubric.love_r1()
        self._max_steps = _checked_max_steps(max_steps)
        self._span_rules = span_rules if span_rules is not None else SpanRules()
        self._mask_unreadable = mask_unreadable
        self.render_mode = render_mode
        self.observation_space = observation_space()  # type: ignore[assignment]
        self.action_space = action_space(
            max_duration_s=max(task.duration_s for task in self._tasks.values()),
            max_options=max(len(task.options) for task in self._tasks.values()),
        )
        self._episode: _Episode | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode and return its first observation.

        Raises:
            ValueError: on an unknown option, or a value that is not allowed.
        """
        super().reset(seed=seed)
        task, kind, max_steps = self._read_options(options or {})
        self._episode = episode = _Episode(task, kind, max_steps, _empty_clip(task))
        try:
            episode.fast_view = self._frames.fast_view(task.video)
        except VideoDecodeError as error:
            episode.status, episode.error = Status.ERROR_DECODE, str(error)
        return _observation(episode), self._info(episode)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take one step and return observation, reward, terminated, truncated and info.

        Raises:
            ResetNeeded: before the first `reset` and after the end of an episode.
            ValueError: if `action` is neither an `Action` nor an element of `action_space`.
        """
        episode = self._episode
        if episode is None or episode.is_over:
            raise ResetNeeded("The episode is over or was not started: call reset() before step().")
        taken = self._checked(_as_action(action), episode)
        if episode.status is Status.RUNNING:
            self._take(taken, episode)
        episode.is_over = episode.status is not Status.RUNNING
        info = self._info(episode) | {"action": taken}
        reward = info["reward_breakdown"].total if episode.is_over else 0.0
        truncated = episode.status is Status.NO_ANSWER
        return _observation(episode), reward, episode.is_over and not truncated, truncated, info

    def _checked(self, action: Action, episode: _Episode) -> Action:
        """Return the action as it is taken: itself, a zoom inside the video, or why it is not valid."""
        if isinstance(action, Answer):
            if episode.kind is EpisodeKind.ZOOM_STEP:
                return Malformed(MalformedReason.NOT_ALLOWED)
            return action if action.letter in episode.task.letters else Malformed(MalformedReason.UNKNOWN_OPTION)
        if isinstance(action, ZoomIn):
            duration_s = episode.fast_view.span_s.end_s
            span_s = self._span_rules.check(action.span_s, duration_s, episode.spans_s)
            return ZoomIn(span_s) if isinstance(span_s, Span) else span_s
        return action

    def _take(self, action: Action, episode: _Episode) -> None:
        """Change the episode by a checked action."""
        is_last_step = episode.is_last_step
        episode.step += 1
        if isinstance(action, Answer):
            episode.answer, episode.status = action.letter, Status.ANSWERED
        elif isinstance(action, Malformed):
            episode.num_malformed += 1
            if episode.kind is EpisodeKind.ZOOM_STEP or (is_last_step and not self._mask_unreadable):
                episode.status = Status.MALFORMED
        elif episode.kind is EpisodeKind.ZOOM_STEP:
            episode.spans_s, episode.status = (action.span_s,), Status.ZOOMED
        elif not is_last_step:
            self._zoom(action.span_s, episode)
        if is_last_step and episode.status is Status.RUNNING:
            episode.status = Status.NO_ANSWER

    def _zoom(self, span_s: Span, episode: _Episode) -> None:
        """Read the slow clip of `span_s` and put it in its place among the others."""
        try:
            clip = self._frames.slow_clip(episode.task.video, span_s)
        except VideoDecodeError as error:
            episode.status, episode.error = Status.ERROR_DECODE, str(error)
            return
        episode.spans_s = (*episode.spans_s, span_s)
        episode.clips = tuple(sorted((*episode.clips, clip), key=lambda held: held.span_s))

    def _info(self, episode: _Episode) -> dict[str, Any]:
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
        for name in options:
            if name not in _RESET_OPTIONS:
                raise ValueError(f"Unknown reset option {name!r}; there are {', '.join(_RESET_OPTIONS)}.")
        kind = options.get("episode_kind", EpisodeKind.MULTI_STEP)
        if kind not in EPISODE_KINDS:
            raise ValueError(f"episode_kind must be one of {', '.join(EPISODE_KINDS)}, got {kind!r}.")
        kind = EpisodeKind(kind)
        max_steps = _checked_max_steps(options.get("max_steps", self._max_steps))
        return self._task(options.get("task")), kind, 1 if kind is EpisodeKind.ZOOM_STEP else max_steps

    def _task(self, task: Task | str | None) -> Task:
        """Return the task itself, the one with that id, or a random one."""
        if isinstance(task, Task):
            return task
        if task is None:
            return list(self._tasks.values())[int(self.np_random.integers(len(self._tasks)))]
        if task not in self._tasks:
            raise ValueError(f"There is no task with id {task!r} among the {len(self._tasks)} tasks.")
        return self._tasks[task]


def _observation(episode: _Episode) -> Observation:
    return Observation(
        fast_view=episode.fast_view,
        clips=episode.clips,
        question=episode.task.question,
        options=episode.task.options,
        step=episode.step,
        max_steps=episode.max_steps,
        episode_kind=EPISODE_KINDS.index(episode.kind),
    )


def _as_action(action: Any) -> Action:
    """Return a structured action as an `Action`; `Action`s pass through."""
    if isinstance(action, ZoomIn | Answer | Malformed):
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


def _empty_clip(task: Task) -> VideoClip:
    """Return a clip without frames: what is seen of a video that cannot be read."""
    frames, times_s = np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0, np.float64)
    return VideoClip(frames, times_s, Span(0.0, max(0.0, task.duration_s)), f"empty:{task.video}")


def _checked_max_steps(max_steps: int) -> int:
    if not 1 <= max_steps <= MAX_STEPS_LIMIT:
        raise ValueError(f"max_steps must be from 1 to {MAX_STEPS_LIMIT}, got {max_steps}.")
    return int(max_steps)


def _load(tasks: Sequence[Task] | str | Path) -> Sequence[Task]:
    """Return the tasks, read from their file if a path is given."""
    if isinstance(tasks, str | Path):
        from videozoom.envs.task_files import load_tasks

        tasks = load_tasks(Path(tasks))
    task_ids = [task.task_id for task in tasks]
    if len(set(task_ids)) != len(task_ids):
        repeated = next(task_id for task_id in task_ids if task_ids.count(task_id) > 1)
        raise ValueError(f"Task ids must be unique; {repeated!r} occurs more than once.")
    return tasks


def _default_frames() -> FrameSource:
    from videozoom.envs.video_store import VideoStore

    return VideoStore()
