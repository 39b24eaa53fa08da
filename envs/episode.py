"""`Episode`: where an episode stands, as frozen data: the turns it took, with what they brought."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from videozoom.envs.actions import Answer, Malformed, ZoomIn
from videozoom.envs.observation import EPISODE_KINDS, QUESTION_KINDS, Observation, Turn, VideoClip
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.rewards.facts import EpisodeFacts


class Zoom(NamedTuple):
    """An accepted zoom and the step that made it, counted from 1."""

    step: int
    span_s: Span


@dataclass(frozen=True, slots=True)
class QuestionEpisode(ABC):
    """Where an episode of any environment stands."""

    task: Task
    kind: EpisodeKind
    max_steps: int
    turns: tuple[Turn, ...] = ()
    """What was done in each step, as it was taken, and what came back."""
    status: Status = Status.RUNNING
    error: str | None = None
    """Why something could not be shown, with status `error_decode`."""
    is_over: bool = False
    """Whether the last step was returned; after a failed `reset` the status is final but one step is still taken."""

    @property
    def step(self) -> int:
        """Number of steps taken."""
        return len(self.turns)

    @property
    def is_last_step(self) -> bool:
        """Whether the step to be taken is the last one."""
        return self.step == self.max_steps - 1

    @property
    def answer(self) -> str | None:
        """What the episode was answered with, `None` without an answer."""
        last = self.turns[-1].action if self.turns else None
        return last.text if isinstance(last, Answer) else None

    @property
    @abstractmethod
    def spans_s(self) -> tuple[Span, ...]:
        """Spans that were looked at, in order."""

    @abstractmethod
    def observation(self) -> Any:
        """Return what the agent sees."""

    def facts(self) -> EpisodeFacts:
        """Return what rewards may look at."""
        return EpisodeFacts(
            kind=self.kind,
            status=self.status,
            answer=self.answer,
            spans_s=self.spans_s,
            num_steps=self.step,
            num_malformed=sum(isinstance(turn.action, Malformed) for turn in self.turns),
            num_ill_formed=sum(
                isinstance(turn.action, ZoomIn | Answer) and not turn.action.is_well_formed for turn in self.turns
            ),
            num_clip_frames=sum(len(turn.clip.frames) for turn in self.turns if turn.clip is not None),
        )


@dataclass(frozen=True, slots=True)
class Episode(QuestionEpisode):
    """Where an episode of `VideoZoomEnv` stands. Keeping one costs nothing: clips are shared, never copied.

    Example:
        >>> episode = env.unwrapped.snapshot()
        >>> for answer in "ABCD":
        ...     env.unwrapped.restore(episode)
        ...     env.step(Answer(answer))
    """

    fast_view: VideoClip = field(kw_only=True)
    """Without frames if the video cannot be read."""

    @property
    def duration_s(self) -> float:
        """Length of the video as it was read, else as the task says."""
        return self.fast_view.span_s.end_s

    @property
    def clips(self) -> tuple[VideoClip, ...]:
        """Slow clips that were shown, sorted by start."""
        clips = (turn.clip for turn in self.turns if turn.clip is not None)
        return tuple(sorted(clips, key=lambda clip: clip.span_s))

    @property
    def zooms(self) -> tuple[Zoom, ...]:
        """Accepted zooms in the order they were made; one at a last step, which nobody would see, is none."""
        is_zoom_step = self.kind is EpisodeKind.ZOOM_STEP
        return tuple(
            Zoom(step, turn.action.span_s)
            for step, turn in enumerate(self.turns, start=1)
            if isinstance(turn.action, ZoomIn) and (turn.clip is not None or is_zoom_step)
        )

    @property
    def spans_s(self) -> tuple[Span, ...]:
        """Spans of the accepted zooms, in the order they were made."""
        return tuple(zoom.span_s for zoom in self.zooms)

    def observation(self) -> Observation:
        """Return what the agent sees."""
        return Observation(
            fast_view=self.fast_view,
            clips=self.clips,
            question=self.task.question,
            question_kind=QUESTION_KINDS.index(self.task.kind),
            options=self.task.options,
            step=self.step,
            max_steps=self.max_steps,
            episode_kind=EPISODE_KINDS.index(self.kind),
            turns=self.turns,
        )


def empty_clip(task: Task) -> VideoClip:
    """Return a clip without frames: what is seen of a video that cannot be read."""
    frames, times_s = np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0, np.float64)
    return VideoClip(frames, times_s, Span(0.0, max(0.0, task.duration_s)), f"empty:{task.video}")
