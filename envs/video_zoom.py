"""`VideoZoomEnv`: look at a whole video in few pixels, zoom into spans of it, answer a question."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from videozoom.envs.actions import Action, Malformed, MalformedReason, ZoomIn
from videozoom.envs.episode import Episode, empty_clip
from videozoom.envs.observation import FrameSource, Observation, Turn, VideoDecodeError
from videozoom.envs.question_env import QuestionEnv, answer_in
from videozoom.envs.settings import checked_frames, make_video_zoom
from videozoom.envs.spaces import ACTION_KINDS, action_space, observation_space
from videozoom.envs.span_rules import SpanRules
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.rewards.rubric import Rubric


class VideoZoomEnv(QuestionEnv[Observation, Episode]):
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
        whole_clip_if_refused: Whether a step that is no valid action shows a slow clip of the whole video if no clip is
            held yet: the released evaluation code gives it to an answer that is forced before any zoom was accepted. It
            is no zoom, and not in `facts.spans_s`.
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
        whole_clip_if_refused: bool = False,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"VideoZoomEnv has no render mode {render_mode!r}: use 'rgb_array' or None.")
        self.metadata = dict(self.metadata)  # Vector environments write into it.
        super().__init__(tasks, rubric, max_steps, mask_unreadable, zoom_step_fraction)
        self._frames = checked_frames(frames)
        self._span_rules = span_rules if span_rules is not None else SpanRules()
        self._whole_clip_if_refused = whole_clip_if_refused
        self.render_mode = render_mode
        self.observation_space = observation_space()  # type: ignore[assignment]
        self.action_space = action_space(
            max_duration_s=max(task.duration_s for task in self._tasks.values()), tasks=self._tasks.values()
        )

    @property
    def span_rules(self) -> SpanRules:
        """Which zooms are valid."""
        return self._span_rules

    @property
    def frames(self) -> FrameSource:
        """Where frames come from."""
        return self._frames

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

    def _started(self, task: Task, kind: EpisodeKind, max_steps: int) -> Episode:
        try:
            return Episode(task, kind, max_steps, fast_view=self._frames.fast_view(task.video))
        except VideoDecodeError as error:
            nothing = empty_clip(task)
            return Episode(task, kind, max_steps, status=Status.ERROR_DECODE, error=str(error), fast_view=nothing)

    def _as_action(self, action: Any, task: Task) -> Action:
        return _as_action(action, task)

    def _checked_look(self, action: Action, episode: Episode) -> Action:
        if not isinstance(action, ZoomIn):
            return Malformed(MalformedReason.NOT_ALLOWED, action)
        span_s = self._span_rules.check(action.span_s, episode.duration_s, episode.spans_s, action.fps)
        return replace(action, span_s=span_s) if isinstance(span_s, Span) else Malformed(span_s.reason, action)

    def _refused(self, episode: Episode) -> Episode:
        if not self._whole_clip_if_refused or episode.clips:
            return episode
        *turns, refused = episode.turns
        whole = ZoomIn(Span(0.0, episode.duration_s))
        shown = self._looked(whole, replace(episode, turns=tuple(turns)))
        return replace(shown, turns=(*turns, replace(refused, clip=shown.turns[-1].clip)))

    def _looked(self, action: Action, episode: Episode) -> Episode:
        assert isinstance(action, ZoomIn)  # as it was checked
        clip, error = None, None
        try:
            # Sources that know one rate only need not take another.
            rate = () if action.fps is None else (action.fps,)
            clip = self._frames.slow_clip(episode.task.video, action.span_s, *rate)
        except VideoDecodeError as decode_error:
            error = str(decode_error)
        status = Status.RUNNING if error is None else Status.ERROR_DECODE
        return replace(episode, turns=(*episode.turns, Turn(action, clip)), status=status, error=error)


def _as_action(action: Any, task: Task) -> Action:
    """Return a structured action as an `Action`; `Action`s pass through."""
    if isinstance(action, Action):
        return action
    try:
        kind = dict(enumerate(ACTION_KINDS))[int(action["kind"])]
        if kind == "zoom":
            start_s, end_s = (float(time_s) for time_s in action["span_s"])
            return ZoomIn(Span(start_s, end_s))
        return answer_in(action, task)
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            "An action is ZoomIn, Answer, Malformed, or a dictionary with kind, span_s and choice (text, where there "
            f"are no options), got {action!r}."
        ) from error
