"""An episode that a person plays: what a page shows of it, as plain data, without the truth before the end."""

from typing import Any

from PIL import Image

from videozoom.envs.actions import Action, Answer, Malformed, MalformedReason, ZoomIn
from videozoom.envs.episode import Episode
from videozoom.envs.filmstrip import fitted, read_frames
from videozoom.envs.messages import Prompt
from videozoom.envs.observation import Turn, VideoClip
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.envs.video_zoom import VideoZoomEnv
from videozoom.policies.base import Completion
from videozoom.rollout.markup import image_uri
from videozoom.rollout.types import Step, Trajectory
from videozoom.rollout.viewer import LabelledRollout, rollout_card
from videozoom.rollout.viewer_timeline import SHARP_PX

MAX_FAST_PX = 112
"""Frames of the fast view are sent no taller than this."""

_PROBLEMS: dict[str, str] = {
    MalformedReason.NOT_A_SPAN: "that is no span",
    MalformedReason.OUT_OF_BOUNDS: "it leaves the video",
    MalformedReason.TOO_SHORT: "it is too short",
    MalformedReason.TOO_LONG: "it is too long",
    MalformedReason.REPEATED: "it shows nearly the same as an earlier zoom",
}


class PlayedEpisode:
    """A running or finished episode of `env`.

    Args:
        env: An environment of its own.
        task: What is played.
        others: What others did with the same task, shown beside at the end.

    Example:
        >>> played = PlayedEpisode(env, task, ())
        >>> played.zoom(Span(12.0, 16.0))
        >>> played.answer("B")
        >>> played.state()["truth"]["is_right"]
        True
    """

    def __init__(self, env: VideoZoomEnv, task: Task, others: tuple[LabelledRollout, ...] = ()) -> None:
        self._env, self._others = env, others
        _, self._info = env.reset(options={"task": task, "episode_kind": EpisodeKind.MULTI_STEP})

    @property
    def episode(self) -> Episode:
        """Where the episode stands."""
        return self._env.snapshot()

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be done."""
        return self.episode.status is not Status.RUNNING

    @property
    def is_right(self) -> bool:
        """Whether the right answer was given."""
        breakdown = self._info.get("reward_breakdown")
        return breakdown is not None and bool(breakdown.is_right)

    def problem(self, span_s: Span) -> str | None:
        """Return why a zoom would be refused, in words; `None` if it would not."""
        episode = self.episode
        taken = self._env.span_rules.check(span_s, episode.duration_s, episode.spans_s)
        return _words(taken.reason) if isinstance(taken, Malformed) else None

    def zoom(self, span_s: Span) -> None:
        """Zoom into a span; one that is refused costs a step, as it does for a model."""
        self._take(ZoomIn(span_s))

    def answer(self, text: str) -> None:
        """Give the final answer: the letter of an option, or what else is asked for."""
        self._take(Answer(text))

    def state(self) -> dict[str, Any]:
        """Return everything a page shows, as JSON values; with `truth` once the episode is over."""
        episode, task = self.episode, self.episode.task
        return {
            "question": task.question,
            "kind": str(task.kind),
            "options": [{"letter": a, "text": b} for a, b in zip(task.letters, task.options, strict=True)],
            "video": task.video.name,
            "duration_s": episode.duration_s,
            "step": episode.step,
            "max_steps": episode.max_steps,
            "can_zoom": not self.is_over and not episode.is_last_step,
            "is_over": self.is_over,
            "error": episode.error,
            "turns": [_turn(index, turn) for index, turn in enumerate(episode.turns, start=1)],
            "truth": self._truth() if self.is_over else None,
        }

    def fast_view(self) -> dict[str, Any]:
        """Return the fast view as one image of rows of frames, and where each frame is in it."""
        clip = self.episode.fast_view
        if not len(clip.frames):
            return {"src": "", "columns": 0, "times_s": [], "width": 0, "height": 0, "is_sharp": True}
        frames = [_at_most(Image.fromarray(frame), MAX_FAST_PX) for frame in clip.frames]
        width, height = frames[0].size
        columns = max(1, round((len(frames) * height / width) ** 0.5))
        sheet = Image.new("RGB", (columns * width, -(-len(frames) // columns) * height))
        for index, frame in enumerate(frames):
            sheet.paste(frame, (index % columns * width, index // columns * height))
        is_sharp = clip.frames.shape[1] <= SHARP_PX
        return {
            "src": image_uri(sheet, is_photo=not is_sharp),
            "columns": columns,
            "times_s": clip.times_s.tolist(),
            "width": width,
            "height": height,
            "is_sharp": is_sharp,
        }

    def _take(self, action: Action) -> None:
        *_, self._info = self._env.step(action)

    def _truth(self) -> dict[str, Any]:
        task, frames = self.episode.task, self._env.frames
        you = LabelledRollout("you", self.trajectory(), style="you")
        return {
            "is_right": self.is_right,
            "answer": task.answer,
            "evidence": [
                {"span_s": list(span), **_pictures(clip)}
                for span, clip in zip(task.evidence, read_frames(task, task.evidence, frames).clips, strict=True)
                if clip is not None
            ],
            "card": rollout_card(task, [you, *self._others], frames),
        }

    def trajectory(self) -> Trajectory:
        """Return the finished episode; a person's steps have no text."""
        episode = self.episode
        return Trajectory(
            task_id=episode.task.task_id,
            kind=episode.kind,
            member=0,
            seed=(),
            steps=tuple(Step(Prompt(()), Completion(""), turn.action) for turn in episode.turns),
            status=episode.status,
            answer=episode.answer,
            spans_s=episode.spans_s,
            reward=self._info["reward_breakdown"],
            error=episode.error,
        )


def _turn(index: int, turn: Turn) -> dict[str, Any]:
    """Return one step as a page shows it."""
    action = turn.action
    asked = action.asked if isinstance(action, Malformed) else action
    return {
        "step": index,
        "span_s": list(asked.span_s) if isinstance(asked, ZoomIn) else None,
        "problem": _words(action.reason) if isinstance(action, Malformed) else None,
        **_pictures(turn.clip),
    }


def _pictures(clip: VideoClip | None) -> dict[str, Any]:
    """Return the frames of a slow clip, one image each; none of a clip that is not there."""
    if clip is None:
        return {"frames": [], "is_sharp": True}
    is_sharp = clip.frames.shape[1] <= SHARP_PX
    images = (image_uri(Image.fromarray(frame), is_photo=not is_sharp) for frame in clip.frames)
    frames = [{"src": src, "time_s": time_s} for src, time_s in zip(images, clip.times_s.tolist(), strict=True)]
    return {"frames": frames, "is_sharp": is_sharp}


def _words(reason: str) -> str:
    return _PROBLEMS.get(reason, reason.replace("_", " "))


def _at_most(image: Image.Image, height_px: int) -> Image.Image:
    return image if image.height <= height_px else fitted(image, height_px=height_px)
